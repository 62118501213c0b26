// The language of syscall_fuzz: any bytes as system calls of two programs on two hosts,
// 10.0.0.1 and 10.0.0.2, that one wire joins. Sizes are bounded; everything else is not.
//
// The first byte says what the wire can do: bits 0 and 1 its MTU, bit 2 whether it takes packets
// that it has to cut and sum. Then come operations.
// The low four bits of an operation's first byte choose the call, bit 4 the host. At the end
// everything is closed, ten virtual minutes pass, nothing may be left, and the two hosts still
// ping each other and talk over TCP. A promise that does not hold aborts.
#pragma once

#include <deque>
#include <vector>

#include "input.h"
#include "machine.h"

namespace ph::fuzz {

using namespace std::string_view_literals;

class syscall_world {
 public:
  explicit syscall_world(u8 wire)
      : mtu_(std::array<u32, 4>{1500, 576, 9000, 65535}[wire & 3]),
        features_((wire & 4) != 0 ? netif_f_sg | netif_f_hw_csum | netif_f_tso | netif_f_rxcsum
                                  : netif_f_none),
        a_(*this, "a", 1), b_(*this, "b", 2) {
    a_.other = &b_;
    b_.other = &a_;
    advance(seconds(1));
  }
  syscall_world(const syscall_world&) = delete;
  syscall_world& operator=(const syscall_world&) = delete;
  ~syscall_world() {
    for (one* h : {&a_, &b_}) h->app.reset();  // its goodbyes still travel
    for (one* h : {&a_, &b_}) h->port->set_transmit({});
    flying_.clear();
  }

  [[nodiscard]] static ipv4_addr addr_of(std::size_t host) {
    return ipv4_addr(10, 0, 0, static_cast<u8>(1 + host % 2));
  }
  task& enter(std::size_t host) {
    one& h = host % 2 == 0 ? a_ : b_;
    h.machine.enter(now_);
    return *h.app;
  }
  /// The wire loses the next n frames.
  void lose(u32 n) { losing_ = n; }

  void settle() {
    for (int round = 0; round < 200'000; ++round) {
      bool busy = !flying_.empty();
      while (!flying_.empty()) {
        flight arrived = std::move(flying_.front());
        flying_.pop_front();
        arrived.to->port->receive(std::move(arrived.skb));
      }
      for (one* h : {&a_, &b_}) {
        h->machine.enter(now_);
        if (h->machine.next_deadline() > now_) continue;
        h->machine.run(now_);
        busy = true;
      }
      if (!busy) return;
    }
    ph_unreachable("the hosts do not come to rest");
  }
  void advance(duration d) {
    const instant target = now_ + d;
    for (;;) {
      settle();
      const instant next = std::min(a_.machine.next_deadline(), b_.machine.next_deadline());
      if (next > target) break;
      now_ = next;
    }
    now_ = target;
    settle();
  }

  void finish() {
    losing_ = 0;
    end_all("after the end of all sockets");
    check_ping();
    check_stream();
    end_all("after the final dialogue");
  }

