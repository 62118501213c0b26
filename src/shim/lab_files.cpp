// Recognising files, and standing in for them.
#include "shim/lab_files.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/statfs.h>

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstring>

#include "calls/anchor.h"
#include "calls/scratch.h"
#include "platform/fd_path.h"
#include "shim/channel.h"
#include "shim/config.h"
#include "shim/own_caller.h"
#include "shim/raw.h"

namespace ph::shim {
namespace {

using dropin::request_kind;

/// The longest name of a file that a host has of its own.
constexpr std::size_t longest_name = 256;
constexpr const char* read_only[] = {"/etc/hosts", "/etc/hostname", "/proc/sys/kernel/hostname"};
constexpr char settings_folder[] = "/proc/sys/net/";
constexpr std::size_t settings_len = sizeof settings_folder - 1;

constinit std::atomic<bool> some_written{false};

bool writes(int flags) { return (flags & O_ACCMODE) != O_RDONLY; }

bool begins_with(const char* text, const char* with) {
  return std::strncmp(text, with, std::strlen(with)) == 0;
}

/// The path without "//", "/./" and "/../". False when it is longer than any that matters.
bool normalize(const char* path, char (&out)[longest_name]) {
  std::size_t len = 0;
  while (*path != 0) {
    while (*path == '/') ++path;
    std::size_t part = 0;
    while (path[part] != 0 && path[part] != '/') ++part;
    const bool parent = part == 2 && path[0] == '.' && path[1] == '.';
    if (parent) {
      while (len > 0 && out[--len] != '/') {}
    } else if (part > 0 && !(part == 1 && path[0] == '.')) {
      if (len + part + 2 > sizeof out) return false;
      out[len++] = '/';
      std::memcpy(out + len, path, part);
      len += part;
    }
    path += part;
  }
  out[len] = 0;
  return len > 0;
}

/// True when the path itself names a file of the host's, whether or not the machine has it.
bool named_lab_file(const char* path, int flags, char (&name)[longest_name]) {
  if (path[0] != '/' || !normalize(path, name)) return false;
  for (const char* const file : read_only) {
    if (std::strcmp(name, file) == 0) return !writes(flags);
  }
  return begins_with(name, settings_folder);
}

enum class what { other, settings, machines };

/// What lies behind a descriptor of procfs or sysfs; fills the name of a setting's file.
what look_at(int fd, char (&name)[longest_name]) {
  struct statfs system {};
  if (raw::call(SYS_fstatfs, fd, raw::arg(&system)) != 0) return what::other;
  const bool proc = system.f_type == PROC_SUPER_MAGIC;
  if (!proc && system.f_type != SYSFS_MAGIC) return what::other;
  scratch room(PATH_MAX);
  if (room.bytes() == nullptr) return what::machines;  // its name is not to be had: better safe
  auto* const path = reinterpret_cast<char*>(room.bytes());
  const long len = raw::call(SYS_readlinkat, AT_FDCWD, raw::arg(fd_path(fd).c_str()),
                             raw::arg(path), PATH_MAX - 1);
  if (len <= 0) return what::machines;
  path[len] = 0;
  const char* const setting = proc ? std::strstr(path, "/sys/net/") : nullptr;
  if (setting != nullptr) {
    const char* const below = setting + std::strlen("/sys/net/");
    if (std::strlen(below) + settings_len >= sizeof name) return what::machines;
    std::memcpy(name, settings_folder, settings_len);
    std::memcpy(name + settings_len, below, std::strlen(below) + 1);
    return what::settings;
  }
  // Its names are no host's to change (sethostname(2)).
  const bool names = proc && (std::strstr(path, "/sys/kernel/hostname") != nullptr ||
                              std::strstr(path, "/sys/kernel/domainname") != nullptr);
  return names || std::strstr(path, "/net/") != nullptr ? what::machines : what::other;
}

/// A file in memory with what the host's file holds, or -errno.
int content_of(const char* name, int flags) {
  scratch part(dropin::max_data);
  if (part.bytes() == nullptr) return -ENOMEM;
  const unsigned cloexec = (flags & O_CLOEXEC) != 0 ? MFD_CLOEXEC : 0;
  const int fd = static_cast<int>(raw::call(SYS_memfd_create, raw::arg("lab file"),
                                            static_cast<long>(cloexec | MFD_ALLOW_SEALING)));
  if (fd < 0) return fd;
  own_caller c(-1);
  long have = 0;
  for (int whole = 1; have < whole;) {
    std::size_t len = dropin::max_data;
    whole = ask_for(c, -1, request_kind::read_file, static_cast<s32>(have), 0, 0, name,
                    std::strlen(name), part.bytes(), &len);
    if (whole < 0 || (len == 0 && have < whole)) {
      raw::close(fd);
      return whole < 0 ? whole : -EIO;
    }
    raw::call(SYS_pwrite64, fd, raw::arg(part.bytes()), static_cast<long>(len), have);
    have += static_cast<long>(len);
  }
  raw::fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK);
  return fd;
}

/// What is done with a file that is opened for writing.
enum class purpose { use, only_ask };

int channel_to(const char* name, int flags, purpose why) {
  iovec piece{const_cast<char*>(name), std::strlen(name)};
  exchange x;
  x.kind = request_kind::open_file;
  x.arg[0] = flags;
  x.data = &piece;
  x.data_pieces = 1;
  x.cloexec = (flags & O_CLOEXEC) != 0;
  const int fd = ask_for_channel(x);
  if (fd >= 0 && why == purpose::use) some_written.store(true, std::memory_order_relaxed);
  return fd;
}

bool is_folder(int fd) {
  struct stat st {};
  return fd >= 0 && raw::fstat(fd, st) == 0 && S_ISDIR(st.st_mode);
}

/// Opens the host's file, under the number that the machine's has.
int open_lab_file(const char* name, int flags, int fd, purpose why) {
  if (is_folder(fd)) return fd;  // the machine's: what is opened in it is looked at again
  int made = writes(flags) ? channel_to(name, flags, why) : content_of(name, flags);
  if (made == -ENOENT && fd >= 0 && !writes(flags)) return fd;  // only the machine has it
  if (made == -ECONNRESET) made = -EIO;
  if (made < 0 || fd < 0) return made;
  const int put = raw::dup3(made, fd, flags & O_CLOEXEC);
  raw::close(made);
  return put;
}

/// A path that may lead to procfs or sysfs. Who reads by a link from elsewhere sees the machine's.
bool worth_a_look(const char* path, int flags) {
  return writes(flags) || path[0] != '/' || begins_with(path, "/proc") || begins_with(path, "/sys");
}

/// The machine refuses to open its file for writing, as it should: perhaps it is the host's.
int look_at_refused(int dir, const char* path, int flags, int error, purpose why) {
  char name[longest_name];
  const int fd = static_cast<int>(
      raw::call(SYS_openat, dir, raw::arg(path), O_PATH | O_CLOEXEC | (flags & O_NOFOLLOW)));
  if (fd < 0) return error;
  const bool ours = look_at(fd, name) == what::settings && !is_folder(fd);
  raw::close(fd);
  return ours ? open_lab_file(name, flags, -1, why) : error;
}

/// Whether the kernel, which gave this error, has read the path: others it gives for the flags.
bool path_was_read(int error) {
  return error == -ENOENT || error == -EACCES || error == -EROFS || error == -ENOTDIR ||
         error == -EISDIR;
}

int opened(int dir, const char* path, int flags, int fd, purpose why) {
  if ((flags & O_PATH) != 0 || (fd < 0 && ((flags & O_DIRECTORY) != 0 || !path_was_read(fd)))) {
    return fd;
  }
  char name[longest_name];
  if (named_lab_file(path, flags, name)) return open_lab_file(name, flags, fd, why);
  if (!worth_a_look(path, flags)) return fd;
  if (writes(flags) && (fd == -EROFS || fd == -EACCES)) {
    return look_at_refused(dir, path, flags, fd, why);
  }
  if (fd < 0) return fd;
  switch (look_at(fd, name)) {
    case what::settings: return open_lab_file(name, flags, fd, why);
    case what::machines: return writes(flags) ? -EROFS : fd;
    case what::other: return fd;
  }
  return fd;
}

}  // namespace

