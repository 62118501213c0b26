// Everybody may put anything into /tmp: only folders of this user count, and of what is in them
// only names that our daemons give.
#include "daemon/leftovers.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/anchor.h"
#include "daemon/shim_copies.h"
#include "daemon/socket_path.h"
#include "platform/unique_fd.h"

namespace ph {
namespace {

constexpr time_t start_patience_s = 600;  ///< from making a folder to having locked what is in it
constexpr time_t log_patience_s = 24 * 3600;

/// A folder of this user alone, opened; empty when it is something else.
unique_fd open_own_folder(int parent, const char* name) {
  unique_fd folder(::openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  struct stat st {};
  if (!folder || ::fstat(folder.get(), &st) != 0 || st.st_uid != ::geteuid()) return {};
  return folder;
}

/// True when it lies there and has not changed for so long.
bool older_than(int folder, const char* name, time_t seconds) {
  struct stat st {};
  return ::fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
         ::time(nullptr) - st.st_mtime > seconds;
}

bool has_text(int folder, const char* name) {
  struct stat st {};
  return ::fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_size != 0;
}

/// Nobody holds the lock. It is held until `lock` goes.
bool is_free(const unique_fd& lock) { return lock && ::flock(lock.get(), LOCK_EX | LOCK_NB) == 0; }

void sweep_run_folder(int parent, const char* name) {
  const unique_fd folder = open_own_folder(parent, name);
  if (!folder) return;
  const unique_fd lock(
      ::openat(folder.get(), "lab.sock.lock", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  // Who is about to start has made the folder, or in it the file that it is about to lock.
  if (!older_than(parent, name, start_patience_s) || (lock && !is_free(lock))) return;
  if (has_text(folder.get(), "log") && !older_than(folder.get(), "log", log_patience_s)) return;
  for (const char* const file : {"lab.sock", "log", "lab.sock.lock"}) {
    ::unlinkat(folder.get(), file, 0);
  }
  ::unlinkat(parent, name, AT_REMOVEDIR);
}

/// A daemon that dies while it makes an anchor leaves the anchor's name.
void sweep_anchor_folder(int parent, const char* name) {
  const unique_fd folder = open_own_folder(parent, name);
  if (!is_free(folder)) return;
  const std::unique_ptr<DIR, int (*)(DIR*)> all(
      ::fdopendir(::fcntl(folder.get(), F_DUPFD_CLOEXEC, 0)), ::closedir);
  if (!all) return;
  while (const dirent* entry = ::readdir(all.get())) {
    struct stat st {};
    const bool found = ::fstatat(folder.get(), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0;
    if (found && S_ISSOCK(st.st_mode)) ::unlinkat(folder.get(), entry->d_name, 0);
  }
  ::unlinkat(parent, name, AT_REMOVEDIR);  // it is empty, or stays
}

template <class Sweep>
void for_each_named(const std::string& parent, std::string_view prefix, Sweep sweep) {
  const std::unique_ptr<DIR, int (*)(DIR*)> all(::opendir(parent.c_str()), ::closedir);
  if (!all) return;
  while (const dirent* entry = ::readdir(all.get())) {
    if (std::string_view(entry->d_name).starts_with(prefix)) {
      sweep(::dirfd(all.get()), entry->d_name);
    }
  }
}

}  // namespace

void sweep_leftovers() {
  for (const std::string& parent : dropin::anchor_folder::parents()) {
    for_each_named(parent, dropin::anchor_folder::prefix, sweep_anchor_folder);
  }
  for_each_named("/tmp", run_folder_prefix, sweep_run_folder);
  sweep_shim_copies();
}

}  // namespace ph
