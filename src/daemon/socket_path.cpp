// The socket path's policy: private folders, one daemon a path, no leftovers in the way.
#include "daemon/socket_path.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

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

}  // namespace

tl::expected<std::string, std::string> lab_socket_path(const std::string& option) {
  const char* variable = std::getenv(lab_socket_variable);
  std::string path = option;
  if (path.empty() && variable != nullptr) path = variable;
  if (path.empty()) {
    const char* runtime = std::getenv("XDG_RUNTIME_DIR");
    const std::string folder = runtime != nullptr && is_directory(runtime)
                                   ? fmt::format("{}/posthaste", runtime)
                                   : fmt::format("/tmp/posthaste-{}", ::geteuid());
    if (const auto made = private_folder(folder); !made) return told(made.error());
    path = folder + "/lab.sock";
  }
  if (const auto fits = fits_a_socket(path); !fits) return told(fits.error());
  return path;
}

tl::expected<control_listener, std::string> control_listener::listen(const std::string& path) {
  if (const auto fits = fits_a_socket(path); !fits) return told(fits.error());
  const std::string lock_path = path + ".lock";
  unique_fd lock(::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!lock) return told(fmt::format("cannot write {}: {}", lock_path, std::strerror(errno)));
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
    return told(fmt::format(
        "a lab is already running at {}: stop it with `ph down`, or use another --socket", path));
  }
  struct stat st {};
  if (::lstat(path.c_str(), &st) == 0) {
    if (!S_ISSOCK(st.st_mode)) return told(fmt::format("{} exists and is no socket", path));
    ::unlink(path.c_str());  // no living daemon holds the lock: a crashed one's socket
  }
  unique_fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::copy(path.begin(), path.end(), address.sun_path);
  if (!socket ||
      ::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
      ::chmod(path.c_str(), 0600) != 0 || ::listen(socket.get(), 64) != 0) {
    return told(fmt::format("cannot listen at {}: {}", path, std::strerror(errno)));
  }
  return control_listener(path, std::move(socket), std::move(lock));
}

control_listener::~control_listener() {
  if (socket_) ::unlink(path_.c_str());
}

}  // namespace ph
