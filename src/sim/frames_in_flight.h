// The frames that are under way in one direction of a wire, by the time of their arrival. One more
// costs the logarithm of their number, wherever it comes in. Not: when they arrive (link).
#pragma once

#include "base/intrusive.h"
#include "net/core/skbuff.h"

namespace ph::sim {

/// Owns them; the arrival is in tstamp. purge() it before it dies, as a skb_queue.
class frames_in_flight {
 public:
  frames_in_flight() = default;
  frames_in_flight(const frames_in_flight&) = delete;
  frames_in_flight& operator=(const frames_in_flight&) = delete;
  ~frames_in_flight() {
    while (!empty()) static_cast<void>(pop_first());
  }
  [[nodiscard]] bool empty() const { return frames_.empty(); }
  [[nodiscard]] std::size_t size() const { return count_; }
  /// When the first of them arrives; `never` when there is none.
  [[nodiscard]] instant next_arrival() const {
    return frames_.empty() ? never : frames_.begin()->tstamp;
  }
  /// Behind those that arrive at the same time.
  void insert(skb_ptr skb) {
    frames_.insert(frames_.end(), *skb.release());
    ++count_;
  }
  skb_ptr pop_first() {
    if (frames_.empty()) return {};
    sk_buff& first = *frames_.begin();
    frames_.erase(frames_.begin());
    --count_;
    return skb_ptr(&first);
  }
  void purge(cpu& cx, skb_drop_reason why) {
    while (!empty()) drop(cx, pop_first(), why);
  }

 private:
  struct earlier {
    bool operator()(const sk_buff& a, const sk_buff& b) const { return a.tstamp < b.tstamp; }
  };
  intrusive_multiset<sk_buff, earlier, skb_tree_tag> frames_;
  std::size_t count_ = 0;
};

}  // namespace ph::sim
