// The single door: system calls on a task, for the library, the shim's daemon, simulated
// applications and packetdrill. They have Linux's names, arguments and errors, with two
// differences: errors come as errc, and nothing blocks. A call that would block answers
// errc::again (connect: errc::inprogress) whatever O_NONBLOCK says; whether and how long the
// caller should wait is told by sys_wait_policy, and file::waiters() wakes it.
//
// Before calls from outside kernel::run, the composition calls kernel::enter(now).
#pragma once

#include "net/socket/socket.h"

namespace ph {

/// type may carry SOCK_NONBLOCK (SOCK_CLOEXEC is the caller's business). Errors: socket(2).
result<int> sys_socket(task& t, int domain, int type, int protocol);
result<void> sys_bind(task& t, int fd, byte_view addr);
result<void> sys_listen(task& t, int fd, int backlog);
/// peer may be nullptr. flags: SOCK_NONBLOCK.
result<int> sys_accept4(task& t, int fd, sockaddr_buf* peer, int flags);
result<void> sys_connect(task& t, int fd, byte_view addr);
result<void> sys_shutdown(task& t, int fd, int how);
result<void> sys_close(task& t, int fd);
result<std::size_t> sys_sendmsg(task& t, int fd, const send_msg& msg);
result<std::size_t> sys_recvmsg(task& t, int fd, recv_msg& msg);
result<std::size_t> sys_send(task& t, int fd, byte_view data, u32 flags = 0);
result<std::size_t> sys_recv(task& t, int fd, byte_span data, u32 flags = 0);
result<std::size_t> sys_sendto(task& t, int fd, byte_view data, u32 flags, byte_view addr);
result<std::size_t> sys_recvfrom(task& t, int fd, byte_span data, u32 flags, sockaddr_buf* from);
result<void> sys_setsockopt(task& t, int fd, int level, int name, byte_view value);
/// Returns the length of the answer (at most out.size()).
result<std::size_t> sys_getsockopt(task& t, int fd, int level, int name, byte_span out);
result<sockaddr_buf> sys_getsockname(task& t, int fd);
result<sockaddr_buf> sys_getpeername(task& t, int fd);
/// SIOC*: `arg` is the ioctl's argument, read and written in place (int, ifreq, ifconf).
result<int> sys_ioctl(task& t, int fd, u32 command, byte_span arg);
/// The ready poll(2) bits of a descriptor; POLLNVAL for a bad one.
u32 sys_poll(task& t, int fd);
/// F_GETFL / F_SETFL's O_NONBLOCK.
result<bool> sys_get_nonblock(task& t, int fd);
result<void> sys_set_nonblock(task& t, int fd, bool on);

/// What a caller does with errc::again: wait or not, and for how long.
struct wait_policy {
  bool wait = false;          ///< false: O_NONBLOCK or MSG_DONTWAIT
  duration timeout{};         ///< zero: for ever; else the error at its end is errc::again
                              ///< (connect: errc::inprogress), socket(7) SO_RCVTIMEO
};
enum class wait_for : u8 { receive, send, accept, connect };
wait_policy sys_wait_policy(task& t, int fd, wait_for what, u32 flags);

/// Integer options, for short.
result<void> sys_setsockopt_int(task& t, int fd, int level, int name, int value);
result<int> sys_getsockopt_int(task& t, int fd, int level, int name);

}  // namespace ph
