// How many packets ended early on a cpu, by reason. What a reason is, net/core/drop_reason.h knows;
// here it is a place in memory. Only reasons that occurred take room.
#pragma once

#include <utility>
#include <vector>

#include "base/byteorder.h"

namespace ph {

class drop_reason_info;

class drop_counts {
 public:
  void add(const drop_reason_info& why, u64 packets = 1) {
    for (entry& e : seen_) {
      if (e.why != &why) continue;
      e.packets += packets;
      // A flood has one reason: the next packet of it finds it first.
      return std::swap(e, seen_.front());
    }
    seen_.push_back({&why, packets});
  }
  [[nodiscard]] u64 get(const drop_reason_info& why) const {
    for (const entry& e : seen_) {
      if (e.why == &why) return e.packets;
    }
    return 0;
  }
  /// f(reason, packets) for each that occurred, in no order that means anything.
  template <class F>
  void for_each(F&& f) const {
    for (const entry& e : seen_) f(*e.why, e.packets);
  }

 private:
  struct entry {
    const drop_reason_info* why;
    u64 packets;
  };
  std::vector<entry> seen_;
};

}  // namespace ph
