// Hooks of what opens files by name: open(2) and its relatives; and of access(2), which asks
// whether that would succeed. What stdio opens is in stdio.cpp.
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>

#include "shim/config.h"
#include "shim/hook.h"
#include "shim/lab_files.h"
#include "shim/own_caller.h"
#include "shim/raw.h"

namespace {

using namespace ph::shim;

constinit next_function<int(int, const char*, int, mode_t)> next_openat{"openat"};

int open_any(int dir, const char* path, int flags, mode_t mode) {
  const int fd = next_openat(dir, path, flags, mode);
  if (!config().active) return fd;
  const int saved = errno;
  const int mended = mend_open(dir, path, flags, fd < 0 ? -saved : fd);
  errno = saved;
  if (mended < 0 && fd >= 0) raw::close(fd);
  return finish(mended);
}

constinit next_function<int(int, const char*, int, int)> next_faccessat{"faccessat"};

int access_any(int dir, const char* path, int mode, int flags) {
  const int saved = errno;
  const int result = next_faccessat(dir, path, mode, flags);
  if (result == 0 || !config().active) return result;
  const int mended = mend_access(dir, path, mode, flags, -errno);
  if (mended == 0) errno = saved;
  return finish(mended);
}

bool needs_mode(int flags) { return (flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE; }

}  // namespace

#define PH_OPEN_HOOK(name)                                            \
  PH_HOOK(int, name, const char* path, int flags, ...) {              \
    va_list list;                                                     \
    va_start(list, flags);                                            \
    const mode_t mode = needs_mode(flags) ? va_arg(list, mode_t) : 0; \
    va_end(list);                                                     \
    return open_any(AT_FDCWD, path, flags, mode);                     \
  }
#define PH_OPENAT_HOOK(name)                                          \
  PH_HOOK(int, name, int dir, const char* path, int flags, ...) {     \
    va_list list;                                                     \
    va_start(list, flags);                                            \
    const mode_t mode = needs_mode(flags) ? va_arg(list, mode_t) : 0; \
    va_end(list);                                                     \
    return open_any(dir, path, flags, mode);                          \
  }

PH_OPEN_HOOK(open)
PH_OPEN_HOOK(open64)
PH_OPENAT_HOOK(openat)
PH_OPENAT_HOOK(openat64)

PH_HOOK(int, creat, const char* path, mode_t mode) {
  return open_any(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}
PH_HOOK(int, creat64, const char* path, mode_t mode) {
  return open_any(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

// What fortified programs call where there is no mode.
PH_HOOK(int, __open_2, const char* path, int flags) { return open_any(AT_FDCWD, path, flags, 0); }
PH_HOOK(int, __open64_2, const char* path, int flags) { return open_any(AT_FDCWD, path, flags, 0); }
PH_HOOK(int, __openat_2, int dir, const char* path, int flags) {
  return open_any(dir, path, flags, 0);
}
PH_HOOK(int, __openat64_2, int dir, const char* path, int flags) {
  return open_any(dir, path, flags, 0);
}

PH_HOOK(int, access, const char* path, int mode) { return access_any(AT_FDCWD, path, mode, 0); }
PH_HOOK(int, faccessat, int dir, const char* path, int mode, int flags) {
  return access_any(dir, path, mode, flags);
}
PH_HOOK(int, eaccess, const char* path, int mode) {
  return access_any(AT_FDCWD, path, mode, AT_EACCESS);
}
PH_HOOK(int, euidaccess, const char* path, int mode) {
  return access_any(AT_FDCWD, path, mode, AT_EACCESS);
}
