// How many descriptors may be on their way to programs. The kernel bounds that for each ordinary
// user (RLIMIT_NOFILE; ETOOMANYREFS), over all processes of that user: a daemon that used it up by
// tags of datagrams that nobody reads (datagram_tags.h) would leave programs none for their
// requests, as those pass a descriptor as well.
#pragma once

#include <chrono>
#include <map>

#include "net/core/sock.h"

namespace ph::dropin {

class in_flight_budget {
 public:
  /// A quarter of what this user may have; everything for root. One tag is always granted to each
  /// queue, so that whoever reads gets on: a socket costs the daemon two descriptors of its own, so
  /// these are less than half of what it may have.
  in_flight_budget();
  explicit in_flight_budget(u32 most) : most_(most) {}

  enum class grant {
    given,
    anchor_full,  ///< a sixteenth of all wait at this anchor: when its program reads there is room
    all_used,     ///< then too, or after a time: nothing tells when others have read
  };
  /// A place for one more tag in `queue`, of whose tags it knows by the memory that they take.
  grant take(const handed_on& queue);
  /// It was not sent after all.
  void give_back(const handed_on& queue);
  /// The queue ends.
  void forget(const handed_on& queue);

 private:
  using clock = std::chrono::steady_clock;
  /// Tags that programs have read by now are on their way no more.
  void recount(const handed_on& queue, u32& taken);
  void recount_all();

  u32 most_;
  u32 total_ = 0;
  std::map<const handed_on*, u32> taken_;  ///< by queue: at most so many wait there
  clock::time_point recounted_{};
};

}  // namespace ph::dropin
