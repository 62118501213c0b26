// System calls made by the shim for itself: past every hook, no cancellation, errno untouched.
// Results are the kernel's: >= 0, or -errno.
#pragma once

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include <cstdint>

namespace ph::shim::raw {

inline long call(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0,
                 long f = 0) {
#if defined(__x86_64__)
  long result;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "0"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
#elif defined(__aarch64__)
  register long x8 __asm__("x8") = number;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  register long x4 __asm__("x4") = e;
  register long x5 __asm__("x5") = f;
  __asm__ volatile("svc 0"
                   : "+r"(x0)
                   : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                   : "memory");
  return x0;
#else
#error "no system call sequence for this architecture"
#endif
}

template <class T>
long arg(T* pointer) {
  return static_cast<long>(reinterpret_cast<std::uintptr_t>(pointer));
}

inline int getpid() { return static_cast<int>(call(SYS_getpid)); }
inline int close(int fd) { return static_cast<int>(call(SYS_close, fd)); }
inline int fcntl(int fd, int command, long value = 0) {
  return static_cast<int>(call(SYS_fcntl, fd, command, value));
}
inline int dup3(int from, int to, int flags) {
  return static_cast<int>(call(SYS_dup3, from, to, flags));
}
inline int socket(int domain, int type, int protocol) {
  return static_cast<int>(call(SYS_socket, domain, type, protocol));
}
inline int connect(int fd, const sockaddr_un& address, socklen_t len) {
  return static_cast<int>(call(SYS_connect, fd, arg(&address), static_cast<long>(len)));
}
inline long sendmsg(int fd, const msghdr& message, int flags) {
  return call(SYS_sendmsg, fd, arg(&message), flags);
}
inline long recvmsg(int fd, msghdr& message, int flags) {
  return call(SYS_recvmsg, fd, arg(&message), flags);
}
inline int getsockname(int fd, sockaddr_un& address, socklen_t& len) {
  return static_cast<int>(call(SYS_getsockname, fd, arg(&address), arg(&len)));
}
inline int getpeername(int fd, sockaddr_un& address, socklen_t& len) {
  return static_cast<int>(call(SYS_getpeername, fd, arg(&address), arg(&len)));
}
inline int getsockopt(int fd, int level, int name, void* value, socklen_t& len) {
  return static_cast<int>(call(SYS_getsockopt, fd, level, name, arg(value), arg(&len)));
}
inline int setsockopt(int fd, int level, int name, const void* value, socklen_t len) {
  return static_cast<int>(
      call(SYS_setsockopt, fd, level, name, arg(value), static_cast<long>(len)));
}
inline int fstat(int fd, struct stat& out) {
  return static_cast<int>(call(SYS_fstat, fd, arg(&out)));
}

}  // namespace ph::shim::raw
