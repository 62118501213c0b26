// Calls that make, name, join and end sockets: socket(2) ... shutdown(2), close(2).
// Data is in syscall_msg.cpp, options and ioctls in syscall_options.cpp, readiness and waiting
// in syscall_poll.cpp.
#include "net/socket/syscall.h"

#include "kernel/kernel.h"
#include "net/socket/syscall_internal.h"

namespace ph {

using namespace uapi;

namespace {

constexpr int fd_flags = sock_nonblock | sock_cloexec;
constexpr int highest_type = 10;
constexpr int ipproto_max = 263;

result<int> install_socket(task& t, ref<sock> sk, int flags) {
  const auto file_of = make_ref<socket>(std::move(sk));
  file_of->set_nonblocking((flags & sock_nonblock) != 0);
  return t.install(file_of);
}

void apply_defaults(task& t, sock& sk) {
  sk.opt.uid = t.cred.uid;
  sk.opt.net_admin = t.cred.net_admin;
  if (sk.type() == sock_stream) return;  // streams have limits of their own
  const socket_limits& limits = t.net().slots().get(socket_limits_key);
  sk.opt.rcvbuf = static_cast<u32>(limits.rmem_default);
  sk.opt.sndbuf = static_cast<u32>(limits.wmem_default);
}

}  // namespace

result<int> sys_socket(task& t, int domain, int type, int protocol) {
  const int flags = type & ~sock_type_mask;
  const int kind = type & sock_type_mask;
  if ((flags & ~fd_flags) != 0) return fail(errc::inval);
  if (domain < 0 || domain >= af_max) return fail(errc::afnosupport);
  if (kind > highest_type) return fail(errc::inval);
  const net_families& families = t.machine().slots().get(net_families_key);
  const auto family = families.create.find(static_cast<u16>(domain));
  if (family == families.create.end()) return fail(errc::afnosupport);
  if (domain == af_inet && (protocol < 0 || protocol >= ipproto_max)) return fail(errc::inval);
  if (t.full()) return fail(errc::mfile);
  TRY(ref<sock> sk,
      family->second(t, t.machine().boot_cpu(), static_cast<u16>(kind), protocol));
  apply_defaults(t, *sk);
  return install_socket(t, std::move(sk), flags);
}

result<void> sys_bind(task& t, int fd, byte_view addr) {
  TRY(const ref<socket> so, socket_of(t, fd));
  TRY_VOID(check_sockaddr(addr));
  sock& sk = so->sk();
  sk.opt.net_admin = t.cred.net_admin;
  return sk.bind(sk.home(), addr);
}

result<void> sys_listen(task& t, int fd, int backlog) {
  TRY(const ref<socket> so, socket_of(t, fd));
  // listen(2): a backlog above the limit, or a negative one, means the limit.
  const auto limit = static_cast<u32>(t.net().slots().get(socket_limits_key).somaxconn);
  const u32 granted = std::min(static_cast<u32>(backlog), limit);
  TRY_VOID(so->sk().listen(so->sk().home(), static_cast<int>(granted)));
  so->sk().listening = true;
  return {};
}

result<int> sys_accept4(task& t, int fd, sockaddr_buf* peer, int flags) {
  if ((flags & ~fd_flags) != 0) return fail(errc::inval);
  TRY(const ref<socket> so, socket_of(t, fd));
  if (t.full()) return fail(errc::mfile);
  TRY(ref<sock> child, so->sk().accept(so->sk().home()));
  if (peer != nullptr) {
    const result<sockaddr_buf> name = child->accepted_name();
    *peer = name ? *name : sockaddr_buf{};
    if (!name) {
      const auto unwanted = make_ref<socket>(std::move(child));  // closes it
      return fail(errc::connaborted);
    }
  }
  return install_socket(t, std::move(child), flags);
}

result<void> sys_connect(task& t, int fd, byte_view addr) {
  TRY(const ref<socket> so, socket_of(t, fd));
  TRY_VOID(check_sockaddr(addr));
  return so->sk().connect(so->sk().home(), addr);
}

result<void> sys_shutdown(task& t, int fd, int how) {
  TRY(const ref<socket> so, socket_of(t, fd));
  if (how < shut_rd || how > shut_rdwr) return fail(errc::inval);
  return so->sk().shutdown(so->sk().home(), static_cast<u8>(how + 1));
}

result<void> sys_close(task& t, int fd) { return t.close(fd); }

result<sockaddr_buf> sys_getsockname(task& t, int fd) {
  TRY(const ref<socket> so, socket_of(t, fd));
  return so->sk().getname(false);
}

result<sockaddr_buf> sys_getpeername(task& t, int fd) {
  TRY(const ref<socket> so, socket_of(t, fd));
  return so->sk().getname(true);
}

}  // namespace ph
