// The interfaces of the program's host, asked of the daemon.
#pragma once

#include "calls/caller.h"
#include "calls/scratch.h"
#include "daemon/protocol.h"

namespace ph::calls {

/// The records of all of them, beside the stack: that of a thread or a signal handler may be small.
class interface_list {
 public:
  /// Asks for them, once. 0, or -errno.
  int read(caller& c);
  [[nodiscard]] std::size_t size() const { return count_; }
  const dropin::interface_record& operator[](std::size_t i) const { return begin()[i]; }
  [[nodiscard]] const dropin::interface_record* begin() const {
    return reinterpret_cast<const dropin::interface_record*>(memory_.bytes());
  }
  [[nodiscard]] const dropin::interface_record* end() const { return begin() + count_; }

 private:
  scratch memory_;
  std::size_t count_ = 0;
};

/// SIOCGIFCONF: fills `room` bytes with struct ifreq; with room 0 tells how much is needed. Returns
/// the bytes used, or -errno.
long fill_interface_list(caller& c, u64 out, int room);

}  // namespace ph::calls
