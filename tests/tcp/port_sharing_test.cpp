// Who may bind and listen beside whom, step by step as Linux 6.18 answered the same steps: what was
// drawn at random there and told apart one rule from another.
#include <sstream>

#include "tests/support/two_hosts.h"

namespace ph {
namespace {

using namespace uapi;

/// Runs a line of steps on a host whose only ephemeral port is 5000. A step is a letter, a socket's
/// name, further letters and after '=' the error expected, if any:
///
///   S  socket(): of user 2 (u), SO_REUSEADDR (a), SO_REUSEPORT (p), on lo (l) or eth0 (e)
///   B  bind() to 5000 or port 0 (z), on 127.0.0.1 (1), 127.0.0.2 (2) or any address
///   L  listen()   K  connect() to a server   U  connect(AF_UNSPEC)   C  close()
///   O  clears (-) or sets SO_REUSEADDR (a), SO_REUSEPORT (p)
///   V  binds to lo (l), eth0 (e) or no device
struct port_steps {
  explicit port_steps(u16 of_type) : type(of_type) {
    lab.a.sysctl("net.ipv4.ip_local_port_range", "5000 5000");
    server = *sys_socket(app, af_inet, type, 0);
    EXPECT_TRUE(sys_bind(app, server, addr4("127.0.0.9", 9)));
    if (type == sock_dgram) return;
    EXPECT_TRUE(sys_listen(app, server, 8));
  }

  void run(const std::string& line) {
    std::istringstream steps(line);
    for (std::string step; steps >> step;) {
      const std::size_t mark = step.find('=');
      const std::string wanted = mark == std::string::npos ? "" : step.substr(mark + 1);
      step.resize(std::min(mark, step.size()));
      lab.a.machine.enter(lab.now());
      const result<void> done = take(step);
      lab.settle();
      EXPECT_EQ(done ? "" : std::string(errc_name(done.error())), wanted) << step << " of " << line;
    }
    for (const auto& [name, fd] : sockets) EXPECT_TRUE(sys_close(app, fd));
    sockets.clear();
    lab.settle();
  }

  result<void> take(const std::string& step) {
    const auto has = [&](char c) { return step.find(c, 2) != std::string::npos; };
    if (step[0] == 'S') return open(step[1], has);
    const int fd = sockets.at(step[1]);
    switch (step[0]) {
      case 'B': {
        const char* const addr = has('1') ? "127.0.0.1" : has('2') ? "127.0.0.2" : "0.0.0.0";
        return sys_bind(app, fd, addr4(addr, has('z') ? 0 : 5000));
      }
      case 'L': return sys_listen(app, fd, 8);
      case 'K': return connect(fd);
      case 'U': return sys_connect(app, fd, std::array<u8, 16>{});
      case 'O': return option(fd, has('a') ? so_reuseaddr : so_reuseport, has('-') ? 0 : 1);
      case 'V': return to_device(fd, has('l') ? "lo" : has('e') ? "eth0" : "");
      default: sockets.erase(step[1]); return sys_close(app, fd);
    }
  }

  template <class Has>
  result<void> open(char name, const Has& has) {
    app.cred.uid = has('u') ? 2 : 0;
    const int fd = sockets[name] = *sys_socket(app, af_inet, type, 0);
    app.cred.uid = 0;
    const std::array<u8, 8> linger{1};  // no TIME-WAIT
    TRY_VOID(sys_setsockopt(app, fd, sol_socket, so_linger, linger));
    if (has('a')) TRY_VOID(option(fd, so_reuseaddr, 1));
    if (has('p')) TRY_VOID(option(fd, so_reuseport, 1));
    return has('l') || has('e') ? to_device(fd, has('l') ? "lo" : "eth0") : result<void>{};
  }
  result<void> option(int fd, int name, int value) {
    return sys_setsockopt_int(app, fd, sol_socket, name, value);
  }
  result<void> to_device(int fd, std::string_view name) {
    return sys_setsockopt(app, fd, sol_socket, so_bindtodevice, bytes_of(name));
  }
  result<void> connect(int fd) {
    const auto done = sys_connect(app, fd, addr4("127.0.0.9", 9));
    return !done && done.error() == errc::inprogress ? result<void>{} : done;
  }

