// A host_sockets that is the machine's own kernel (loopback): a stack known to be right, so that
// tests of the shim and of the pump test those alone.
#pragma once

#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <map>

#include "daemon/host_sockets.h"
#include "platform/unique_fd.h"

namespace ph::dropin {

class kernel_sockets final : public host_sockets {
 public:
  kernel_sockets() : epoll_(::epoll_create1(EPOLL_CLOEXEC)) {}
  ~kernel_sockets() override {
    for (const auto& [s, entry] : watchers_) ::close(s);
  }
  [[nodiscard]] int fd() const { return epoll_.get(); }
  [[nodiscard]] std::size_t open_count() const { return watchers_.size(); }

  /// Wakes those whose sockets have news.
  void wake_ready() {
    epoll_event events[64];
    const int n = ::epoll_wait(epoll_.get(), events, 64, 0);
    for (int i = 0; i < n; ++i) {
      const auto at = watchers_.find(events[i].data.fd);
      if (at != watchers_.end() && at->second != nullptr) at->second->wake(events[i].events);
    }
  }

  result<int> open(int domain, int type, int protocol) override {
    if (domain != AF_INET) return fail(errc::afnosupport);
    return keep(::socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol));
  }
  void close(int s) override {
    watchers_.erase(s);
    ::close(s);
  }
  std::unique_ptr<closed_socket> close_watched(int s, wait_entry&) override {
    const ::linger in_background{};
    ::setsockopt(s, SOL_SOCKET, SO_LINGER, &in_background, sizeof in_background);
    close(s);
    return nullptr;
  }
  result<void> bind(int s, byte_view addr) override {
    return done(::bind(s, address(addr), static_cast<socklen_t>(addr.size())));
  }
  result<void> listen(int s, int backlog) override { return done(::listen(s, backlog)); }
  result<int> accept(int s) override {
    return keep(::accept4(s, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  }
  void set_waiting(int, u32) override {}
  result<void> connect(int s, byte_view addr) override {
    return done(::connect(s, address(addr), static_cast<socklen_t>(addr.size())));
  }
  result<void> shutdown(int s, int how) override { return done(::shutdown(s, how)); }
  result<std::size_t> sendmsg(int s, const send_msg& msg) override {
    std::vector<iovec> iov;
    for (const byte_view piece : msg.iov) {
      iov.push_back({const_cast<u8*>(piece.data()), piece.size()});
    }
    msghdr m{};
    m.msg_name = const_cast<u8*>(msg.name.data());
    m.msg_namelen = static_cast<socklen_t>(msg.name.size());
    m.msg_iov = iov.data();
    m.msg_iovlen = iov.size();
    m.msg_control = const_cast<u8*>(msg.control.data());
    m.msg_controllen = msg.control.size();
    return counted(::sendmsg(s, &m, static_cast<int>(msg.flags) | MSG_NOSIGNAL | MSG_DONTWAIT));
  }
  result<std::size_t> recvmsg(int s, recv_msg& msg) override {
    std::vector<iovec> iov;
    for (const byte_span piece : msg.iov) iov.push_back({piece.data(), piece.size()});
    msghdr m{};
    m.msg_name = msg.name != nullptr ? msg.name->bytes.data() : nullptr;
    m.msg_namelen = msg.name != nullptr ? sizeof msg.name->bytes : 0;
    m.msg_iov = iov.data();
    m.msg_iovlen = iov.size();
    m.msg_control = msg.control.data();
    m.msg_controllen = msg.control.size();
    const ssize_t got = ::recvmsg(s, &m, static_cast<int>(msg.flags) | MSG_DONTWAIT);
    if (got >= 0 && msg.name != nullptr) msg.name->len = m.msg_namelen;
    msg.control_len = got >= 0 ? m.msg_controllen : 0;
    msg.out_flags = static_cast<u32>(m.msg_flags);
    ::timespec came{};
    if (got >= 0 && ::ioctl(s, SIOCGSTAMPNS_OLD, &came) == 0) {
      msg.came = instant{came.tv_sec * 1'000'000'000 + came.tv_nsec};
    }
    return counted(got);
  }
  result<void> setsockopt(int s, int level, int name, byte_view value) override {
    return done(::setsockopt(s, level, name, value.data(), static_cast<socklen_t>(value.size())));
  }
  result<std::size_t> getsockopt(int s, int level, int name, byte_span out) override {
    auto len = static_cast<socklen_t>(out.size());
    if (::getsockopt(s, level, name, out.data(), &len) != 0) return fail(static_cast<errc>(errno));
    return len;
  }
  result<sockaddr_buf> name(int s, bool peer) override {
    sockaddr_buf out;
    socklen_t len = sizeof out.bytes;
    auto* to = reinterpret_cast<sockaddr*>(out.bytes.data());
    const int r = peer ? ::getpeername(s, to, &len) : ::getsockname(s, to, &len);
    out.len = len;
    if (r != 0) return fail(static_cast<errc>(errno));
    return out;
  }
  result<int> ioctl(int s, u32 command, byte_span arg) override {
    unique_fd any;
    if (s < 0) any.reset(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    const int r = ::ioctl(s < 0 ? any.get() : s, command, arg.data());
    if (r < 0) return fail(static_cast<errc>(errno));
    return r;
  }
  void set_outside(int, handed_on*) override {}
  void count_lost(int) override {}
  u32 poll(int s) override {
    pollfd p{s, POLLIN | POLLOUT | POLLRDHUP | POLLPRI, 0};
    ::poll(&p, 1, 0);
    return static_cast<u32>(p.revents);
  }
  void watch(int s, wait_entry& entry) override { watchers_[s] = &entry; }

  bool has_address(byte_view addr) override {
    return addr.size() >= sizeof(sockaddr_in) && addr[4] == 127;
  }
  std::vector<sockaddr_buf> resolve(std::string_view name) override {
    if (name != "server.lab") return {};
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    sockaddr_buf out;
    out.set(in);
    return {out};
  }
  std::string name_of(byte_view addr) override {
    sockaddr_in in{};
    copy_bytes({reinterpret_cast<u8*>(&in), sizeof in}, addr);
    return in.sin_addr.s_addr == htonl(INADDR_LOOPBACK) ? "server.lab" : "";
  }
  std::vector<interface_record> interfaces() override {
    interface_record lo;
    std::strcpy(lo.name, "lo");
    lo.index = 1;
    lo.flags = IFF_UP | IFF_LOOPBACK | IFF_RUNNING;
    lo.mtu = 65536;
    lo.hardware_type = 772;
    interface_record lo4 = lo;
    lo4.family = AF_INET;
    lo4.prefix_len = 8;
    lo4.address[0] = 127;
    lo4.address[3] = 1;
    return {lo, lo4};
  }
  result<std::string> read_file(std::string_view path) override {
    if (path == "/etc/hosts") return std::string("127.0.0.1\tserver.lab\n");
    if (path != setting_path) return fail(errc::noent);
    return setting_ + "\n";
  }
  result<void> write_file(std::string_view path, std::string_view text) override {
    if (path != setting_path) return fail(errc::acces);
    if (text.empty() || text.front() < '0' || text.front() > '9') return fail(errc::inval);
    setting_ = text.substr(0, text.find('\n'));
    return {};
  }

 private:
  /// The one setting that this host has.
  static constexpr std::string_view setting_path = "/proc/sys/net/ipv4/ip_forward";
  std::string setting_ = "0";

  static const sockaddr* address(byte_view addr) {
    return reinterpret_cast<const sockaddr*>(addr.data());
  }
  static result<void> done(int r) {
    if (r != 0) return fail(static_cast<errc>(errno));
    return {};
  }
  static result<std::size_t> counted(ssize_t r) {
    if (r < 0) return fail(static_cast<errc>(errno));
    return static_cast<std::size_t>(r);
  }
  result<int> keep(int s) {
    if (s < 0) return fail(static_cast<errc>(errno));
    watchers_[s] = nullptr;
    epoll_event e{};
    e.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI | EPOLLET;
    e.data.fd = s;
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, s, &e);
    return s;
  }

  unique_fd epoll_;
  std::map<int, wait_entry*> watchers_;
};

}  // namespace ph::dropin
