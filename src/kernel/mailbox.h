// The only way across CPUs: calls posted to another cpu, run by it at the start of its next run.
//
// The box is not bounded: a poster may not wait (it may be the one the reader waits for), and a
// control call may not be lost. Who posts in bulk bounds himself: packets count against the
// queue limits of their receiver before they are posted. Room once taken is kept for the next
// burst. A call owns nothing: what was posted and never drained when the box dies is forgotten,
// so a call that carries an object must leave it findable elsewhere.
#pragma once

#include <atomic>
#include <mutex>
#include <vector>

#include "base/inline_fn.h"

namespace ph {

class cpu;

/// Many writers, one reader (the owning cpu). Thread-safe. Calls of one writer run in the order
/// they were posted.
class mailbox {
 public:
  using call = inline_fn<void(cpu&), 48>;
  /// Posts a call. `on_post` runs on the poster's thread when the box was empty.
  void post(call fn);
  /// Runs everything posted so far; returns how many calls ran. What these calls post to this
  /// box waits for the next drain. Not from inside a call.
  int drain(cpu& cx);
  [[nodiscard]] bool empty() const { return count_.load(std::memory_order_acquire) == 0; }
  /// Told when the box turns from empty to not; must be thread-safe. Set before use.
  void set_on_post(inline_fn<void(), 16> fn) { on_post_ = fn; }

 private:
  std::mutex lock_;
  std::vector<call> calls_;
  std::vector<call> draining_;
  std::atomic<std::size_t> count_{0};
  inline_fn<void(), 16> on_post_;
};

}  // namespace ph
