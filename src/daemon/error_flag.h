// A descriptor of a program's that shows POLLERR when the daemon says so, and nothing else.
//
// An AF_UNIX stream polls POLLERR only when its connection is broken, so a stream anchor cannot
// tell of its error queue. A datagram socket can be given an error from outside, again and again:
// its peer leaves it while a message waits for the peer. The program gets such a socket beside its
// anchor; what is to be done with it, the shim knows (shim/error_flags.h). When the daemon lets go
// of a flag, it says nothing: a program may still have it in an epoll set.
#pragma once

#include "base/result.h"
#include "daemon/datagram_end.h"
#include "platform/unique_fd.h"

namespace ph::dropin {

class error_flag {
 public:
  static constexpr std::size_t descriptors = 2;  ///< that one costs the daemon
  /// Errors: mfile and the like.
  static result<error_flag> create();
  error_flag(error_flag&&) = default;
  error_flag& operator=(error_flag&&) = delete;
  ~error_flag() { lower(); }
  /// A copy for the program.
  [[nodiscard]] result<unique_fd> copy() const;
  /// POLLERR from now on; who waits edge-triggered is woken again.
  void raise();
  void lower();

 private:
  error_flag() = default;
  unique_fd shown_, end_;  ///< what the program has; its peer
  unix_name name_;         ///< of shown_
  bool raised_ = false;
};

}  // namespace ph::dropin