  two_hosts lab;
  task& app = lab.a.app();
  const u16 type;
  int server = -1;
  std::map<char, int> sockets;
};

TEST(port_sharing, of_tcp_is_as_on_linux) {
  port_steps tcp(sock_stream);
  for (const char* const line : {
           // Who follows the last by SO_REUSEPORT was asked about one address only.
           "Sx Bx2 Lx Syup By1 Szup Bz=EADDRINUSE",
           "Sx Bx2 Lx Syup By1 Szup Bz1",
           "Sx Bx2 Syup By1 Szup Bz2=EADDRINUSE",
           "Sxp Bx Syp By1 Szp Bz2",
           "Sxa Bx1 Lx Syuap By2 Oya Oy-p Szup Bz=EADDRINUSE",
           "Sxal Bx2 Sype By2 Ly Ly Szpl Bz=EADDRINUSE",
           "Sxpl Bx2 Vx Syupe By1 Szua Bz1=EADDRINUSE Swup Bw=EADDRINUSE Lw=EADDRINUSE",
           "Sxua Bx1 Lx Syp Szp Bz2 Swp Bw=EADDRINUSE",
           "Sxa Bx1 Lx Syup By2 Ly Szuap Bz2 Swul Bw=EADDRINUSE",
           "Sxpe Bx1 Ox-p Sye By1=EADDRINUSE Szp Bz=EADDRINUSE",
           "Sxp Bx1 Lx Ox-p Syapl By=EADDRINUSE",
           "Sxup Bx1 Syap By2 Szap Bz=EADDRINUSE Swupl Bw=EADDRINUSE",
           "Sxape Bx1 Lx Syuap By2 Ly Oy-a Szup Bz=EADDRINUSE Swap Bw1 Cx",
           "Sxap Bx1 Ox-p Syp By=EADDRINUSE Ly=EADDRINUSE",
           // Where the kernel chooses, nobody shares; what it chose stays without a connection.
           "Sxup Bx1z Syua By1=EADDRINUSE Ux Szap Bz1=EADDRINUSE",
           "Sxl Bx1z Vx Ux Bx2=EINVAL",
           "Sxpe Bx1 Cx Syae By1 Szup Bz2z Swup Bw=EADDRINUSE",
           "Sxa Bx Sya By Lx Ly=EADDRINUSE Cx Ly",
           "Sx Kx Sy By=EADDRINUSE By2",
           "Sx Kx Ux Sy By",
           "Sx Bxz Kx Ux Sy By",
       }) {
    tcp.run(line);
  }
}

TEST(port_sharing, of_udp_is_as_on_linux) {
  port_steps udp(sock_dgram);
  for (const char* const line : {
           // The youngest of those in the way decides, on whichever address.
           "Sxup Bx1 Syl By2 Szuap Bz=EADDRINUSE",
           "Sxp Bx1 Syua By2 Szp Bz=EADDRINUSE",
           "Sxal Bx1 Sypl By2 Szpl Bz",
           "Sxp Bx Kx Syup By2 Szpe Bz=EADDRINUSE",
           "Sxu Kx Syapl By1=EADDRINUSE By2 Szp Bz",
           "Sxa Bx1 Sya By1 Cx Szap Bz Swp Bw1",
           "Sxp Bx Kx Sya By1=EADDRINUSE Szu Bz2 Swp Bw=EADDRINUSE",
           "Sxal Bx1 Syal By2 Szape Bz2 Vzl Swp Bw",
           "Sxpl Bx1 Sya By1=EADDRINUSE Sz Bz2 Swp Bw=EADDRINUSE",
           // Where the kernel chooses, all of them are asked.
           "Sxp Bx1 Syup By2 Szupe Bzz=EADDRINUSE",
           "Sxl Bx1 Syp By2 Szp Bzz=EADDRINUSE",
           "Sxp Bx1 Syp By2 Szp Bzz",
           "Sxua Bx Syap By Szp Kz=EAGAIN",
       }) {
    udp.run(line);
  }
}

}  // namespace
}  // namespace ph
