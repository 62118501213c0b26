// Epochs. Retiring takes the next epoch; a reader that began later cannot have seen the object.
//
// Why begin() reads the epoch twice: the writer swaps the pointer, advances the epoch, then looks
// at `seen`. If it misses a reader's store to `seen`, that store comes later in the single order
// of the sequentially consistent operations, hence so does the reader's second load of the epoch,
// which therefore reads the advanced one and with it synchronises with the swap.
#include "kernel/rcu.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace ph {

rcu_domain::rcu_domain(u32 cpus, inline_fn<void(), 16> on_retire,
                       inline_fn<void(cpu_id), 16> on_grace)
    : readers_(cpus), on_retire_(on_retire), on_grace_(on_grace) {}

rcu_domain::~rcu_domain() {
  for (bool again = true; again;) {  // a destructor may retire more
    again = false;
    for (reader& r : readers_) {
      again = again || !r.garbage.empty();
      free_up_to(r, idle);
    }
  }
}

void rcu_domain::retire(deleter fn, cpu_id home) {
  reader& r = readers_[home.value];
  r.garbage.push_back({epoch_.fetch_add(1) + 1, fn});
  if (std::exchange(r.untried, true)) return;
  if (on_retire_) on_retire_();
}

void rcu_domain::begin(cpu_id id) {
  std::atomic<u64>& seen = readers_[id.value].seen;
  ph_debug_check(seen.load(std::memory_order_relaxed) == idle);
  seen.store(epoch_.load(std::memory_order_relaxed));
  static_cast<void>(epoch_.load());
}

u64 rcu_domain::oldest_reader() const {
  u64 oldest = idle;
  for (const reader& r : readers_) oldest = std::min(oldest, r.seen.load());
  return oldest;
}

void rcu_domain::free_up_to(reader& r, u64 epoch) {
  const auto keep = std::find_if(r.garbage.begin(), r.garbage.end(),
                                 [epoch](const retired& g) { return g.epoch > epoch; });
  std::vector<retired> dying(r.garbage.begin(), keep);
  r.garbage.erase(r.garbage.begin(), keep);
  r.untried = false;
  for (const retired& g : dying) g.fn();
}

void rcu_domain::quiescent(cpu_id id) {
  reader& self = readers_[id.value];
  self.seen.store(idle);
  if (!self.garbage.empty()) {
    if (self.waits.exchange(idle) != idle) waiting_.fetch_sub(1);
    free_up_to(self, oldest_reader());
    if (!self.garbage.empty() && !self.untried) {
      // Somebody may end his run between our look and this note: look once more after it.
      waiting_.fetch_add(1);
      self.waits.store(self.garbage.front().epoch);
      if (oldest_reader() >= self.garbage.front().epoch) self.untried = true;
    }
  }
  if (waiting_.load() == 0) return;
  const u64 oldest = oldest_reader();
  for (u32 i = 0; i < readers_.size(); ++i) {
    u64 waits = readers_[i].waits.load();
    if (i == id.value || waits == idle || waits > oldest) continue;
    // One of the cpus that end together tells it, not all of them.
    if (!readers_[i].waits.compare_exchange_strong(waits, idle)) continue;
    waiting_.fetch_sub(1);
    if (on_grace_) on_grace_(cpu_id(i));
  }
}

std::size_t rcu_domain::pending() const {
  std::size_t out = 0;
  for (const reader& r : readers_) out += r.garbage.size();
  return out;
}

}  // namespace ph
