// The timer queue: an intrusive tree ordered by (queued time, arm number).
#include "kernel/timer_wheel.h"

namespace ph {

timer::~timer() {
  if (wheel_ != nullptr) wheel_->cancel(*this);
}

timer_wheel::~timer_wheel() {
  while (!queue_.empty()) unlink(*queue_.begin());
}

void timer_wheel::enqueue(timer& t) {
  t.queued_ = t.deadline_;
  t.arm_number_ = next_arm_number_++;
  const bool earliest = queue_.empty() || t.queued_ < queue_.begin()->queued_;
  queue_.insert(t);
  if (earliest && on_earlier_) on_earlier_(t.queued_);
}

void timer_wheel::unlink(timer& t) {
  queue_.erase(queue_.iterator_to(t));
  t.wheel_ = nullptr;
  --size_;
}

void timer_wheel::arm(timer& t, instant deadline) {
  if (t.wheel_ != nullptr) {
    ph_check(t.wheel_ == this);
    t.deadline_ = deadline;
    if (deadline >= t.queued_) return;  // lazy: moved when its old place comes up
    queue_.erase(queue_.iterator_to(t));
    enqueue(t);
    return;
  }
  t.wheel_ = this;
  t.deadline_ = deadline;
  ++size_;
  enqueue(t);
}

void timer_wheel::cancel(timer& t) {
  if (t.wheel_ == nullptr) return;
  ph_check(t.wheel_ == this);
  unlink(t);
}

int timer_wheel::fire_due(cpu& cx, instant now) {
  int fired = 0;
  while (!queue_.empty() && queue_.begin()->queued_ <= now) {
    timer& t = *queue_.begin();
    if (t.deadline_ > now) {
      queue_.erase(queue_.begin());
      enqueue(t);
      continue;
    }
    unlink(t);
    const timer::callback fn = t.fn_;  // the owner may die in the call
    fn(cx);
    ++fired;
  }
  return fired;
}

instant timer_wheel::next_deadline() const {
  return queue_.empty() ? never : queue_.begin()->queued_;
}

}  // namespace ph