 private:
  struct one {
    one(syscall_world& world, const char* name, u8 number)
        : machine(machine_config(world.memory_, name)) {
      builtin_init(machine);
      const auto transmit = [this, &world](cpu& cx, skb_ptr& skb) {
        world.carry(*this, cx, std::move(skb));
        return true;
      };
      port = &add_port(machine, mac_addr{{2, 0, 0, 0, 0, number}}, ipv4_addr(10, 0, 0, number),
                       transmit, world.mtu_, world.features_);
      sockets_before = init_net(machine).sockets;
      app = std::make_unique<task>(machine, init_net(machine), "app");
    }
    kernel machine;
    one* other = nullptr;
    mem_port* port;
    u64 sockets_before;
    std::unique_ptr<task> app;
  };
  struct flight {
    one* to;
    skb_ptr skb;
  };
  void carry(const one& from, cpu& cx, skb_ptr skb) {
    if (losing_ > 0 || from.other == nullptr) {
      losing_ -= losing_ > 0 ? 1 : 0;
      return drop(cx, std::move(skb), drop_reason::fault_loss);
    }
    skb_scrub_packet(*skb);
    flying_.push_back({from.other, std::move(skb)});
  }
  void end_all(const char* when) {
    for (one* h : {&a_, &b_}) h->app.reset();
    advance(seconds(600));
    for (one* h : {&a_, &b_}) {
      require_empty(h->machine, h->sockets_before, when);
      h->app = std::make_unique<task>(h->machine, init_net(h->machine), "afterwards");
    }
  }
  int must_open(std::size_t host, int type, int protocol) {
    const auto fd = sys_socket(enter(host), uapi::af_inet, type, protocol);
    ph_check(fd.has_value());
    return *fd;
  }
  void check_ping() {
    const int fd = must_open(0, uapi::sock_dgram, uapi::ipproto_icmp);
    const std::array<u8, 12> echo{uapi::icmp_echo, 0, 0, 0, 0, 0, 0, 1, 'p', 'i', 'n', 'g'};
    ph_check(sys_sendto(enter(0), fd, echo, 0, inet_name(addr_of(1), 0).view()) == echo.size());
    advance(seconds(5));
    std::array<u8, 64> room{};
    const auto got = sys_recv(enter(0), fd, room);
    ph_check(got == echo.size() && room[0] == uapi::icmp_echoreply && room[8] == 'p');
  }
  void check_stream() {
    const int listener = must_open(1, uapi::sock_stream, 0);
    ph_check(sys_bind(enter(1), listener, inet_name({}, 8080).view()).has_value());
    ph_check(sys_listen(enter(1), listener, 1).has_value());
    const int fd = must_open(0, uapi::sock_stream, 0);
    static_cast<void>(sys_connect(enter(0), fd, inet_name(addr_of(1), 8080).view()));
    advance(seconds(5));
    const auto accepted = sys_accept4(enter(1), listener, nullptr, 0);
    ph_check(accepted.has_value());
    ph_check(sys_send(enter(0), fd, bytes_of("hello"sv)) == 5u);
    advance(seconds(1));
    std::array<u8, 16> room{};
    ph_check(sys_recv(enter(1), *accepted, room) == 5u);
    ph_check(text_of(byte_view(room).first(5)) == "hello");
  }

  u32 mtu_, features_;
  packet_memory memory_;
  instant now_{seconds(1).ns};
  u32 losing_ = 0;
  std::deque<flight> flying_;
  one a_, b_;
};

class syscall_ops {
 public:
  syscall_ops(syscall_world& world, byte_view bytes) : world_(world), in_(bytes) {}
  void run() {
    for (int steps = 0; !in_.empty() && steps < 400; ++steps) {
      const u8 op = in_.byte();
      host_ = (op >> 4) & 1;
      step(op & 15);
      world_.settle();
    }
  }

 private:
  void step(int call) {
    switch (call) {
      case 0: return open();
      case 1: return ignore(sys_bind(who(), fd(), address().view()));
      case 2: return ignore(sys_listen(who(), fd(), static_cast<s8>(in_.byte())));
      case 3: return accept();
      case 4: return ignore(sys_connect(who(), fd(), address().view()));
      case 5: return ignore(sys_shutdown(who(), fd(), static_cast<s8>(in_.byte() & 7) - 1));
      case 6: return close();
      case 7: return send();
      case 8: return receive();
      case 9: return set_option();
      case 10: return get_option();
      case 11: return names();
      case 12: return ioctl();
      case 13: return waiting();
      case 14: return world_.advance(milliseconds(1) * (s64{1} << (in_.byte() & 15)));
      default: return world_.lose(in_.byte() & 15);
    }
  }
  template <class T>
  static void ignore(const result<T>&) {}
  task& who() { return world_.enter(host_); }
  std::vector<int>& fds() { return fds_[host_]; }
  /// Mostly one that was open once.
  int fd() {
    const u8 which = in_.byte();
    if (fds().empty() || which >= 250) return static_cast<s8>(which);
    return fds()[which % fds().size()];
  }
  void keep(const result<int>& made) {
    if (made) fds().push_back(*made);
  }
  std::vector<u8> some_bytes(std::size_t most) {
    const std::size_t n = in_.word() % (most + 1);
    std::vector<u8> out(n, 0x63);
    copy_bytes(out, in_.take(std::min<std::size_t>(n, 256)));
    return out;
  }
  int a_level() {
    static constexpr int known[] = {uapi::sol_socket, uapi::sol_ip, uapi::sol_tcp,
                                    uapi::sol_udp, uapi::sol_raw, uapi::sol_ipv6};
    const u8 which = in_.byte();
    return which < 240 ? known[which % std::size(known)] : static_cast<s8>(which);
  }

