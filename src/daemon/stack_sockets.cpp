// Drop-in's sockets as system calls. Each call first brings the host's clock up to the world's.
#include "daemon/stack_sockets.h"

#include "net/ipv4/devinet.h"
#include "net/ipv4/ipv4_net.h"
#include "net/socket/syscall.h"
#include "net/tcp/tcp_sock.h"
#include "net/udp/udp_mib.h"
#include "uapi/inet.h"
#include "uapi/socket.h"

namespace ph::dropin {
namespace {

sockaddr_buf to_sockaddr(ipv4_addr addr) {
  uapi::sockaddr_in in{};
  in.sin_family.set(uapi::af_inet);
  in.sin_addr = addr.raw;
  sockaddr_buf out;
  out.set(in);
  return out;
}

interface_record describe(const net_device& dev) {
  interface_record r;
  copy_bytes({reinterpret_cast<u8*>(r.name), sizeof r.name - 1}, bytes_of(dev.name()));
  r.index = static_cast<u32>(dev.index().value);
  r.flags = dev.flags();
  r.mtu = dev.mtu();
  r.hardware_type = dev.type();
  r.hardware_addr_len = 6;
  copy_bytes(r.hardware_addr, dev.dev_addr().bytes);
  return r;
}

interface_record with_address(interface_record r, const in_ifaddr& addr) {
  r.family = uapi::af_inet;
  r.prefix_len = addr.prefix_len;
  copy_bytes(r.address, bytes_of(addr.local));
  copy_bytes(r.broadcast, bytes_of(addr.broadcast));
  return r;
}

constexpr std::string_view settings_folder = "/proc/sys/net/";

/// What sysctl(8) calls a file below /proc/sys, with slashes; empty for another.
std::string_view setting_at(std::string_view path) {
  constexpr std::size_t before_net = std::string_view("/proc/sys/").size();
  return path.starts_with(settings_folder) ? path.substr(before_net) : std::string_view();
}

/// A call into a host. One that is dead, or dies of this call, answers `if_dead`.
template <class T, class F>
T in(sim::host& h, T if_dead, F&& f) {
  h.call([&] { if_dead = f(); });
  return if_dead;
}

}  // namespace

/// A TCP socket after its close, which only this holds and the stack itself.
class stack_sockets::closed_tcp final : public closed_socket {
 public:
  closed_tcp(stack_sockets& owner, ref<sock> sk, wait_entry& entry)
      : owner_(owner), sk_(std::move(sk)) {
    sk_->waiters.add(entry);
    owner_.closed_[this] = &entry;
  }
  ~closed_tcp() override {
    owner_.closed_.erase(this);
    if (!owner_.host_.call([this] { sk_ = {}; })) {
      sim::keep_forever(std::make_shared<ref<sock>>(std::move(sk_)));
    }
  }
  [[nodiscard]] bool over() const override {
    if (owner_.host_.dead()) return true;
    const tcp_state state = static_cast<const tcp_sock&>(*sk_).state;
    return state != tcp_state::fin_wait1 && state != tcp_state::closing &&
           state != tcp_state::last_ack;
  }

