// Two forks: the first leaves the caller's session, the second gives the daemon away to init. By a
// pair of sockets it tells the caller that the lab is up, or why not; a caller that ends without an
// answer has told nobody, and the lab ends. One that is stopped answers when it goes on.
#include "cli/background.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <utility>

#include "cli/verb.h"
#include "daemon/socket_path.h"
#include "platform/detached_thread.h"
#include "platform/unique_fd.h"

namespace ph::cli {
namespace {

constexpr std::string_view up_message = "up\n";
constexpr std::string_view heard_message = "heard\n";
constexpr int end_patience_ms = 10'000;

/// False when nobody is there to read it.
bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = ::send(fd, text.data(), text.size(), MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

/// What the other side says until it closes, or has said `last`; cut off when `stop` is readable.
std::string hear(int fd, std::string_view last, int stop) {
  std::string text;
  std::array<char, 4096> buffer;
  while (text != last) {
    std::array<pollfd, 2> watched{{{fd, POLLIN, 0}, {stop, POLLIN, 0}}};
    const int ready = ::poll(watched.data(), watched.size(), -1);
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0 || watched[1].revents != 0) break;
    const ssize_t n = ::read(fd, buffer.data(), buffer.size());
    if (n <= 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(n));
  }
  return text;
}

/// False when the other side, which says nothing any more, has not closed within a while.
bool closes(int fd) {
  pollfd watched{fd, POLLRDHUP, 0};
  int ready = 0;
  do {
    ready = ::poll(&watched, 1, end_patience_ms);
  } while (ready < 0 && errno == EINTR);
  return ready > 0;
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

/// Tells the caller that the lab is up. When it ends without having heard that, `forsaken` becomes
/// readable, and `report` stays open: who waits for the lab's end sees this one's. The lab serves
/// meanwhile, and must leave `report` alone.
void tell_ready(const std::shared_ptr<unique_fd>& report, int forsaken) {
  write_all(report->get(), up_message);
  const auto wait = [report, forsaken] {
    if (hear(report->get(), heard_message, -1) == heard_message) {
      report->reset();
    } else {
      ::eventfd_write(forsaken, 1);
    }
  };
  if (!start_detached(wait)) wait();
}

struct background {
  const lab& what;
  serve_options options;
  std::string log;
  std::string folder;  // removed at the end; may be empty
};

[[noreturn]] void run_daemon(background& b, unique_fd to_caller) {
  const auto report = std::make_shared<unique_fd>(std::move(to_caller));
  // What was there before is the user's, or tells of a lab that died: it stays.
  const bool fresh = ::access(b.log.c_str(), F_OK) != 0;
  if (const auto redirected = redirect(b.log); !redirected) {
    write_all(report->get(), redirected.error());
    std::_Exit(1);
  }
  const unique_fd forsaken(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (b.options.until_readable < 0) b.options.until_readable = forsaken.get();
  bool ready = false;
  b.options.on_ready = [&] {
    ready = true;
    tell_ready(report, forsaken.get());
  };
  // A log that tells of no fault goes with the lab.
  b.options.on_end = [&b, fresh] {
    if (fresh) ::unlink(b.log.c_str());
  };
  const auto served = serve(b.what, b.options);
  if (!served && !ready) {
    write_all(report->get(), served.error());
    if (fresh) ::unlink(b.log.c_str());
  } else if (!served) {
    say(served.error());
  }
  std::error_code ignored;
  if (!b.folder.empty()) std::filesystem::remove_all(b.folder, ignored);
  std::_Exit(served ? 0 : 1);
}

/// Cut off, with the lab ended, when `stop` is readable.
tl::expected<void, std::string> start(background b, int stop) {
  std::array<int, 2> ends{};
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    return tl::unexpected(fmt::format("cannot make a pair of sockets: {}", std::strerror(errno)));
  }
  const unique_fd listener(ends[0]);
  unique_fd report(ends[1]);
  const pid_t first = ::fork();
  if (first < 0) return tl::unexpected(fmt::format("cannot fork: {}", std::strerror(errno)));
  if (first == 0) {
    ::close(ends[0]);  // so that the daemon sees its end
    ::setsid();
    const pid_t second = ::fork();
    if (second == 0) run_daemon(b, std::move(report));
    std::_Exit(second < 0 ? 1 : 0);
  }
  report.reset();
  while (::waitpid(first, nullptr, 0) < 0 && errno == EINTR) {}
  const std::string said = hear(listener.get(), up_message, stop);
  if (said == up_message) {
    if (write_all(listener.get(), heard_message)) return {};
    return tl::unexpected(std::string("the lab has ended again"));
  }
  if (pollfd interrupted{stop, POLLIN, 0}; ::poll(&interrupted, 1, 0) == 1) {
    ::shutdown(listener.get(), SHUT_WR);
    return tl::unexpected(std::string(closes(listener.get())
                                          ? "interrupted: the lab has ended again"
                                          : "interrupted: the lab ends as soon as it has started"));
  }
  return tl::unexpected(said.empty() ? fmt::format("the lab's daemon ended at once; see {}", b.log)
                                     : said);
}

}  // namespace

tl::expected<void, std::string> serve_in_background(const lab& what, serve_options options,
                                                    const std::string& log, int stop) {
  return start({what, std::move(options), log, ""}, stop);
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
  const auto up = start({loopback_lab("localhost"), options, folder + "/log", folder}, -1);
  if (!up) return tl::unexpected(up.error());
  return options.socket_path;
}

}  // namespace ph::cli
