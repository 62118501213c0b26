// Read-copy-update for one kernel: tables that are read on every cpu and replaced now and then.
// A reader follows an rcu_ptr raw and keeps nothing beyond the cpu::run it is in; the old object
// is retired and dies once every cpu has ended the run in which it might have seen it
// (quiescent-state-based reclamation, McKenney et al., "User-level implementations of RCU").
//
// There is no helper thread, no lock and no waiting: the end of a cpu's run is its report, and
// what a cpu retired dies there too. With one thread that is the end of the very run (or of the
// next one, for what a call between runs retired), so the order is repeatable.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "base/inline_fn.h"
#include "base/strong.h"

namespace ph {

class rcu_domain {
 public:
  using deleter = inline_fn<void(), 32>;
  /// on_retire: told when a cpu has something to free at the end of its next run.
  /// on_grace(id): told, on the thread of another cpu, that cpu `id` can now free what it could
  /// not before and should run again; must be thread-safe.
  rcu_domain(u32 cpus, inline_fn<void(), 16> on_retire, inline_fn<void(cpu_id), 16> on_grace);
  rcu_domain(const rcu_domain&) = delete;
  rcu_domain& operator=(const rcu_domain&) = delete;
  /// Nobody reads any more: runs every deleter that is left.
  ~rcu_domain();

  /// Runs `fn` on cpu `home` after a grace period. Call it on the thread that runs `home` (control
  /// calls: the boot cpu), after the object is out of everybody's reach. `fn` only destroys.
  void retire(deleter fn, cpu_id home = cpu_id(0));
  template <class T>
  void retire(std::unique_ptr<T> object, cpu_id home = cpu_id(0)) {
    retire([raw = object.release()] { const std::unique_ptr<T> dies(raw); }, home);
  }

  /// A cpu's run begins: from here it may hold what rcu_ptr::read gave it.
  void begin(cpu_id id);
  /// A cpu's run ends: it holds nothing. Runs what it retired if no other cpu can see it.
  void quiescent(cpu_id id);
  /// True while the cpu has retired objects that it has not yet tried to free.
  [[nodiscard]] bool has_work(cpu_id id) const { return readers_[id.value].untried; }
  /// Retired objects that are still alive, on all cpus. Call while no cpu runs.
  [[nodiscard]] std::size_t pending() const;

 private:
  struct retired {
    u64 epoch;
    deleter fn;
  };
  struct alignas(64) reader {
    std::atomic<u64> seen{idle};     ///< the epoch at the start of its run
    std::atomic<u64> waits{idle};    ///< the oldest epoch of what it could not free yet
    std::vector<retired> garbage;    ///< oldest first; touched only by its own thread
    bool untried = false;
  };
  static constexpr u64 idle = ~u64{0};
  [[nodiscard]] u64 oldest_reader() const;
  void free_up_to(reader& r, u64 epoch);

  std::atomic<u64> epoch_{1};
  std::atomic<u32> waiting_{0};  ///< how many cpus have `waits` set
  std::vector<reader> readers_;
  inline_fn<void(), 16> on_retire_;
  inline_fn<void(cpu_id), 16> on_grace_;
};

/// An object that is read without locks and replaced as a whole. Owns the current version.
template <class T>
class rcu_ptr {
 public:
  rcu_ptr() = default;
  explicit rcu_ptr(std::unique_ptr<T> first) : object_(first.release()) {}
  rcu_ptr(const rcu_ptr&) = delete;
  rcu_ptr& operator=(const rcu_ptr&) = delete;
  ~rcu_ptr() { const std::unique_ptr<T> dies(object_.load(std::memory_order_relaxed)); }
  /// The current version or nullptr; valid until the end of this cpu::run.
  [[nodiscard]] T* read() const { return object_.load(std::memory_order_acquire); }
  /// Replaces the version; the old one is retired.
  void publish(rcu_domain& rcu, std::unique_ptr<T> next, cpu_id home = cpu_id(0)) {
    std::unique_ptr<T> old(object_.exchange(next.release(), std::memory_order_acq_rel));
    if (old != nullptr) rcu.retire(std::move(old), home);
  }

 private:
  std::atomic<T*> object_{nullptr};
};

}  // namespace ph
