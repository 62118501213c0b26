// Hooks of the functions of stdio that open, flush and close. What stdio does inside libc no hook
// sees: its files are looked at when they are open, and its errors when they are told.
#include <fcntl.h>
#include <stdio.h>

#include <cerrno>
#include <cstring>

#include "calls/datagram.h"
#include "calls/stream.h"
#include "shim/config.h"
#include "shim/hook.h"
#include "shim/lab_files.h"
#include "shim/own_caller.h"
#include "shim/raw.h"

namespace {

using namespace ph::shim;

constinit next_function<FILE*(const char*, const char*)> next_fopen{"fopen"};
constinit next_function<FILE*(const char*, const char*, FILE*)> next_freopen{"freopen"};
constinit next_function<int(FILE*)> next_fclose{"fclose"};
constinit next_function<int(FILE*)> next_fflush{"fflush"};

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

/// A write that failed inside libc with errno: what it means, 0 when it may be repeated.
int meant_by(int fd, int error) {
  own_caller c(fd);
  anchor a;
  const bool ours_to_mend = error == ENOTCONN || error == ECONNRESET || error == EPERM;
  if (!ours_to_mend || fd < 0 || !find_anchor(c, fd, a)) return error;
  if (a.stream()) return static_cast<int>(-stream_send_error(c, a, error));
  return error == EPERM ? EDESTADDRREQ : datagram_receive_error(c, a, error, 0);
}

/// fflush(3), with the error that the program must see. What was not written is kept, so a call
/// whose error was somebody else's business can be made again.
int flush(FILE* file) {
  constexpr int most_tries = 4;
  const int before = errno;
  int result = next_fflush(file);
  if (!config().active || file == nullptr) return result;
  if (result == 0 && ferror(file) != 0) {
    // A write inside putchar(3) or the like has failed: errno still says why, and is looked at now.
    const int meant = meant_by(fileno(file), before);
    errno = meant != 0 ? meant : before;
  }
  for (int tries = 1; result != 0; ++tries) {
    errno = meant_by(fileno(file), errno);
    if (errno != 0 || tries == most_tries) return result;
    clearerr(file);
    result = next_fflush(file);
  }
  return lab_files_written() ? written(result, fileno(file)) : result;
}

}  // namespace

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
  const int result = flush(file);
  if (result != 0 && file != nullptr) set_error(file);
  return result;
}

PH_HOOK(int, fclose, FILE* file) {
  if (!config().active) return next_fclose(file);
  const bool writes = (fcntl(fileno(file), F_GETFL) & O_ACCMODE) != O_RDONLY;
  const int flushed = writes ? flush(file) : 0;
  const int error = errno;
  const int closed = next_fclose(file);
  if (closed == 0 && flushed != 0) errno = error;
  return closed != 0 ? closed : flushed;
}