int mend_open(int dir, const char* path, int flags, int fd) {
  return opened(dir, path, flags, fd, purpose::use);
}

int mend_access(int dir, const char* path, int mode, int flags, int result) {
  if (result == 0 || (mode & X_OK) != 0 || !path_was_read(result)) return result;
  const int way = (mode & W_OK) == 0 ? O_RDONLY : (mode & R_OK) == 0 ? O_WRONLY : O_RDWR;
  const int link = (flags & AT_SYMLINK_NOFOLLOW) != 0 ? O_NOFOLLOW : 0;
  const int fd = opened(dir, path, way | link | O_CLOEXEC, result, purpose::only_ask);
  if (fd < 0) return fd == -EPERM ? -EACCES : result;
  raw::close(fd);
  return 0;
}

bool lab_files_written() { return some_written.load(std::memory_order_relaxed); }

int lab_file_error(int fd) {
  sockaddr_un own;
  socklen_t len = 0;
  if (!is_asked_channel(fd, own, len)) return 0;
  own_caller c(fd);
  const int error = ask_for(c, -1, request_kind::file_error, 0, 0, 0, &own, len, nullptr, nullptr);
  return error == -EBADF ? 0 : error;  // the daemon knows no such file
}

namespace {

/// A program that was started with its output into such a file has its errors told, too.
[[gnu::constructor]] void look_at_output() {
  sockaddr_un own;
  socklen_t len = 0;
  if (config().active && is_asked_channel(1, own, len)) {
    some_written.store(true, std::memory_order_relaxed);
  }
}

}  // namespace

}  // namespace ph::shim
