// Closes descriptors that programs passed, on threads of its own, because a close may wait: for
// SO_LINGER of a TCP socket, for the server of a FUSE or NFS file, for whatever else is behind one.
//
// A FUSE file waits at every close(2), not only at the last: so nothing but these threads, which
// share the table of descriptors, may close what was passed. (Another process would need a copy,
// and the daemon would have to close its own.) The kernel frees the number before it waits.
#pragma once

#include <memory>

#include "platform/unique_fd.h"

namespace ph {

class closer {
 public:
  closer();
  closer(const closer&) = delete;
  closer& operator=(const closer&) = delete;
  /// Waits a little until everything is closed; threads that hang then are left behind.
  ~closer();

  /// Gives the descriptor away; never blocks. One thread closes them all, and another one starts
  /// when those that there are wait. When all that may be started wait, the descriptor stays open
  /// until one goes on. Where no thread can be had, closes here.
  void close(unique_fd fd);

 private:
  struct work;
  static void close_for_ever(const std::shared_ptr<work>& w);

  std::shared_ptr<work> work_;  ///< shared with the threads, which may outlive this
};

}  // namespace ph
