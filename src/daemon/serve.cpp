// serve(): signals, limits and what happens to a process that becomes a daemon.
#include "daemon/serve.h"

#include <fmt/format.h>
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <new>
#include <string_view>

#include "daemon/crash.h"
#include "daemon/server.h"
#include "platform/memory_limit.h"
#include "platform/unique_fd.h"

namespace ph {
namespace {

/// While it lives, signals that mean "end" are read from fd(), broken pipes and files that grow too
/// large are errors of calls.
class signal_desk {
 public:
  signal_desk() {
    sigset_t set;
    ::sigemptyset(&set);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::sigaddset(&set, signal);
    fd_.reset(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
    for (const int signal : {SIGPIPE, SIGXFSZ}) ::sigaddset(&set, signal);
    ::pthread_sigmask(SIG_BLOCK, &set, &before_);
  }
  signal_desk(const signal_desk&) = delete;
  signal_desk& operator=(const signal_desk&) = delete;
  /// Those that came are taken: the caller ends in its own way, not by a signal.
  ~signal_desk() {
    take();
    sigset_t errors;
    ::sigemptyset(&errors);
    for (const int signal : {SIGPIPE, SIGXFSZ}) ::sigaddset(&errors, signal);
    const timespec at_once{};
    while (::sigtimedwait(&errors, nullptr, &at_once) > 0) {}
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  [[nodiscard]] int fd() const { return fd_.get(); }
  /// Takes those that came; later ones are news.
  void take() const {
    signalfd_siginfo info{};
    while (::read(fd_.get(), &info, sizeof info) == sizeof info) {}
  }

 private:
  unique_fd fd_;
  sigset_t before_{};
};

constexpr rlim_t descriptors_needed = 64;      ///< the daemon's own, and some sockets
constexpr rlim_t file_bytes_needed = 1 << 16;  ///< of what comes with a datagram, and of the log

/// Raises a limit as far as it goes. What is too low even then is told in words here, before it is
/// missed somewhere.
tl::expected<void, std::string> raise_limit(decltype(RLIMIT_NOFILE) which, rlim_t needed,
                                            std::string_view name) {
  rlimit limit{};
  if (::getrlimit(which, &limit) != 0) return {};
  if (limit.rlim_max < needed) {
    return tl::unexpected(
        fmt::format("{} is limited to {} here; a lab needs {}", name, limit.rlim_max, needed));
  }
  if (limit.rlim_cur == limit.rlim_max) return {};
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(which, &limit);
  return {};
}

/// Each socket of a program costs the daemon two descriptors.
tl::expected<void, std::string> raise_limits() {
  const auto files =
      raise_limit(RLIMIT_NOFILE, descriptors_needed, "the number of open files (ulimit -n)");
  if (!files) return files;
  return raise_limit(RLIMIT_FSIZE, file_bytes_needed, "the size of files (ulimit -f), in bytes,");
}

/// After the lab's turns: no program stays behind without a word.
void end_programs(server& s, const signal_desk& signals, const serve_options& options) {
  std::vector<lab_process> all = s.lab_processes();
  if (all.empty()) return;
  signals.take();
  const auto wait = [&s](int fd) { s.run_until(fd); };
  const bool ends = s.ends_programs();
  if (ends) end_lab_processes(all, options.grace, wait);
  for (int round = 0; ends && round < 3; ++round) {  // those that were started meanwhile
    std::vector<lab_process> late = s.lab_processes();
    if (late.empty()) break;
    end_lab_processes(late, milliseconds(100), wait);
  }
  if (options.on_programs) options.on_programs(all);
}

}  // namespace

tl::expected<void, std::string> serve(const lab& what, const serve_options& options) {
  if (::access("/proc/self/fd", X_OK) != 0) {
    return tl::unexpected(std::string(
        "no /proc is mounted here, and a lab needs it to see when programs close their sockets"));
  }
  install_crash_handler();
  if (auto enough = raise_limits(); !enough) return enough;
  respect_group_memory_limit();
  ::mallopt(M_ARENA_MAX, 1);  // a thread's own arena would be 64 MiB of address space
  const signal_desk signals;
  try {
    auto started = server::start(what, options, signals.fd());
    if (!started) return tl::unexpected(started.error());
    (*started)->run();
    end_programs(**started, signals, options);
    started->reset();
    if (options.on_end) options.on_end();
    return {};
  } catch (const std::bad_alloc&) {
    return tl::unexpected(std::string("out of memory"));
  } catch (const std::exception& error) {
    return tl::unexpected(fmt::format("the lab broke: {}", error.what()));
  }
}

}  // namespace ph