 private:
  stack_sockets& owner_;
  ref<sock> sk_;
};

stack_sockets::stack_sockets(running_lab& lab, sim::host& where)
    : lab_(lab),
      host_(where),
      task_(std::make_shared<task>(where.machine(), where.net(), "programs")) {
  host_.add_on_death([this, alive = std::weak_ptr<task>(task_)] {
    if (!alive.expired()) host_died();
  });
}

/// What the programs hold is reset: every client looks again and sees it.
void stack_sockets::host_died() {
  sim::keep_forever(task_);
  for (const auto& [s, entry] : watched_) entry->wake(uapi::pollerr | uapi::pollhup);
  for (const auto& [socket, entry] : closed_) entry->wake(uapi::pollerr | uapi::pollhup);
}

/// nullptr when the host is dead.
sock* stack_sockets::find(int s) {
  if (host_.dead()) return nullptr;
  const auto f = task_->get(s);
  socket* const so = f ? (*f)->as_socket() : nullptr;
  return so != nullptr ? &so->sk() : nullptr;
}

result<int> stack_sockets::open(int domain, int type, int protocol) {
  if (memory_low()) return fail(errc::nobufs);
  return in<result<int>>(host_, fail(errc::netdown),
                         [&] { return sys_socket(*task_, domain, type, protocol); });
}

void stack_sockets::close(int s) {
  watched_.erase(s);
  host_.call([&] { (void)sys_close(*task_, s); });
}

std::unique_ptr<closed_socket> stack_sockets::close_watched(int s, wait_entry& entry) {
  ref<sock> sk;
  host_.call([&] {
    const auto f = task_->get(s);
    socket* const so = f ? (*f)->as_socket() : nullptr;
    if (so == nullptr || so->sk().protocol() != uapi::ipproto_tcp) return;
    (*f)->waiters().remove(entry);
    sk = ref<sock>(&so->sk());
  });
  close(s);
  if (!sk) return nullptr;
  if (host_.dead()) {  // of that close: nothing of the machine is touched again
    sim::keep_forever(std::make_shared<ref<sock>>(std::move(sk)));
    return nullptr;
  }
  return std::make_unique<closed_tcp>(*this, std::move(sk), entry);
}

result<void> stack_sockets::bind(int s, byte_view addr) {
  return in<result<void>>(host_, fail(errc::netdown), [&] { return sys_bind(*task_, s, addr); });
}

result<void> stack_sockets::listen(int s, int backlog) {
  return in<result<void>>(host_, fail(errc::netdown),
                          [&] { return sys_listen(*task_, s, backlog); });
}

result<int> stack_sockets::accept(int s) {
  return in<result<int>>(host_, fail(errc::netdown),
                         [&] { return sys_accept4(*task_, s, nullptr, 0); });
}

void stack_sockets::set_waiting(int s, u32 count) {
  sock* const sk = find(s);
  if (sk == nullptr || sk->type() != uapi::sock_stream) return;
  if (sk->protocol() != uapi::ipproto_tcp) return;
  static_cast<tcp_sock&>(*sk).accepted_ahead = count;
}

result<void> stack_sockets::connect(int s, byte_view addr) {
  return in<result<void>>(host_, fail(errc::netdown), [&] { return sys_connect(*task_, s, addr); });
}

result<void> stack_sockets::shutdown(int s, int how) {
  return in<result<void>>(host_, fail(errc::notconn), [&] { return sys_shutdown(*task_, s, how); });
}

result<std::size_t> stack_sockets::sendmsg(int s, const send_msg& msg) {
  if (memory_low() && !host_.dead()) return fail(errc::again);
  return in<result<std::size_t>>(host_, fail(errc::connreset),
                                 [&] { return sys_sendmsg(*task_, s, msg); });
}

result<std::size_t> stack_sockets::recvmsg(int s, recv_msg& msg) {
  return in<result<std::size_t>>(host_, fail(errc::connreset),
                                 [&] { return sys_recvmsg(*task_, s, msg); });
}

result<void> stack_sockets::setsockopt(int s, int level, int name, byte_view value) {
  return in<result<void>>(host_, fail(errc::netdown),
                          [&] { return sys_setsockopt(*task_, s, level, name, value); });
}

result<std::size_t> stack_sockets::getsockopt(int s, int level, int name, byte_span out) {
  result<std::size_t> if_dead = fail(errc::netdown);
  if (level == uapi::sol_socket && name == uapi::so_error) {
    if_dead = copy_bytes(out, bytes_of(le32(static_cast<u32>(errc::connreset))));
  }
  return in<result<std::size_t>>(host_, if_dead,
                                 [&] { return sys_getsockopt(*task_, s, level, name, out); });
}

result<sockaddr_buf> stack_sockets::name(int s, bool peer) {
  return in<result<sockaddr_buf>>(host_, fail(peer ? errc::notconn : errc::netdown), [&] {
    return peer ? sys_getpeername(*task_, s) : sys_getsockname(*task_, s);
  });
}

result<int> stack_sockets::ioctl(int s, u32 command, byte_span arg) {
  return in<result<int>>(host_, fail(errc::netdown), [&]() -> result<int> {
    if (s >= 0) return sys_ioctl(*task_, s, command, arg);
    if (control_ < 0) {
      TRY(control_, sys_socket(*task_, uapi::af_inet, uapi::sock_dgram, 0));
    }
    return sys_ioctl(*task_, control_, command, arg);
  });
}

void stack_sockets::set_outside(int s, handed_on* queue) {
  if (sock* const sk = find(s); sk != nullptr) sk->outside = queue;
}

void stack_sockets::count_lost(int s) {
  sock* const sk = find(s);
  if (sk == nullptr) return;
  ++sk->drops;
  const bool udp = sk->type() == uapi::sock_dgram && sk->protocol() == uapi::ipproto_udp;
  if (udp) host_.net().mib().add(sk->home(), mib::udp_rcvbuf_errors);
}

u32 stack_sockets::poll(int s) {
  using namespace uapi;
  return in<u32>(host_, pollerr | pollhup | pollin | pollrdhup | pollout,
                 [&] { return sys_poll(*task_, s); });
}

void stack_sockets::watch(int s, wait_entry& entry) {
  if (host_.dead()) return;
  const auto f = task_->get(s);
  if (!f) return;
  (*f)->waiters().add(entry);
  watched_[s] = &entry;
}

bool stack_sockets::has_address(byte_view addr) {
  const auto* in_addr = view_as<uapi::sockaddr_in>(addr);
  if (in_addr == nullptr || sockaddr_family(addr) != uapi::af_inet) return false;
  return in<bool>(host_, false, [&] {
    const ipv4_addr to(in_addr->sin_addr.value());
    if (to.is_any()) return true;  // stands for the host (ip(7))
    const route_type type = ipv4_of(host_.net()).fib.addr_type(to);
    return type == route_type::local || type == route_type::broadcast ||
           type == route_type::multicast;
  });
}

std::vector<sockaddr_buf> stack_sockets::resolve(std::string_view name) {
  std::vector<sockaddr_buf> out;
  for (const ipv4_addr addr : lab_.resolve(host_, name)) out.push_back(to_sockaddr(addr));
  return out;
}

std::string stack_sockets::name_of(byte_view addr) {
  const auto* in = view_as<uapi::sockaddr_in>(addr);
  if (in == nullptr || sockaddr_family(addr) != uapi::af_inet) return {};
  return lab_.name_of(host_, ipv4_addr(in->sin_addr.value()));
}

std::vector<interface_record> stack_sockets::interfaces() {
  std::vector<interface_record> out;
  if (host_.dead()) return out;
  for (const auto& dev : host_.net().devices()) {
    out.push_back(describe(*dev));
    const in_device* in_dev = in_dev_of(*dev);
    if (in_dev == nullptr) continue;
    for (const in_ifaddr& addr : in_dev->addrs) out.push_back(with_address(describe(*dev), addr));
  }
  return out;
}

result<std::string> stack_sockets::read_file(std::string_view path) {
  if (path == "/etc/hosts") return lab_.names_file(host_);
  if (path == "/etc/hostname" || path == "/proc/sys/kernel/hostname") return host_.name() + "\n";
  return in<result<std::string>>(host_, fail(errc::netdown), [&]() -> result<std::string> {
    TRY(std::string value, host_.net().sysctls().get(setting_at(path)));
    return value + "\n";
  });
}

result<void> stack_sockets::write_file(std::string_view path, std::string_view text) {
  return in<result<void>>(host_, fail(errc::netdown),
                          [&] { return host_.net().sysctls().set(setting_at(path), text); });
}

}  // namespace ph::dropin
