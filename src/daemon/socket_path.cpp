// The socket path's policy: private folders, one daemon a path, no leftovers in the way.
#include "daemon/socket_path.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "daemon/obituary.h"

namespace ph {
namespace {

using told = tl::unexpected<std::string>;

bool is_directory(const char* path) {
  struct stat st {};
  return ::stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/// Makes a folder that only this user can enter, or checks that the present one is such.
tl::expected<void, std::string> private_folder(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return told(fmt::format("cannot make the folder {}: {}", path, std::strerror(errno)));
  }
  struct stat st {};
  if (::lstat(path.c_str(), &st) != 0 || !S_ISDIR(st.st_mode) || st.st_uid != ::geteuid() ||
      (st.st_mode & 077) != 0) {
    return told(fmt::format("{} is not a folder of this user alone; use --socket PATH", path));
  }
  return {};
}

tl::expected<void, std::string> fits_a_socket(const std::string& path) {
  if (path.size() < sizeof(sockaddr_un::sun_path)) return {};
  return told(fmt::format("{} is too long for a socket ({} characters at most)", path,
                          sizeof(sockaddr_un::sun_path) - 1));
}

/// The inode at a path, links not followed; 0 when there is none.
u64 inode_of(const std::string& path) {
  struct stat st {};
  return ::lstat(path.c_str(), &st) == 0 ? st.st_ino : 0;
}

sockaddr_un address_of(const std::string& path) {
  sockaddr_un out{};
  out.sun_family = AF_UNIX;
  std::copy(path.begin(), path.end(), out.sun_path);
  return out;
}

/// False when nobody listens at the path, or only on behalf of a process that is dead.
bool lab_lives(const std::string& path) {
  const sockaddr_un address = address_of(path);
  const unique_fd s(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (::connect(s.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return errno != ENOENT && errno != ECONNREFUSED;
  }
  ucred who{};
  socklen_t len = sizeof who;
  if (::getsockopt(s.get(), SOL_SOCKET, SO_PEERCRED, &who, &len) != 0 || who.pid == 0) return true;
  const unique_fd process(static_cast<int>(::syscall(SYS_pidfd_open, who.pid, 0)));
  if (!process) return errno != ESRCH;
  pollfd ended{process.get(), POLLIN, 0};
  return ::poll(&ended, 1, 0) == 0;
}

std::string lock_path_of(const std::string& path) { return path + ".lock"; }

/// True while the lock of a control socket's path lies beside it.
bool has_its_name(const unique_fd& lock, const std::string& path) {
  struct stat st {};
  return ::fstat(lock.get(), &st) == 0 && st.st_ino == inode_of(lock_path_of(path));
}

/// Turns of 10 ms: a crashed daemon's last process holds the lock for a moment.
constexpr int patience = 100;
constexpr int without_patience = 0;

/// The lock beside a control socket. Who ends a lab removes it, so it counts only while it has its
/// name.
tl::expected<unique_fd, std::string> take_lock(const std::string& path, int most = patience) {
  for (int tries = 0;; ++tries) {
    auto lock = open_own_file(lock_path_of(path));
    if (!lock) return told(lock.error());
    if (::flock(lock->get(), LOCK_EX | LOCK_NB) != 0) {
      if (tries < most && !lab_lives(path)) {
        ::usleep(10'000);
        continue;
      }
      return told(
          fmt::format("a lab is already running at {}: stop it with `ph down`, or use "
                      "another --socket",
                      path));
    }
    if (has_its_name(*lock, path)) return lock;
  }
}

/// No living daemon holds the lock: a socket that lies there is a crashed one's.
tl::expected<void, std::string> remove_leftover(const std::string& path) {
  struct stat st {};
  if (::lstat(path.c_str(), &st) != 0) return {};
  if (!S_ISSOCK(st.st_mode)) return told(fmt::format("{} exists and is no socket", path));
  if (st.st_uid != ::geteuid()) {
    return told(fmt::format("{} belongs to another user; use another --socket", path));
  }
  ::unlink(path.c_str());
  return {};
}

/// A socket that listens at the path; the caller holds the lock.
tl::expected<unique_fd, std::string> bound_socket(const std::string& path) {
  if (const auto free = remove_leftover(path); !free) return told(free.error());
  end_obituary(path);
  unique_fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  const sockaddr_un address = address_of(path);
  // The mode is set before the name is there: in a shared folder the name may soon be another's.
  if (!socket || ::fchmod(socket.get(), 0600) != 0 ||
      ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(socket.get(), 64) != 0) {
    return told(fmt::format("cannot listen at {}: {}", path, std::strerror(errno)));
  }
  return socket;
}

/// A folder that private_run_folder() gives: another that has gone is its owner's to make again.
bool is_run_folder(const std::string& folder) {
  const std::string name = folder.substr(folder.rfind('/') + 1);
  return name == "posthaste" || name == fmt::format("posthaste-{}", ::geteuid());
}

}  // namespace

tl::expected<std::string, std::string> private_run_folder(bool (*fits)(const std::string& path)) {
  const char* runtime = std::getenv("XDG_RUNTIME_DIR");
  std::string folder = fmt::format("/tmp/posthaste-{}", ::geteuid());
  if (runtime != nullptr && *runtime == '/' && is_directory(runtime)) {
    const std::string theirs = fmt::format("{}/posthaste", runtime);
    if (fits == nullptr || fits(theirs)) folder = theirs;
  }
  if (const auto made = private_folder(folder); !made) return told(made.error());
  return folder;
}

tl::expected<unique_fd, std::string> open_own_file(const std::string& path, int more_flags) {
  // Without O_NONBLOCK a FIFO would keep us waiting.
  unique_fd file(
      ::open(path.c_str(),
             O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | more_flags, 0600));
  if (!file) {
    const char* why = errno == ELOOP ? "it is a symbolic link" : std::strerror(errno);
    return told(fmt::format("cannot write {}: {}", path, why));
  }
  struct stat st {};
  if (::fstat(file.get(), &st) != 0 || !S_ISREG(st.st_mode) || st.st_uid != ::geteuid() ||
      st.st_nlink > 1) {
    return told(fmt::format("{} is not a plain file of this user; use another --socket", path));
  }
  return file;
}

tl::expected<std::string, std::string> lab_socket_path(const std::string& option) {
  const char* variable = std::getenv(lab_socket_variable);
  std::string path = option;
  if (path.empty() && variable != nullptr) path = variable;
  if (path.empty()) {
    const auto folder = private_run_folder();
    if (!folder) return told(folder.error());
    path = *folder + "/lab.sock";
  }
  if (const auto fits = fits_a_socket(path); !fits) return told(fits.error());
  return path;
}

tl::expected<control_listener, std::string> control_listener::listen(const std::string& path) {
  if (const auto fits = fits_a_socket(path); !fits) return told(fits.error());
  auto lock = take_lock(path);
  if (!lock) return told(lock.error());
  auto socket = bound_socket(path);
  if (!socket) {
    ::unlink(lock_path_of(path).c_str());  // ours, and nobody's
    return told(socket.error());
  }
  return control_listener(path, std::move(*socket), std::move(*lock));
}

control_listener::control_listener(std::string path, unique_fd socket, unique_fd lock)
    : path_(std::move(path)),
      socket_(std::move(socket)),
      lock_(std::move(lock)),
      inode_(inode_of(path_)) {
  watch();
}

void control_listener::watch() {
  watch_.reset(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
  // The socket keeps its inode: that a name of it goes is a change of IN_ATTRIB.
  ::inotify_add_watch(watch_.get(), path_.c_str(), IN_ATTRIB | IN_MOVE_SELF | IN_DELETE_SELF);
}

bool control_listener::lost() {
  std::array<char, 4096> events;
  while (::read(watch_.get(), events.data(), events.size()) > 0) {}
  return inode_of(path_) != inode_;
}

bool control_listener::listen_again() {
  const std::string folder = path_.substr(0, path_.rfind('/'));
  if (is_run_folder(folder) && !private_folder(folder)) return false;
  if (!has_its_name(lock_, path_)) {
    auto lock = take_lock(path_, without_patience);
    if (!lock) return false;
    lock_ = std::move(*lock);
  }
  auto socket = bound_socket(path_);
  if (!socket) return false;
  socket_ = std::move(*socket);
  inode_ = inode_of(path_);
  watch();
  return true;
}

control_listener::~control_listener() {
  if (!socket_) return;
  if (inode_of(path_) == inode_) ::unlink(path_.c_str());
  if (has_its_name(lock_, path_)) ::unlink(lock_path_of(path_).c_str());
}

}  // namespace ph
