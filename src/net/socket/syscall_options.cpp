// setsockopt(2), getsockopt(2) and ioctl(2) by level and command.
#include "kernel/kernel.h"
#include "net/socket/syscall_internal.h"

namespace ph {

using namespace uapi;

namespace {

constexpr bool is_stamp(u32 command) {
  return command == siocgstamp || command == siocgstampns || command == siocgstamp_new ||
         command == siocgstampns_new;
}

/// SIOCGSTAMP, SIOCGSTAMPNS: when the packet read last arrived. Errors: noent when none was.
result<int> stamp_ioctl(sock& sk, u32 command, byte_span arg) {
  if (sk.stamp.ns == 0) return fail(errc::noent);
  const bool nano = command == siocgstampns || command == siocgstampns_new;
  const instant when = sk.net().machine().wall_clock(sk.stamp);
  const s64 sub = when.ns % 1'000'000'000;
  const timespec value{when.ns / 1'000'000'000, nano ? sub : sub / 1000};
  if (arg.size() < sizeof(value)) return fail(errc::fault);
  copy_bytes(arg, bytes_of(value));
  return 0;
}

result<int> fionbio_ioctl(socket& so, byte_span arg) {
  byte_reader reader(arg);
  const bool on = reader.take<le32>().value() != 0;
  if (!reader.ok()) return fail(errc::fault);
  so.set_nonblocking(on);
  return 0;
}

}  // namespace

result<void> sys_setsockopt(task& t, int fd, int level, int name, byte_view value) {
  TRY(const ref<socket> so, socket_of(t, fd));
  sock& sk = so->sk();
  sk.opt.net_admin = t.cred.net_admin;
  if (level == sol_socket) return sock_setsockopt(t, sk, name, value);
  return sk.setsockopt(sk.home(), level, name, value);
}

result<std::size_t> sys_getsockopt(task& t, int fd, int level, int name, byte_span out) {
  TRY(const ref<socket> so, socket_of(t, fd));
  sock& sk = so->sk();
  if (level == sol_socket) return sock_getsockopt(sk, name, out);
  return sk.getsockopt(sk.home(), level, name, out);
}

result<void> sys_setsockopt_int(task& t, int fd, int level, int name, int value) {
  return sys_setsockopt(t, fd, level, name, bytes_of(value));
}

result<int> sys_getsockopt_int(task& t, int fd, int level, int name) {
  int value = 0;
  const byte_span out(reinterpret_cast<u8*>(&value), sizeof(value));
  TRY_VOID(sys_getsockopt(t, fd, level, name, out));
  return value;
}

result<int> sys_ioctl(task& t, int fd, u32 command, byte_span arg) {
  TRY(const ref<socket> so, socket_of(t, fd));
  sock& sk = so->sk();
  if (command == fionbio) return fionbio_ioctl(*so, arg);
  if (is_stamp(command)) return stamp_ioctl(sk, command, arg);
  result<int> answer = sk.ioctl(sk.home(), command, arg);
  if (answer || answer.error() != errc::notty) return answer;
  answer = netdev_ioctl(t, command, arg);
  if (answer || answer.error() != errc::notty) return answer;
  for (const family_ioctl_fn ask : t.machine().slots().get(net_families_key).ioctls) {
    answer = ask(t, command, arg);
    if (answer || answer.error() != errc::notty) return answer;
  }
  return fail(errc::notty);
}

}  // namespace ph
