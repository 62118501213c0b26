// Two forks: the first leaves the caller's session, the second gives the daemon away to init. A
// pipe tells the caller that the lab is up, or why not.
#include "cli/background.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "cli/verb.h"
#include "daemon/socket_path.h"
#include "platform/unique_fd.h"

namespace ph::cli {
namespace {

constexpr std::string_view up_message = "up";

void write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::write(fd, text.data(), text.size());
    if (n <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(n));
  }
}

/// Everything until the other side closes.
std::string read_all(int fd) {
  std::string text;
  std::array<char, 4096> buffer;
  for (;;) {
    const ssize_t n = ::read(fd, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return text;
    text.append(buffer.data(), static_cast<std::size_t>(n));
  }
}

/// Standard input from nowhere, output and errors to the log. Errors: a sentence for the user.
tl::expected<void, std::string> redirect(const std::string& log) {
  const auto out = open_own_file(log, O_APPEND);
  if (!out) return tl::unexpected(out.error());
  const unique_fd nowhere(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (nowhere && ::dup2(nowhere.get(), 0) == 0 && ::dup2(out->get(), 1) == 1 &&
      ::dup2(out->get(), 2) == 2) {
    return {};
  }
  return tl::unexpected(fmt::format("cannot write {}: {}", log, std::strerror(errno)));
}

struct background {
  const lab& what;
  serve_options options;
  std::string log;
  std::string folder;  // removed at the end; may be empty
};

[[noreturn]] void run_daemon(background& b, unique_fd report) {
  // What was there before is the user's, or tells of a lab that died: it stays.
  const bool fresh = ::access(b.log.c_str(), F_OK) != 0;
  if (const auto redirected = redirect(b.log); !redirected) {
    write_all(report.get(), redirected.error());
    std::_Exit(1);
  }
  b.options.on_ready = [&report] {
    write_all(report.get(), up_message);
    report.reset();
  };
  // A log that tells of no fault goes with the lab.
  b.options.on_end = [&b, fresh] {
    if (fresh) ::unlink(b.log.c_str());
  };
  const auto served = serve(b.what, b.options);
  if (!served && report) {
    write_all(report.get(), served.error());
    if (fresh) ::unlink(b.log.c_str());
  } else if (!served) {
    say(served.error());
  }
  std::error_code ignored;
  if (!b.folder.empty()) std::filesystem::remove_all(b.folder, ignored);
  std::_Exit(served ? 0 : 1);
}

tl::expected<void, std::string> start(background b) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    return tl::unexpected(fmt::format("cannot make a pipe: {}", std::strerror(errno)));
  }
  const unique_fd listener(ends[0]);
  unique_fd report(ends[1]);
  const pid_t first = ::fork();
  if (first < 0) return tl::unexpected(fmt::format("cannot fork: {}", std::strerror(errno)));
  if (first == 0) {
    ::setsid();
    const pid_t second = ::fork();
    if (second == 0) run_daemon(b, std::move(report));
    std::_Exit(second < 0 ? 1 : 0);
  }
  report.reset();
  while (::waitpid(first, nullptr, 0) < 0 && errno == EINTR) {}
  const std::string said = read_all(listener.get());
  if (said == up_message) return {};
  return tl::unexpected(said.empty() ? fmt::format("the lab's daemon ended at once; see {}", b.log)
                                     : said);
}

}  // namespace

tl::expected<void, std::string> serve_in_background(const lab& what, serve_options options,
                                                    const std::string& log) {
  return start({what, std::move(options), log, ""});
}

tl::expected<std::string, std::string> serve_this_process() {
  std::string folder = fmt::format("/tmp/{}XXXXXX", run_folder_prefix);
  if (::mkdtemp(folder.data()) == nullptr) {
    const int error = errno;
    const auto private_folder = private_run_folder();
    folder = private_folder ? *private_folder + "/run-XXXXXX" : "";
    if (folder.empty() || ::mkdtemp(folder.data()) == nullptr) {
      return tl::unexpected(fmt::format("cannot make a folder in /tmp: {}", std::strerror(error)));
    }
  }
  const unique_fd self(static_cast<int>(::syscall(SYS_pidfd_open, ::getpid(), 0)));
  if (!self) return tl::unexpected(fmt::format("pidfd_open: {}", std::strerror(errno)));
  serve_options options;
  options.socket_path = folder + "/lab.sock";
  options.until_readable = self.get();
  options.end_programs = false;  // what the program left running does not end with it
  const auto up = start({loopback_lab("localhost"), options, folder + "/log", folder});
  if (!up) return tl::unexpected(up.error());
  return options.socket_path;
}

}  // namespace ph::cli
