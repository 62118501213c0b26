// Who wants to know when an object becomes ready. A wake callback only marks something as
// runnable; it must not call back into the stack.
#pragma once

#include "base/inline_fn.h"
#include "base/intrusive.h"

namespace ph {

/// One waiter. Leaves the queue by itself when destroyed.
class wait_entry : public list_hook<struct wait_tag> {
 public:
  using callback = inline_fn<void(u32 events), 16>;
  wait_entry() = default;
  explicit wait_entry(callback fn) : fn_(fn) {}
  wait_entry(const wait_entry&) = delete;
  wait_entry& operator=(const wait_entry&) = delete;
  void set_callback(callback fn) { fn_ = fn; }
  void wake(u32 events) {
    if (fn_) fn_(events);
  }
  [[nodiscard]] bool waiting() const { return is_linked(); }

 private:
  callback fn_;
};

class wait_queue {
 public:
  void add(wait_entry& entry) {
    if (!entry.is_linked()) entries_.push_back(entry);
  }
  /// Exclusive waiters are told after the others and one after the other, until one calls
  /// claim() in its callback: it takes the event for itself and goes to the end of the line.
  void add_exclusive(wait_entry& entry) {
    if (!entry.is_linked()) exclusive_.push_back(entry);
  }
  void claim() { claimed_ = true; }
  void remove(wait_entry& entry) {
    if (entry.is_linked()) entry.unlink();
  }
  /// Tells all waiters, in the order they came, that `events` (poll(2) bits) may be ready.
  void wake(u32 events) {
    claimed_ = false;
    tell(entries_, events, false);
    if (!exclusive_.empty()) tell(exclusive_, events, true);
  }
  [[nodiscard]] bool empty() const { return entries_.empty() && exclusive_.empty(); }

 private:
  using entry_list = intrusive_list<wait_entry, wait_tag>;
  void tell(entry_list& list, u32 events, bool one) {
    entry_list round;
    round.splice(round.end(), list);
    while (!round.empty() && !(one && claimed_)) {
      wait_entry& entry = round.front();
      round.pop_front();
      list.push_back(entry);
      entry.wake(events);
    }
    list.splice(list.begin(), round);
  }
  entry_list entries_;
  entry_list exclusive_;
  bool claimed_ = false;
};

}  // namespace ph
