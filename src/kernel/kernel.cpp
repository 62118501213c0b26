// Construction, the run loop over CPUs, and the bookkeeping of rare branches.
#include "kernel/kernel.h"

#include <algorithm>

namespace ph {

kernel::kernel(kernel_config config)
    : config_(std::move(config)),
      memory_((ph_check(config_.memory != nullptr), *config_.memory)),
      own_trace_(config_.trace == nullptr ? std::make_unique<tracer>() : nullptr),
      trace_(config_.trace == nullptr ? *own_trace_ : *config_.trace),
      own_entropy_(config_.secrets == nullptr
                       ? std::make_unique<seeded_entropy>(rng(config_.seed).fork("secret").next())
                       : nullptr),
      seed_(rng(config_.seed).fork(config_.name)),
      rcu_(config_.cpus, [this] { wake(); },
           [this](cpu_id id) { cpu_at(id).mail().post([](cpu&) {}); }) {
  ph_check(config_.cpus >= 1);
  for (u32 i = 0; i < config_.cpus; ++i) {
    const u64 seed = seed_.fork("cpu" + std::to_string(i)).next();
    cpus_.push_back(std::make_unique<cpu>(*this, cpu_id(i), seed, memory_, trace_));
  }
}

drop_counts kernel::drops() const {
  drop_counts out;
  for (const auto& each : cpus_) {
    each->drops.for_each([&](const drop_reason_info& why, u64 n) { out.add(why, n); });
  }
  return out;
}

kernel::~kernel() {
  on_wake_ = {};
  on_post_ = {};
}

void kernel::secret(byte_span out) {
  (config_.secrets != nullptr ? *config_.secrets : *own_entropy_).fill(out);
}

rng kernel::fork_random(std::string_view label) const { return seed_.fork(label); }

void kernel::enter(instant now) {
  for (auto& c : cpus_) c->enter(now);
}

instant kernel::run(instant now) {
  enter(now);
  constexpr int rounds = 16;
  for (int round = 0; round < rounds; ++round) {
    bool busy = false;
    for (auto& c : cpus_) {
      if (!c->has_work() && c->next_deadline() > now) continue;
      c->run(now);
      busy = true;
    }
    if (!busy) break;
  }
  woken_ = false;
  return next_deadline();
}

instant kernel::next_deadline() const {
  instant out = never;
  for (const auto& c : cpus_) out = std::min(out, c->next_deadline());
  return out;
}

void kernel::wake() {
  if (woken_.load(std::memory_order_relaxed) || woken_.exchange(true)) return;
  if (on_wake_) on_wake_();
}

void kernel::wake_from_outside() {
  if (on_post_) on_post_();
}

bool kernel::buggify(cpu& cx, std::string_view name) {
  if (config_.buggify <= 0) return false;
  auto found = sometimes_.find(name);
  if (found == sometimes_.end()) found = sometimes_.emplace(name, sometimes_count{}).first;
  ++found->second.reached;
  const bool armed = cx.random().chance(config_.buggify);
  if (armed) ++found->second.armed;
  return armed;
}

}  // namespace ph
