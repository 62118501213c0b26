// Hook of syscall(2): the same calls as through their own functions. io_uring's operations would
// reach the host's network past every hook, so programs are told that there is none.
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdint>

#include "shim/anchor.h"
#include "shim/config.h"
#include "shim/lab_files.h"
#include "shim/program_memory.h"
#include "shim/raw.h"

namespace {

template <class T>
T pointer(long value) {
  return reinterpret_cast<T>(static_cast<std::uintptr_t>(value));
}

int number(long value) { return static_cast<int>(value); }
socklen_t length(long value) { return static_cast<socklen_t>(value); }

/// True when `nr` moves data on a descriptor; `result` is then what the hooked function gave.
bool hooked_data_call(long nr, const long (&a)[6], long& result) {
  const int fd = number(a[0]);
  switch (nr) {
    case SYS_sendto:
      result = sendto(fd, pointer<const void*>(a[1]), static_cast<std::size_t>(a[2]), number(a[3]),
                      pointer<const sockaddr*>(a[4]), length(a[5]));
      return true;
    case SYS_recvfrom:
      result = recvfrom(fd, pointer<void*>(a[1]), static_cast<std::size_t>(a[2]), number(a[3]),
                        pointer<sockaddr*>(a[4]), pointer<socklen_t*>(a[5]));
      return true;
    case SYS_sendmsg: result = sendmsg(fd, pointer<const msghdr*>(a[1]), number(a[2])); return true;
    case SYS_recvmsg: result = recvmsg(fd, pointer<msghdr*>(a[1]), number(a[2])); return true;
    case SYS_sendmmsg:
      result = sendmmsg(fd, pointer<mmsghdr*>(a[1]), static_cast<unsigned>(a[2]), number(a[3]));
      return true;
    case SYS_recvmmsg:
      result = recvmmsg(fd, pointer<mmsghdr*>(a[1]), static_cast<unsigned>(a[2]), number(a[3]),
                        pointer<timespec*>(a[4]));
      return true;
    case SYS_read:
      result = read(fd, pointer<void*>(a[1]), static_cast<std::size_t>(a[2]));
      return true;
    case SYS_write:
      result = write(fd, pointer<const void*>(a[1]), static_cast<std::size_t>(a[2]));
      return true;
    case SYS_readv: result = readv(fd, pointer<const iovec*>(a[1]), number(a[2])); return true;
    case SYS_writev: result = writev(fd, pointer<const iovec*>(a[1]), number(a[2])); return true;
    case SYS_ioctl:
      result = ioctl(fd, static_cast<unsigned long>(a[1]), pointer<void*>(a[2]));
      return true;
    default: return false;
  }
}

/// openat2(2) has no function of its own.
long open_by_how(const long (&a)[6]) {
  const int dir = number(a[0]);
  const auto* const path = pointer<const char*>(a[1]);
  const auto fd = static_cast<int>(ph::shim::raw::call(SYS_openat2, a[0], a[1], a[2], a[3]));
  open_how how{};
  if (!ph::shim::copy_in(how, pointer<const void*>(a[2]))) return ph::shim::finish(fd);
  const int mended = ph::shim::mend_open(dir, path, static_cast<int>(how.flags), fd);
  if (mended < 0 && fd >= 0) ph::shim::raw::close(fd);
  return ph::shim::finish(mended);
}

/// The same for what opens files, or asks whether it could.
bool hooked_open(long nr, const long (&a)[6], long& result) {
  switch (nr) {
#if defined(SYS_open)
    case SYS_open:
      result = open(pointer<const char*>(a[0]), number(a[1]), static_cast<mode_t>(a[2]));
      return true;
    case SYS_creat:
      result = creat(pointer<const char*>(a[0]), static_cast<mode_t>(a[1]));
      return true;
#endif
    case SYS_openat:
      result =
          openat(number(a[0]), pointer<const char*>(a[1]), number(a[2]), static_cast<mode_t>(a[3]));
      return true;
    case SYS_openat2: result = open_by_how(a); return true;
#if defined(SYS_access)
    case SYS_access: result = access(pointer<const char*>(a[0]), number(a[1])); return true;
#endif
    case SYS_faccessat:
      result = faccessat(number(a[0]), pointer<const char*>(a[1]), number(a[2]), 0);
      return true;
    case SYS_faccessat2:
      result = faccessat(number(a[0]), pointer<const char*>(a[1]), number(a[2]), number(a[3]));
      return true;
    default: return false;
  }
}

/// The same for the other calls of ours.
bool hooked_call(long nr, const long (&a)[6], long& result) {
  const int fd = number(a[0]);
  switch (nr) {
    case SYS_socket: result = socket(fd, number(a[1]), number(a[2])); return true;
    case SYS_bind: result = bind(fd, pointer<const sockaddr*>(a[1]), length(a[2])); return true;
    case SYS_connect:
      result = connect(fd, pointer<const sockaddr*>(a[1]), length(a[2]));
      return true;
    case SYS_listen: result = listen(fd, number(a[1])); return true;
    case SYS_accept:
      result = accept(fd, pointer<sockaddr*>(a[1]), pointer<socklen_t*>(a[2]));
      return true;
    case SYS_accept4:
      result = accept4(fd, pointer<sockaddr*>(a[1]), pointer<socklen_t*>(a[2]), number(a[3]));
      return true;
    case SYS_shutdown: result = shutdown(fd, number(a[1])); return true;
    case SYS_getsockname:
      result = getsockname(fd, pointer<sockaddr*>(a[1]), pointer<socklen_t*>(a[2]));
      return true;
    case SYS_getpeername:
      result = getpeername(fd, pointer<sockaddr*>(a[1]), pointer<socklen_t*>(a[2]));
      return true;
    case SYS_setsockopt:
      result = setsockopt(fd, number(a[1]), number(a[2]), pointer<const void*>(a[3]), length(a[4]));
      return true;
    case SYS_getsockopt:
      result = getsockopt(fd, number(a[1]), number(a[2]), pointer<void*>(a[3]),
                          pointer<socklen_t*>(a[4]));
      return true;
    case SYS_execve:
      result = execve(pointer<const char*>(a[0]), pointer<char* const*>(a[1]),
                      pointer<char* const*>(a[2]));
      return true;
    case SYS_execveat:
      result = execveat(fd, pointer<const char*>(a[1]), pointer<char* const*>(a[2]),
                        pointer<char* const*>(a[3]), number(a[4]));
      return true;
    case SYS_uname: result = uname(pointer<utsname*>(a[0])); return true;
    case SYS_io_uring_setup:
      errno = ENOSYS;
      result = -1;
      return true;
    default: return false;
  }
}

}  // namespace

extern "C" [[gnu::visibility("default")]] long ph_hook_syscall(long nr, ...) __asm__("syscall");
extern "C" long ph_hook_syscall(long nr, ...) {
  long a[6];
  va_list list;
  va_start(list, nr);
  for (long& value : a) value = va_arg(list, long);
  va_end(list);
  long result = 0;
  if (ph::shim::config().active && (hooked_call(nr, a, result) || hooked_data_call(nr, a, result) ||
                                    hooked_open(nr, a, result))) {
    return result;
  }
  result = ph::shim::raw::call(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
  if (result >= 0 || result < -4095) return result;
  errno = static_cast<int>(-result);
  return -1;
}
