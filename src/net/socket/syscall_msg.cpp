// Calls that move data: send(2) and recv(2) in their forms.
#include "net/socket/syscall_internal.h"

namespace ph {

using namespace uapi;

result<std::size_t> sys_sendmsg(task& t, int fd, const send_msg& msg) {
  TRY(const ref<socket> so, socket_of(t, fd));
  if (msg.iov.size() > uio_maxiov) return fail(errc::msgsize);
  TRY_VOID(check_sockaddr(msg.name));
  send_msg given = msg;
  if (so->nonblocking()) given.flags |= msg_dontwait;
  return so->sk().sendmsg(so->sk().home(), given);
}

result<std::size_t> sys_recvmsg(task& t, int fd, recv_msg& msg) {
  TRY(const ref<socket> so, socket_of(t, fd));
  if (msg.iov.size() > uio_maxiov) return fail(errc::msgsize);
  msg.out_flags = 0;
  msg.control_len = 0;
  if (msg.name != nullptr) msg.name->len = 0;
  const u32 flags = msg.flags;
  if (so->nonblocking()) msg.flags |= msg_dontwait;
  const auto got = so->sk().recvmsg(so->sk().home(), msg);
  msg.flags = flags;
  return got;
}

result<std::size_t> sys_send(task& t, int fd, byte_view data, u32 flags) {
  return sys_sendto(t, fd, data, flags, {});
}

result<std::size_t> sys_recv(task& t, int fd, byte_span data, u32 flags) {
  return sys_recvfrom(t, fd, data, flags, nullptr);
}

result<std::size_t> sys_sendto(task& t, int fd, byte_view data, u32 flags, byte_view addr) {
  send_msg msg;
  msg.name = addr;
  msg.iov = {&data, 1};
  msg.flags = flags;
  return sys_sendmsg(t, fd, msg);
}

result<std::size_t> sys_recvfrom(task& t, int fd, byte_span data, u32 flags,
                                 sockaddr_buf* from) {
  recv_msg msg;
  msg.name = from;
  msg.iov = {&data, 1};
  msg.flags = flags;
  return sys_recvmsg(t, fd, msg);
}

}  // namespace ph
