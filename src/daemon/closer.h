// Closes descriptors that programs passed, in a process of its own, because a close may wait: for
// SO_LINGER of a TCP socket, for the server of a FUSE file, for whatever else is behind one.
#pragma once

#include <sys/types.h>

#include <vector>

#include "platform/unique_fd.h"

namespace ph {

class closer {
 public:
  closer() = default;
  closer(const closer&) = delete;
  closer& operator=(const closer&) = delete;
  ~closer();

  /// Starts the process now instead of at the first close(), and waits until it has closed its
  /// copies of our descriptors.
  void start();
  /// Gives the descriptor away; never blocks. When the process hangs with more to close than it can
  /// be told, it is killed (an exiting process does not linger) and a new one started; when that
  /// does not help either, the descriptor stays open. Where no process can be had, closes here.
  void close(unique_fd fd);

 private:
  bool send(int fd);
  void replace();
  void reap();

  unique_fd to_;  ///< socket to the process
  pid_t process_ = -1;
  std::vector<pid_t> killed_;    ///< not ended yet
  std::vector<unique_fd> kept_;  ///< nobody could close them
};

}  // namespace ph
