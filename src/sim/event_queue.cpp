// The queue as one balanced tree.
#include "sim/event_queue.h"

#include <algorithm>

namespace ph::sim {

void event_queue::schedule(event& e, instant when) {
  when = std::max(when, now_);
  if (e.is_linked()) {
    if (e.when_ == when) return;
    e.unlink();
  }
  e.when_ = when;
  e.sequence_ = ++last_sequence_;
  events_.insert(e);
}

void event_queue::cancel(event& e) {
  if (e.is_linked()) e.unlink();
}

instant event_queue::next_deadline() const {
  return events_.empty() ? never : events_.begin()->when_;
}

bool event_queue::run_one(instant limit) {
  if (events_.empty() || events_.begin()->when_ > limit) return false;
  event& first = *events_.begin();
  first.unlink();
  now_ = first.when_;
  ++events_run_;
  first.what_();
  return true;
}

void event_queue::advance_to(instant when) {
  ph_check(next_deadline() >= when);
  now_ = std::max(now_, when);
}

}  // namespace ph::sim
