// Timers of one cpu, fired in the order of (deadline, arm number). A hierarchical wheel: arming,
// re-arming and cancelling cost a list operation. Re-arming to a later time is lazy: the timer
// stays in its bucket and moves when that bucket comes up.
//
// Level k has 64 buckets of 2^(10+6k) ns each, so nine levels reach as far as an instant does.
// A timer lies on the level of the highest digit in which its deadline differs from the wheel's
// position; hence everything on level k is earlier than everything on level k+1, and nothing
// wraps around. A level takes memory when it is first used (1.5 KiB).
#pragma once

#include <array>
#include <memory>

#include "base/inline_fn.h"
#include "base/intrusive.h"
#include "base/time.h"

namespace ph {

class cpu;
class timer_wheel;

/// A node inside its owner. The callback runs on the cpu whose wheel it was armed on; it may arm
/// the timer again and may destroy the owner. Destruction disarms.
class timer : public list_hook<struct timer_tag> {
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
  instant deadline_ = never;
  u64 arm_number_ = 0;
  u16 place_ = 0;  ///< the bucket it lies in: level * 64 + slot, or timer_wheel::due_place
};

static_assert(sizeof(timer) <= 80);

struct timer_order {
  bool operator()(const timer& a, const timer& b) const {
    return a.deadline_ != b.deadline_ ? a.deadline_ < b.deadline_ : a.arm_number_ < b.arm_number_;
  }
};

class timer_wheel {
 public:
  timer_wheel() = default;
  timer_wheel(const timer_wheel&) = delete;
  timer_wheel& operator=(const timer_wheel&) = delete;
  ~timer_wheel();
  /// Arms or re-arms; each call takes the next arm number. A deadline in the past fires at the
  /// next fire_due. on_earlier (if set) is told when the next deadline moves earlier.
  void arm(timer& t, instant deadline);
  void cancel(timer& t);
  /// Fires all timers due at `now`, in order. What a callback arms, be it its own timer at or
  /// before `now`, waits for the next call. Returns how many callbacks ran.
  int fire_due(cpu& cx, instant now);
  /// A lower bound of the next deadline, `never` when there is none. It is exact until the timer
  /// that set it is cancelled or re-armed; fire_due at a bound that nothing meets moves it on.
  [[nodiscard]] instant next_deadline() const;
  void set_on_earlier(inline_fn<void(instant), 16> fn) { on_earlier_ = fn; }
  [[nodiscard]] std::size_t size() const { return size_; }
  /// Bytes on the heap, for the budget of an idle kernel.
  [[nodiscard]] std::size_t heap_bytes() const;

 private:
  using timer_list = intrusive_list<timer, timer_tag>;
  static constexpr u32 tick_bits = 10;  ///< a level-0 bucket spans 1,024 ns
  static constexpr u32 slot_bits = 6;
  static constexpr u32 slot_count = 1u << slot_bits;
  static constexpr u32 level_count = 9;
  static constexpr u16 due_place = level_count * slot_count;
  struct bucket {
    timer_list timers;
    instant earliest = never;  ///< no timer in here is due before
  };
  using level = std::array<bucket, slot_count>;

  static u64 tick_of(instant t) { return t.ns < 0 ? 0 : static_cast<u64>(t.ns) >> tick_bits; }
  bucket& bucket_at(u16 place) const {
    return (*levels_[place / slot_count])[place % slot_count];
  }
  void put(timer& t);
  void take(timer& t);
  void emptied(u16 place);
  void collect(u64 to, instant now, timer_list& out);

  std::array<std::unique_ptr<level>, level_count> levels_;
  std::array<u64, level_count> occupied_{};  ///< one bit per bucket with timers
  u32 occupied_levels_ = 0;
  u64 position_ = 0;  ///< the tick up to which buckets have been emptied
  timer_list due_;    ///< found by the running fire_due, not fired yet
  u64 next_arm_number_ = 0;
  std::size_t size_ = 0;
  inline_fn<void(instant), 16> on_earlier_;
};

}  // namespace ph
