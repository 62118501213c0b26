// The system calls that decisions need about a held descriptor, with their types. Results are the
// kernel's: >= 0, or -errno.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>

#include <cstdint>

#include "calls/caller.h"

namespace ph::calls::kernel {

template <class T>
long arg(T* pointer) {
  return static_cast<long>(reinterpret_cast<std::uintptr_t>(pointer));
}

inline int close(caller& c, int fd) {
  return static_cast<int>(c.kernel(SYS_close, fd, 0, 0, 0, 0));
}
inline int fcntl(caller& c, int fd, int command, long value = 0) {
  return static_cast<int>(c.kernel(SYS_fcntl, fd, command, value, 0, 0));
}
inline int getsockname(caller& c, int fd, sockaddr_un& address, socklen_t& len) {
  return static_cast<int>(c.kernel(SYS_getsockname, fd, arg(&address), arg(&len), 0, 0));
}
inline int getpeername(caller& c, int fd, sockaddr_un& address, socklen_t& len) {
  return static_cast<int>(c.kernel(SYS_getpeername, fd, arg(&address), arg(&len), 0, 0));
}
inline int getsockopt(caller& c, int fd, int level, int name, void* value, socklen_t& len) {
  return static_cast<int>(c.kernel(SYS_getsockopt, fd, level, name, arg(value), arg(&len)));
}
inline int setsockopt(caller& c, int fd, int level, int name, const void* value, socklen_t len) {
  return static_cast<int>(
      c.kernel(SYS_setsockopt, fd, level, name, arg(value), static_cast<long>(len)));
}
inline int shutdown(caller& c, int fd, int how) {
  return static_cast<int>(c.kernel(SYS_shutdown, fd, how, 0, 0, 0));
}
inline long sendmsg(caller& c, int fd, const msghdr& message, int flags) {
  return c.kernel(SYS_sendmsg, fd, arg(&message), flags, 0, 0);
}
inline long recvmsg(caller& c, int fd, msghdr& message, int flags) {
  return c.kernel(SYS_recvmsg, fd, arg(&message), flags, 0, 0);
}
inline bool is_socket(caller& c, int fd) {
  struct stat st {};
  return c.kernel(SYS_fstat, fd, arg(&st), 0, 0, 0) == 0 && S_ISSOCK(st.st_mode);
}
/// What a descriptor shows now.
inline short poll_now(caller& c, int fd, short wanted) {
  pollfd p{fd, wanted, 0};
  timespec at_once{};
  return c.kernel(SYS_ppoll, arg(&p), 1, arg(&at_once), 0, 0) == 1 ? p.revents : short{0};
}

/// True when a call with these flags waits.
inline bool may_block(caller& c, int fd, int flags) {
  if ((flags & MSG_DONTWAIT) != 0) return false;
  const int status = fcntl(c, fd, F_GETFL);
  return status >= 0 && (status & O_NONBLOCK) == 0;
}
/// SO_SNDTIMEO or SO_RCVTIMEO in microseconds; 0: for ever.
inline long timeout_of(caller& c, int fd, int option) {
  timeval limit{};
  socklen_t len = sizeof limit;
  if (getsockopt(c, fd, SOL_SOCKET, option, &limit, len) != 0) return 0;
  return limit.tv_sec * 1000000 + limit.tv_usec;
}

}  // namespace ph::calls::kernel
