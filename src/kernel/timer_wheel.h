// Timers of one cpu, fired in the order of (deadline, arm number). Re-arming to a later time is
// lazy: the timer stays where it lies and moves when its old place comes up.
#pragma once

#include "base/inline_fn.h"
#include "base/intrusive.h"
#include "base/time.h"

namespace ph {

class cpu;
class timer_wheel;

/// A node inside its owner. The callback runs on the cpu whose wheel it was armed on; it may arm
/// the timer again and may destroy the owner. Destruction disarms.
class timer : public tree_hook<struct timer_tag> {
 public:
  using callback = inline_fn<void(cpu&), 16>;
  timer() = default;
  explicit timer(callback fn) : fn_(fn) {}
  timer(const timer&) = delete;
  timer& operator=(const timer&) = delete;
  ~timer();
  void set_callback(callback fn) { fn_ = fn; }
  [[nodiscard]] bool armed() const { return wheel_ != nullptr; }
  /// When it will fire; `never` when not armed.
  [[nodiscard]] instant deadline() const { return armed() ? deadline_ : never; }

 private:
  friend class timer_wheel;
  friend struct timer_order;
  callback fn_;
  timer_wheel* wheel_ = nullptr;
  instant deadline_ = never;  ///< wanted
  instant queued_ = never;    ///< where it lies in the queue (<= deadline_)
  u64 arm_number_ = 0;
};

struct timer_order {
  bool operator()(const timer& a, const timer& b) const {
    return a.queued_ != b.queued_ ? a.queued_ < b.queued_ : a.arm_number_ < b.arm_number_;
  }
};

class timer_wheel {
 public:
  timer_wheel() = default;
  timer_wheel(const timer_wheel&) = delete;
  timer_wheel& operator=(const timer_wheel&) = delete;
  ~timer_wheel();
  /// Arms or re-arms; a deadline in the past fires at the next run. on_earlier (if set) is told
  /// when the next deadline moves earlier.
  void arm(timer& t, instant deadline);
  void cancel(timer& t);
  /// Fires all timers due at `now`, in order. Returns how many callbacks ran.
  int fire_due(cpu& cx, instant now);
  /// A lower bound of the next deadline, `never` when there is none.
  [[nodiscard]] instant next_deadline() const;
  void set_on_earlier(inline_fn<void(instant), 16> fn) { on_earlier_ = fn; }
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  void enqueue(timer& t);
  void unlink(timer& t);
  intrusive_set<timer, timer_order, timer_tag> queue_;
  u64 next_arm_number_ = 0;
  std::size_t size_ = 0;
  inline_fn<void(instant), 16> on_earlier_;
};

}  // namespace ph
