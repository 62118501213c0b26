// When the datagrams came that wait for a program: what SO_TIMESTAMP, SO_TIMESTAMPNS and
// SO_TIMESTAMPING tell of each, and SIOCGSTAMP of the one read last.
//
// A tag (datagram_tags.h) of a socket that was ever asked for time stamps has two items that no
// program sees: when its datagram came, from which the shim makes the forms that the program wants,
// and when the one before came, which is the answer to SIOCGSTAMP while this one waits unread.
#pragma once

#include <optional>
#include <vector>

#include "daemon/host_sockets.h"

namespace ph::dropin {

/// A wall-clock time, as struct timespec.
struct time_stamp {
  s64 sec = 0, nsec = 0;
};

class datagram_stamps {
 public:
  /// True for the options that say which stamps a program is told.
  [[nodiscard]] static bool covers(int level, int name);
  /// True for SIOCGSTAMP and its relatives.
  [[nodiscard]] static bool asks(u32 command);
  /// The forms that the socket's options ask for, as bits of a choice (daemon/received_choice.h).
  static u32 choice(host_sockets& host, int s);

  /// From now on tags have stamps. What came before is as old as what the host's socket was read of
  /// last.
  void start(host_sockets& host, int s);
  [[nodiscard]] bool on() const { return on_; }

  /// The items of a datagram that was just received from the host's socket, and came at that time
  /// (zero: unknown).
  std::vector<u8> items_of_received(host_sockets& host, int s, instant came);
  /// SIOCGSTAMP (or in nanoseconds) while a datagram with these items is the next to be read, or
  /// nothing when none waits: of that which was read last while no SO_TIMESTAMP was set. Errors:
  /// noent (there was none).
  [[nodiscard]] result<time_stamp> last_read(std::optional<byte_view> next) const;

 private:
  bool on_ = false;
  std::optional<time_stamp> last_;    ///< SIOCGSTAMP's, of what was received so far
  std::optional<time_stamp> before_;  ///< the same when tags began to have stamps
};

}  // namespace ph::dropin
