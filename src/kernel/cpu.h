// The execution context that is passed to everything as `cx`: frozen time, randomness, timers,
// what to poll, and the mailbox. cpu::run is the whole scheduler.
#pragma once

#include <string_view>

#include "base/rng.h"
#include "base/strong.h"
#include "kernel/drop_counts.h"
#include "kernel/mailbox.h"
#include "kernel/packet_memory.h"
#include "kernel/poll_source.h"
#include "kernel/timer_wheel.h"
#include "kernel/trace.h"

namespace ph {

class kernel;

class cpu {
 public:
  cpu(kernel& machine, cpu_id id, u64 seed, packet_memory& memory, tracer& trace);
  cpu(const cpu&) = delete;
  cpu& operator=(const cpu&) = delete;
  ~cpu();

  /// The time frozen at the start of this run or call.
  [[nodiscard]] instant now() const { return now_; }
  [[nodiscard]] kernel& machine() const { return machine_; }
  [[nodiscard]] cpu_id id() const { return id_; }
  [[nodiscard]] rng& random() { return random_; }
  [[nodiscard]] timer_wheel& timers() { return timers_; }
  [[nodiscard]] packet_memory& memory() { return memory_; }
  [[nodiscard]] mailbox& mail() { return mail_; }
  [[nodiscard]] tracer& trace() { return trace_; }

  /// Puts a source on the poll list (once).
  void schedule(poll_source& source);
  /// Sets the frozen time before a call from outside. Time never goes back.
  void enter(instant now);
  /// Mail, due timers, poll sources with budgets, until nothing is ready or a bounded number of
  /// rounds is over (then has_work() stays true).
  void run(instant now);
  /// Something to poll, mail, or retired objects to free.
  [[nodiscard]] bool has_work() const;
  /// When run() is next needed; `now` if there is work, `never` if only an event can wake it.
  [[nodiscard]] instant next_deadline() const;

  /// True now and then in simulations that ask for rare branches; false in production.
  bool sometimes(std::string_view name);

  drop_counts drops;  ///< packets dropped on this cpu, by reason

 private:
  kernel& machine_;
  cpu_id id_;
  instant now_{0};
  rng random_;
  packet_memory& memory_;
  tracer& trace_;
  timer_wheel timers_;
  mailbox mail_;
  intrusive_list<poll_source, poll_tag> poll_list_;
};

}  // namespace ph
