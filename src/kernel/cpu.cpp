// The scheduler of one cpu: mail, timers, polling, and the report to RCU that nothing read in
// this run is held any more. Nothing here knows a packet.
#include "kernel/cpu.h"

#include <algorithm>

#include "kernel/kernel.h"

namespace ph {
namespace {

constexpr int poll_budget = 64;   // packets per source and round, as NAPI's weight
constexpr int rounds_per_run = 8; // then the composition gets a turn

}  // namespace

cpu::cpu(kernel& machine, cpu_id id, u64 seed, packet_memory& memory, tracer& trace)
    : machine_(machine), id_(id), random_(seed), memory_(memory), trace_(trace) {
  timers_.set_on_earlier([this](instant) { machine_.wake(); });
  mail_.set_on_post([this] { machine_.wake_from_outside(); });
}

cpu::~cpu() = default;

void cpu::schedule(poll_source& source) {
  if (source.scheduled()) return;
  poll_list_.push_back(source);
  machine_.wake();
}

void cpu::enter(instant now) { now_ = std::max(now_, now); }

void cpu::run(instant now) {
  enter(now);
  machine_.rcu().begin(id_);
  for (int round = 0; round < rounds_per_run; ++round) {
    const int mails = mail_.drain(*this);
    const int timers = timers_.fire_due(*this, now_);
    intrusive_list<poll_source, poll_tag> batch;
    batch.splice(batch.end(), poll_list_);
    const bool polled = !batch.empty();
    while (!batch.empty()) {
      poll_source& source = batch.front();
      batch.pop_front();
      poll_list_.push_back(source);  // linked while it runs: scheduling itself again is a no-op
      if (source.poll(*this, poll_budget) < poll_budget && source.scheduled()) source.unlink();
    }
    if (mails == 0 && timers == 0 && !polled) break;
  }
  machine_.rcu().quiescent(id_);
}

bool cpu::has_work() const {
  return !poll_list_.empty() || !mail_.empty() || machine_.rcu().has_work(id_);
}

instant cpu::next_deadline() const { return has_work() ? now_ : timers_.next_deadline(); }

bool cpu::sometimes(std::string_view name) { return machine_.buggify(*this, name); }

}  // namespace ph
