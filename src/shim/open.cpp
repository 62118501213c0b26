// Hooks of what opens files by name: open, fopen and their relatives. stdio opens inside libc, so
// its files are looked at after that.
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstring>

#include "shim/anchor.h"
#include "shim/config.h"
#include "shim/hook.h"
#include "shim/lab_files.h"
#include "shim/raw.h"

namespace {

using namespace ph::shim;

constinit next_function<int(int, const char*, int, mode_t)> next_openat{"openat"};
constinit next_function<FILE*(const char*, const char*)> next_fopen{"fopen"};
constinit next_function<FILE*(const char*, const char*, FILE*)> next_freopen{"freopen"};
constinit next_function<int(FILE*)> next_fclose{"fclose"};
constinit next_function<int(FILE*)> next_fflush{"fflush"};

int open_any(int dir, const char* path, int flags, mode_t mode) {
  const int fd = next_openat(dir, path, flags, mode);
  if (!config().active) return fd;
  const int saved = errno;
  const int mended = mend_open(dir, path, flags, fd < 0 ? -saved : fd);
  errno = saved;
  if (mended < 0 && fd >= 0) raw::close(fd);
  return finish(mended);
}

/// The flags that a mode of fopen(3) means.
int flags_of(const char* mode) {
  int flags = mode[0] == 'r' ? O_RDONLY : O_WRONLY;
  if (std::strchr(mode, '+') != nullptr) flags = O_RDWR;
  if (std::strchr(mode, 'e') != nullptr) flags |= O_CLOEXEC;
  return flags;
}

/// What fopen(3) gives for the file that the host has instead of the one that `file` is.
FILE* mended_stream(FILE* file, const char* path, const char* mode) {
  if (!config().active || path == nullptr) return file;
  const int saved = errno;
  const int fd = file != nullptr ? fileno(file) : -saved;
  const int mended = mend_open(AT_FDCWD, path, flags_of(mode), fd);
  errno = saved;
  if (mended == fd) return file;
  if (file != nullptr) next_fclose(file);
  if (mended < 0) {
    errno = -mended;
    return nullptr;
  }
  FILE* const made = fdopen(mended, mode);
  if (made == nullptr) raw::close(mended);
  return made;
}

/// What could not be opened anew is closed, and no other stream may be in its place.
FILE* reopened(const char* path, const char* mode, FILE* file) {
  FILE* const made = next_freopen(path, mode, file);
  return made != nullptr ? mended_stream(made, path, mode) : nullptr;
}

/// The stream's flag that ferror(3) shows.
void set_error(FILE* file) { file->_flags |= _IO_ERR_SEEN; }

/// After what stdio may have written to a file of the host's.
int written(int result, int fd) {
  if (result != 0 || fd < 0) return result;
  const int error = lab_file_error(fd);
  if (error == 0) return 0;
  errno = -error;
  return EOF;
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

PH_HOOK(FILE*, fopen, const char* path, const char* mode) {
  return mended_stream(next_fopen(path, mode), path, mode);
}
PH_HOOK(FILE*, fopen64, const char* path, const char* mode) {
  return mended_stream(next_fopen(path, mode), path, mode);
}

PH_HOOK(FILE*, freopen, const char* path, const char* mode, FILE* file) {
  return reopened(path, mode, file);
}
PH_HOOK(FILE*, freopen64, const char* path, const char* mode, FILE* file) {
  return reopened(path, mode, file);
}

PH_HOOK(int, fflush, FILE* file) {
  const int result = next_fflush(file);
  if (!lab_files_written() || file == nullptr) return result;
  const int seen = written(result, fileno(file));
  if (seen != result) set_error(file);
  return seen;
}

PH_HOOK(int, fclose, FILE* file) {
  if (!lab_files_written()) return next_fclose(file);
  const int flushed = written(next_fflush(file), fileno(file));
  const int error = errno;
  const int closed = next_fclose(file);
  if (closed == 0 && flushed != 0) errno = error;
  return closed != 0 ? closed : flushed;
}
