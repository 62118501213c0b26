// Reads the end of the log: the crash handler's line (crash.cpp) says that the daemon died, the
// last failed check before it says of what.
#include "daemon/obituary.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <string_view>

#include "platform/unique_fd.h"

namespace ph {
namespace {

constexpr std::size_t longest_end = std::size_t{64} * 1024;  // of a log that is read
constexpr std::string_view check_line = "posthaste: check failed: ";
constexpr std::string_view crash_line = "posthaste: this is a bug: the daemon dies of ";
constexpr std::string_view beginning_line = "posthaste: another lab begins\n";

/// The end of a regular file that is the user's own, or root's.
std::string end_of(const std::string& path) {
  const unique_fd file(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat st {};
  if (!file || ::fstat(file.get(), &st) != 0 || !S_ISREG(st.st_mode) ||
      (st.st_uid != ::geteuid() && st.st_uid != 0)) {
    return {};
  }
  const auto size = static_cast<std::size_t>(st.st_size);
  std::string out(std::min(size, longest_end), '\0');
  const ssize_t n =
      ::pread(file.get(), out.data(), out.size(), static_cast<off_t>(size - out.size()));
  out.resize(n < 0 ? 0 : static_cast<std::size_t>(n));
  return out;
}

/// The rest of the line that begins at `at`, without what a terminal would obey.
std::string line_at(std::string_view text, std::size_t at) {
  std::string out(text.substr(at, text.find('\n', at) - at));
  std::replace_if(
      out.begin(), out.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return out;
}

std::string cause_in(std::string_view log) {
  const std::size_t beginning = log.rfind(beginning_line);
  if (beginning != std::string_view::npos) log.remove_prefix(beginning);
  const std::size_t crash = log.rfind(crash_line);
  if (crash == std::string_view::npos) return {};
  const std::size_t check = log.substr(0, crash).rfind(check_line);
  // The check that killed it stands right before.
  if (check != std::string_view::npos && log.find('\n', check) + 1 == crash) {
    return line_at(log, check + std::string_view("posthaste: ").size());
  }
  const std::string signal = line_at(log, crash + crash_line.size());
  return signal.substr(0, signal.find(';'));
}

}  // namespace

std::string log_path(const std::string& socket_path) { return socket_path + ".log"; }

std::string obituary(const std::string& socket_path) {
  const std::string path = log_path(socket_path);
  const std::string log = end_of(path);
  if (log.empty()) return {};
  const std::string cause = cause_in(log);
  return cause.empty() ? fmt::format("; its log: {}", path)
                       : fmt::format("; it died of a bug: {}; its log: {}", cause, path);
}

void end_obituary(const std::string& socket_path) {
  const unique_fd file(::open(log_path(socket_path).c_str(), O_WRONLY | O_APPEND | O_NOFOLLOW |
                                                                 O_NONBLOCK | O_NOCTTY |
                                                                 O_CLOEXEC));
  struct stat st {};
  const bool told = file && ::fstat(file.get(), &st) == 0 && S_ISREG(st.st_mode) &&
                    st.st_uid == ::geteuid() && st.st_nlink == 1 && st.st_size > 0;
  if (told) static_cast<void>(!::write(file.get(), beginning_line.data(), beginning_line.size()));
}

}  // namespace ph
