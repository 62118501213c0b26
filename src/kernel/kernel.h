// One machine: CPUs, subsystem state, control lock, seed. There is no other state: no globals,
// no thread-locals, no static registries. It owns no thread and reads no clock.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/inline_fn.h"
#include "kernel/clock.h"
#include "kernel/cpu.h"
#include "kernel/rcu.h"
#include "kernel/rtnl.h"
#include "kernel/slots.h"

namespace ph {

struct kernel_config {
  std::string name = "host";
  u32 cpus = 1;
  u64 seed = 1;
  packet_memory* memory = nullptr;  ///< shared by kernels on a thread; must outlive them
  tracer* trace = nullptr;          ///< may be nullptr
  entropy* secrets = nullptr;       ///< nullptr: repeatable, from the seed
  double buggify = 0;               ///< chance that cpu::sometimes says yes (simulation only)
};

class kernel {
 public:
  explicit kernel(kernel_config config);
  kernel(const kernel&) = delete;
  kernel& operator=(const kernel&) = delete;
  ~kernel();

  [[nodiscard]] const std::string& name() const { return config_.name; }
  [[nodiscard]] u32 cpu_count() const { return static_cast<u32>(cpus_.size()); }
  [[nodiscard]] cpu& cpu_at(cpu_id id) { return *cpus_[id.value]; }
  /// The packets that ended early on all cpus.
  [[nodiscard]] drop_counts drops() const;
  /// The cpu for work that no flow has placed: configuration, new sockets.
  [[nodiscard]] cpu& boot_cpu() { return *cpus_.front(); }
  [[nodiscard]] ph::slots& slots() { return slots_; }
  [[nodiscard]] rtnl_lock& rtnl() { return rtnl_; }
  [[nodiscard]] rcu_domain& rcu() { return rcu_; }
  [[nodiscard]] packet_memory& memory() { return memory_; }
  [[nodiscard]] tracer& trace() { return trace_; }
  /// Fills `out` with unguessable bytes (repeatable ones in a simulation).
  void secret(byte_span out);
  /// A seed derived from the machine's own, by name.
  [[nodiscard]] rng fork_random(std::string_view label) const;

  /// Sets the time on every cpu before calls from outside (system calls).
  void enter(instant now);
  /// Runs every cpu at `now` until none has work, within bounds. Returns next_deadline().
  instant run(instant now);
  [[nodiscard]] instant next_deadline() const;
  /// For time stamps that programs see; they outlive it. A simulation has none: its programs see
  /// the machine's own time.
  void set_outer_clocks(outer_clocks& clocks) { clocks_ = &clocks; }
  /// The time to stamp something with that happens now: no earlier than what a program has seen.
  [[nodiscard]] instant stamp(instant own) const {
    return clocks_ != nullptr ? clocks_->now() : own;
  }
  [[nodiscard]] instant wall_clock(instant own) const {
    return clocks_ != nullptr ? own + duration{clocks_->wall_epoch().ns} : own;
  }
  /// Told (once per run) when the machine gets work or an earlier deadline from a call.
  void set_on_wake(inline_fn<void(), 16> fn) { on_wake_ = fn; }
  /// Told, on any thread, when a mailbox turns non-empty.
  void set_on_post(inline_fn<void(), 16> fn) { on_post_ = fn; }
  void wake();
  void wake_from_outside();

  /// See cpu::sometimes. Counts how often each place was reached and armed.
  bool buggify(cpu& cx, std::string_view name);
  struct sometimes_count {
    u64 reached = 0, armed = 0;
  };
  [[nodiscard]] const std::map<std::string, sometimes_count, std::less<>>& sometimes() const {
    return sometimes_;
  }

 private:
  kernel_config config_;
  packet_memory& memory_;
  std::unique_ptr<tracer> own_trace_;
  tracer& trace_;
  std::unique_ptr<entropy> own_entropy_;
  rng seed_;
  rtnl_lock rtnl_;
  outer_clocks* clocks_ = nullptr;
  inline_fn<void(), 16> on_wake_;
  inline_fn<void(), 16> on_post_;
  std::atomic<bool> woken_{false};  ///< cpus on threads of their own schedule work too
  std::map<std::string, sometimes_count, std::less<>> sometimes_;
  std::vector<std::unique_ptr<cpu>> cpus_;
  rcu_domain rcu_;   // after the cpus: what it frees may have timers on them
  ph::slots slots_;  // last: its objects hold timers and packets of the CPUs above
};

}  // namespace ph
