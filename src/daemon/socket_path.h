// Where a lab's control socket lies, and who may listen there. One lab per path; the default path
// is private to the user, so two users never meet and one user's `ph` finds the lab by itself.
#pragma once

#include <string>
#include <string_view>
#include <tl/expected.hpp>

#include "base/byteorder.h"
#include "platform/unique_fd.h"

namespace ph {

/// The environment variable that names the lab's control socket when there is no --socket;
/// `ph run` sets it, so that `ph` inside a program of a lab finds the same lab.
inline constexpr const char* lab_socket_variable = "PH_LAB";

/// What the folder of a lab that `ph run` started begins with, in /tmp.
inline constexpr std::string_view run_folder_prefix = "posthaste-run-";

/// A folder of this user alone (mode 0700), made when it is not there: posthaste under
/// $XDG_RUNTIME_DIR, else /tmp/posthaste-UID. The first is passed over when `fits` refuses its
/// path. Errors: a sentence for the user.
tl::expected<std::string, std::string> private_run_folder(
    bool (*fits)(const std::string& path) = nullptr);

/// A file of this user beside a control socket, made when it is not there (mode 0600), open for
/// reading and writing. Others may be able to write in its folder: what lies there already must be
/// a plain file of this user with one name, and nothing is followed or waited for. Errors: a
/// sentence for the user.
tl::expected<unique_fd, std::string> open_own_file(const std::string& path, int more_flags = 0);

/// The control socket's path: `option` if given, else $PH_LAB, else posthaste/lab.sock under
/// $XDG_RUNTIME_DIR, else /tmp/posthaste-UID/lab.sock. Makes the default's folder (mode 0700) and
/// refuses one that others could write. Errors: a sentence for the user.
tl::expected<std::string, std::string> lab_socket_path(const std::string& option);

/// The listening end of a control socket. Holds a lock beside the path, so that what a crashed
/// daemon left behind is replaced, and a living one never is.
class control_listener {
 public:
  /// Listens at `path` (mode 0600). Errors: a sentence for the user, e.g. a lab runs there.
  static tl::expected<control_listener, std::string> listen(const std::string& path);
  control_listener(control_listener&&) = default;
  control_listener& operator=(control_listener&&) = delete;
  /// Removes the socket and the lock, unless somebody has put other files in their place.
  ~control_listener();

  /// The listening socket: AF_UNIX, SOCK_STREAM, non-blocking, close-on-exec.
  [[nodiscard]] int fd() const { return socket_.get(); }
  [[nodiscard]] const std::string& path() const { return path_; }
  /// Readable when the socket's file may have been removed; -1 when the system watches no more
  /// files.
  [[nodiscard]] int watch_fd() const { return watch_.get(); }
  /// Takes what watch_fd() reports. True when the path no longer leads here: nobody can find the
  /// lab, not even to end it.
  bool lost();
  /// Listens at the path again, on another fd(), and makes the private run folder again if that
  /// has gone (a session's end removes it). False when that cannot be done now, as when another
  /// lab runs there by now.
  bool listen_again();

 private:
  control_listener(std::string path, unique_fd socket, unique_fd lock);
  void watch();

  std::string path_;
  unique_fd socket_;
  unique_fd lock_;
  unique_fd watch_;
  u64 inode_ = 0;  // of the path
};

}  // namespace ph
