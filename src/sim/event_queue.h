// The order of everything in a world: events by (time, the order of scheduling). Holds the virtual
// clock; knows nothing of hosts or links.
#pragma once

#include "base/inline_fn.h"
#include "base/intrusive.h"
#include "base/time.h"

namespace ph::sim {

/// Something that will happen once, unless cancelled. Leaves the queue by itself when destroyed.
class event : public tree_hook<struct event_tag> {
 public:
  using action = inline_fn<void(), 16>;
  explicit event(action what) : what_(what) {}
  event(const event&) = delete;
  event& operator=(const event&) = delete;
  [[nodiscard]] bool scheduled() const { return is_linked(); }
  [[nodiscard]] instant when() const { return when_; }

 private:
  friend class event_queue;
  struct earlier {
    bool operator()(const event& a, const event& b) const {
      return a.when_ != b.when_ ? a.when_ < b.when_ : a.sequence_ < b.sequence_;
    }
  };
  action what_;
  instant when_{};
  u64 sequence_ = 0;
};

class event_queue {
 public:
  event_queue() = default;
  event_queue(const event_queue&) = delete;
  event_queue& operator=(const event_queue&) = delete;

  /// The virtual time: that of the event that runs or ran last, or what advance_to set.
  [[nodiscard]] instant now() const { return now_; }
  /// Puts an event at `when` (now at the earliest), behind what is there already. An event that is
  /// scheduled moves; at its present time it keeps its place.
  void schedule(event& e, instant when);
  void cancel(event& e);
  [[nodiscard]] instant next_deadline() const;
  /// Runs the first event if it is due at `limit` or before; false when there is none.
  bool run_one(instant limit);
  /// Moves the clock forward over a time in which nothing is scheduled.
  void advance_to(instant when);
  /// Events run so far.
  [[nodiscard]] u64 events_run() const { return events_run_; }

 private:
  intrusive_multiset<event, event::earlier, event_tag> events_;
  instant now_{};
  u64 last_sequence_ = 0;
  u64 events_run_ = 0;
};

}  // namespace ph::sim