  sockaddr_buf address() {
    const u8 how = in_.byte(), last = in_.byte();
    const u16 port = (how & 8) != 0 ? in_.word() : static_cast<u16>(8000 + (how >> 4) % 4);
    sockaddr_buf out;
    switch (how & 7) {
      case 0: return inet_name({}, port);
      case 1: return inet_name(ipv4_addr(127, 0, 0, 1), port);
      case 2: case 3: return inet_name(world_.addr_of(host_), port);
      case 4: case 5: return inet_name(world_.addr_of(host_ + 1), port);
      case 6:
        out = inet_name(ipv4_addr(last >= 128 ? in_.dword() : 0x0a000000u | last), port);
        break;
      default: {
        const std::vector<u8> any = some_bytes(128);
        out.len = static_cast<u32>(copy_bytes(out.bytes, any));
      }
    }
    if ((last & 7) == 7) out.len = in_.byte() % 129;
    if ((last & 7) == 6) out.bytes[0] = in_.byte();
    return out;
  }

  void open() {
    if (fds().size() >= 64) return;
    const u8 what = in_.byte();
    int domain = uapi::af_inet, type = uapi::sock_stream, protocol = 0;
    switch (what & 7) {
      case 0: case 1: break;
      case 2: case 3: type = uapi::sock_dgram; break;
      case 4: type = uapi::sock_dgram; protocol = uapi::ipproto_icmp; break;
      case 5: type = uapi::sock_raw; protocol = in_.byte(); break;
      case 6: type = in_.byte(); protocol = static_cast<s8>(in_.byte()); break;
      default: domain = in_.byte(); type = in_.byte(); protocol = in_.word();
    }
    keep(sys_socket(who(), domain, type | ((what & 8) != 0 ? uapi::sock_nonblock : 0), protocol));
  }
  void accept() {
    if (fds().size() >= 64) return;
    sockaddr_buf peer;
    const u8 flags = in_.byte();
    keep(sys_accept4(who(), fd(), (flags & 1) != 0 ? &peer : nullptr, (flags >> 1) * 0x100));
  }
  void close() {
    const int which = fd();
    ignore(sys_close(who(), which));
  }
  void send() {
    const int to = fd();
    const u8 how = in_.byte();
    const sockaddr_buf name = (how & 1) != 0 ? address() : sockaddr_buf{};
    const std::vector<u8> control = (how & 2) != 0 ? some_control() : std::vector<u8>{};
    std::vector<std::vector<u8>> pieces;
    for (u8 n = (how >> 2) & 3; n > 0; --n) pieces.push_back(some_bytes(20'000));
    std::vector<byte_view> iov(pieces.begin(), pieces.end());
    send_msg msg{name.view(), iov, control, (how & 0x80) != 0 ? in_.dword() : 0u};
    const auto sent = sys_sendmsg(who(), to, msg);
    ph_check(!sent || *sent <= msg.size());
  }
  /// Control messages with plausible heads.
  std::vector<u8> some_control() {
    if ((in_.byte() & 3) == 0) return some_bytes(200);
    std::vector<u8> out;
    for (u8 n = 1 + (in_.byte() & 3); n > 0; --n) {
      const std::vector<u8> value = some_bytes(64);
      uapi::cmsghdr head;
      head.cmsg_len = uapi::cmsg_len(value.size());
      head.cmsg_level = a_level();
      head.cmsg_type = in_.byte() & 63;
      const byte_view raw = bytes_of(head);
      out.insert(out.end(), raw.begin(), raw.end());
      out.insert(out.end(), value.begin(), value.end());
      out.resize(uapi::cmsg_align(out.size()));
    }
    return out;
  }
  void receive() {
    const int from = fd();
    const u8 how = in_.byte();
    std::vector<std::vector<u8>> pieces;
    for (u8 n = (how >> 2) & 3; n > 0; --n) pieces.emplace_back(in_.word() % 20'000);
    std::vector<byte_span> iov(pieces.begin(), pieces.end());
    std::vector<u8> control(in_.byte());
    sockaddr_buf name;
    recv_msg msg;
    msg.name = (how & 1) != 0 ? &name : nullptr;
    msg.iov = iov;
    msg.control = control;
    msg.flags = (how & 0x80) != 0 ? in_.dword() : 0u;
    const auto got = sys_recvmsg(who(), from, msg);
    ph_check(name.len <= name.bytes.size() && msg.control_len <= control.size());
    const bool may_exceed = (msg.flags & static_cast<u32>(uapi::msg_trunc)) != 0;
    ph_check(!got || may_exceed || *got <= msg.size());
  }
  void set_option() {
    const int on = fd(), level = a_level(), name = in_.byte();
    if ((name & 1) != 0) {
      return ignore(sys_setsockopt_int(who(), on, level, name & 127, in_.word()));
    }
    const int which = in_.byte() & 127;
    if ((name & 6) != 0) return ignore(sys_setsockopt(who(), on, level, which, some_bytes(128)));
    // A group of multicast, as IP_ADD_MEMBERSHIP and its kin take it (ip(7), struct ip_mreqn).
    std::array<u8, 12> group{224, 0, 0, in_.byte(), 10, 0, 0, static_cast<u8>(host_ + 1)};
    group[8] = in_.byte() & 3;
    ignore(sys_setsockopt(who(), on, uapi::sol_ip, 32 + which % 20, group));
  }
  void get_option() {
    const int on = fd(), level = a_level();
    std::vector<u8> room(in_.byte());
    const auto got = sys_getsockopt(who(), on, level, in_.byte() & 127, room);
    ph_check(!got || *got <= room.size());
  }
  void names() {
    const int on = fd();
    for (const auto& name : {sys_getsockname(who(), on), sys_getpeername(who(), on)}) {
      ph_check(!name || name->len <= name->bytes.size());
    }
  }
  void ioctl() {
    static constexpr u32 known[] = {uapi::fionread, uapi::siocoutq, uapi::siocatmark,
                                    uapi::siocgifconf, uapi::siocgifaddr, uapi::siocoutqnsd,
                                    uapi::siocgifname, uapi::siocgifmtu, uapi::siocgstamp};
    const int on = fd();
    const u8 which = in_.byte();
    const u32 command = which < 200 ? known[which % std::size(known)] : 0x8900u + in_.byte();
    std::vector<u8> arg = some_bytes(64);
    ignore(sys_ioctl(who(), on, command, arg));
  }
  void waiting() {
    const int on = fd();
    const u8 how = in_.byte();
    static_cast<void>(sys_poll(who(), on));
    static_cast<void>(sys_wait_policy(who(), on, static_cast<wait_for>(how & 3), how));
    if ((how & 4) != 0) ignore(sys_set_nonblock(who(), on, (how & 8) != 0));
    ignore(sys_get_nonblock(who(), on));
  }

  syscall_world& world_;
  input in_;
  std::size_t host_ = 0;
  std::array<std::vector<int>, 2> fds_;
};

/// Runs one input to its end; aborts when a promise does not hold.
inline void syscall_input(byte_view bytes) {
  syscall_world world(bytes.empty() ? u8{0} : bytes[0]);
  syscall_ops(world, bytes.subspan(std::min<std::size_t>(1, bytes.size()))).run();
  world.finish();
}

}  // namespace ph::fuzz
