// The processes of a lab as the operating system knows them: found at the lab's end, so that no
// program is left behind with sockets that are dead. There is no table of them while the lab runs.
#pragma once

#include <sys/types.h>

#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/time.h"
#include "platform/unique_fd.h"

namespace ph {

struct listed_process;  ///< one of all those of the machine

struct lab_process {
  pid_t pid = 0;
  std::string name;  ///< as ps(1) shows it
  unique_fd pidfd;   ///< the process itself: numbers are used again
  /// It runs no more.
  [[nodiscard]] bool has_ended() const;
};

/// A process that the lab has heard of: it opened a channel, or became a program.
struct known_process {
  pid_t pid = 0;
  s64 heard = 0;       ///< when, by process_clock(): who has its number and is younger is another
  std::string before;  ///< what it ran by then (program_of), when it was no program of the lab yet
};

/// The clock by which the kernel says when a process began, in its ticks.
s64 process_clock();
/// The file that a process runs, as the kernel calls it; empty when that cannot be seen.
std::string program_of(pid_t pid);

/// Looks for the processes of a lab, several times at its end. Which it has found stay found as
/// long as they live; all others are asked again, as each may be becoming a program of the lab.
class lab_process_finder {
 public:
  /// `address`: the daemon's (PH_SOCKET).
  explicit lab_process_finder(std::string address) : address_(std::move(address)) {}
  /// The living processes of those that are `known`, those whose environment leads to the daemon
  /// and that have no_new_privs, as `ph run` gives it, and the descendants of both; never the
  /// calling process. An environment that lies in memory which may not come tells nothing.
  std::vector<lab_process> find(const std::vector<known_process>& known);

 private:
  void judge(const std::vector<listed_process>& all, const std::set<pid_t>& found);

  std::string address_;
  std::map<pid_t, s64> of_lab_;  ///< and when each began
};

/// Sends SIGTERM to all, and SIGKILL to those that still live after `grace`. `wait(fd)` is called
/// to pass the time: it returns when `fd` is readable, at the latest. Those that may not be
/// signalled are not waited for.
void end_lab_processes(std::vector<lab_process>& all, duration grace,
                       const std::function<void(int fd)>& wait);

/// Processes that have asked to become programs of a lab, and are expected to do so by exec.
class expected_programs {
 public:
  void add(pid_t pid);
  [[nodiscard]] std::vector<known_process> list() const;

 private:
  std::map<pid_t, known_process> all_;
  std::size_t look_again_ = 64;  ///< when there are so many, those that live no more are forgotten
};

}  // namespace ph
