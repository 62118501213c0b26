// The wheel's buckets: where a timer lies, and what comes up when time moves on. The idea of
// hierarchical wheels is Varghese and Lauck's (SOSP 1987); exact order comes from sorting the few
// timers that are due together.
#include "kernel/timer_wheel.h"

#include <algorithm>
#include <bit>

namespace ph {

timer::~timer() {
  if (wheel_ != nullptr) wheel_->cancel(*this);
}

timer_wheel::~timer_wheel() {
  const auto forget = [](timer_list& timers) {
    while (!timers.empty()) {
      timers.front().wheel_ = nullptr;
      timers.pop_front();
    }
  };
  forget(due_);
  for (auto& l : levels_) {
    if (l == nullptr) continue;
    for (bucket& b : *l) forget(b.timers);
  }
}

/// Puts t where its deadline, seen from the wheel's position, belongs.
void timer_wheel::put(timer& t) {
  const u64 tick = std::max(tick_of(t.deadline_), position_);
  const u64 differing = tick ^ position_;
  const u32 k =
      differing == 0 ? 0 : (static_cast<u32>(std::bit_width(differing)) - 1) / slot_bits;
  const u32 slot = static_cast<u32>(tick >> (k * slot_bits)) % slot_count;
  if (levels_[k] == nullptr) levels_[k] = std::make_unique<level>();
  bucket& b = (*levels_[k])[slot];
  b.timers.push_back(t);
  b.earliest = std::min(b.earliest, t.deadline_);
  occupied_[k] |= u64{1} << slot;
  occupied_levels_ |= 1u << k;
  t.place_ = static_cast<u16>(k * slot_count + slot);
}

void timer_wheel::emptied(u16 place) {
  const u32 k = place / slot_count;
  bucket_at(place).earliest = never;
  occupied_[k] &= ~(u64{1} << (place % slot_count));
  if (occupied_[k] == 0) occupied_levels_ &= ~(1u << k);
}

void timer_wheel::take(timer& t) {
  t.unlink();
  if (t.place_ != due_place && bucket_at(t.place_).timers.empty()) emptied(t.place_);
}

void timer_wheel::arm(timer& t, instant deadline) {
  t.arm_number_ = next_arm_number_++;
  if (t.wheel_ != nullptr) {
    ph_check(t.wheel_ == this);
    t.deadline_ = deadline;
    // Lazy: its bucket comes up early enough, and then it moves.
    if (t.place_ != due_place && deadline >= bucket_at(t.place_).earliest) return;
    take(t);
  } else {
    t.wheel_ = this;
    t.deadline_ = deadline;
    ++size_;
  }
  const bool earlier = deadline < next_deadline();
  put(t);
  if (earlier && on_earlier_) on_earlier_(deadline);
}

void timer_wheel::cancel(timer& t) {
  if (t.wheel_ == nullptr) return;
  ph_check(t.wheel_ == this);
  take(t);
  t.wheel_ = nullptr;
  --size_;
}

/// Empties every bucket that begins at or before tick `to`. On the levels whose higher digits
/// change, that is all of them; on the first level whose higher digits stay, those up to `to`'s
/// own digit; the levels above are not reached.
void timer_wheel::collect(u64 to, instant now, timer_list& out) {
  for (u32 k = 0; k < level_count; ++k) {
    const u32 shift = k * slot_bits;
    const bool last = (to >> shift) >> slot_bits == (position_ >> shift) >> slot_bits;
    const u32 digit = static_cast<u32>(to >> shift) % slot_count;
    u64 reached = occupied_[k] & (last ? ~u64{0} >> (slot_count - 1 - digit) : ~u64{0});
    for (; reached != 0; reached &= reached - 1) {
      const u32 slot = static_cast<u32>(std::countr_zero(reached));
      const u16 place = static_cast<u16>(k * slot_count + slot);
      bucket& b = bucket_at(place);
      if (k == 0 && last && slot == digit && b.earliest > now) continue;  // stays as it is
      out.splice(out.end(), b.timers);
      emptied(place);
    }
    if (last) return;
  }
}

int timer_wheel::fire_due(cpu& cx, instant now) {
  ph_check(due_.empty());  // not from inside a callback
  const u64 to = std::max(position_, tick_of(now));
  timer_list found;
  collect(to, now, found);
  position_ = to;
  while (!found.empty()) {
    timer& t = found.front();
    found.pop_front();
    if (t.deadline_ <= now) {
      t.place_ = due_place;
      due_.push_back(t);
    } else {
      put(t);
    }
  }
  due_.sort(timer_order{});
  int fired = 0;
  while (!due_.empty()) {
    timer& t = due_.front();
    due_.pop_front();
    t.wheel_ = nullptr;
    --size_;
    const timer::callback fn = t.fn_;  // the owner may die in the call
    fn(cx);
    ++fired;
  }
  return fired;
}

instant timer_wheel::next_deadline() const {
  if (!due_.empty()) return due_.front().deadline_;
  if (occupied_levels_ == 0) return never;
  const u32 k = static_cast<u32>(std::countr_zero(occupied_levels_));
  return (*levels_[k])[static_cast<u32>(std::countr_zero(occupied_[k]))].earliest;
}

std::size_t timer_wheel::heap_bytes() const {
  const auto used = std::count_if(levels_.begin(), levels_.end(),
                                  [](const auto& l) { return l != nullptr; });
  return static_cast<std::size_t>(used) * sizeof(level);
}

}  // namespace ph
