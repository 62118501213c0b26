// The processes of a lab as the operating system knows them: found at the lab's end, so that no
// program is left behind with sockets that are dead. There is no table of them while the lab runs.
#pragma once

#include <sys/types.h>

#include <functional>
#include <string>
#include <vector>

#include "base/time.h"
#include "platform/unique_fd.h"

namespace ph {

struct lab_process {
  pid_t pid = 0;
  std::string name;  ///< as ps(1) shows it
  unique_fd pidfd;   ///< the process itself: numbers are used again
};

/// The living processes whose environment leads to the daemon at `address` (PH_SOCKET), those of
/// `peers` (who hold a channel, and may have overwritten their environment), and the descendants
/// of both; never the calling process. Only those that this user may signal.
std::vector<lab_process> find_lab_processes(const std::string& address,
                                            const std::vector<pid_t>& peers);

/// Sends SIGTERM to all, and SIGKILL to those that still live after `grace`. `wait(fd)` is called
/// to pass the time: it returns when `fd` is readable, at the latest.
void end_lab_processes(std::vector<lab_process>& all, duration grace,
                       const std::function<void(int fd)>& wait);

}  // namespace ph
