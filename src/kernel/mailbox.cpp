// A locked vector that the reader swaps out whole.
#include "kernel/mailbox.h"

namespace ph {

void mailbox::post(call fn) {
  bool was_empty = false;
  {
    const std::lock_guard guard(lock_);
    was_empty = calls_.empty();
    calls_.push_back(fn);
    count_.store(calls_.size(), std::memory_order_release);
  }
  if (was_empty && on_post_) on_post_();
}

int mailbox::drain(cpu& cx) {
  if (empty()) return 0;
  {
    const std::lock_guard guard(lock_);
    draining_.swap(calls_);
    count_.store(0, std::memory_order_release);
  }
  const int ran = static_cast<int>(draining_.size());
  for (const call& fn : draining_) fn(cx);
  draining_.clear();
  return ran;
}

}  // namespace ph
