// What the machine's own parts cost: timers, pools, packet memory, mail, RCU and an empty run.
#include <benchmark/benchmark.h>

#include <memory>
#include <vector>

#include "kernel/kernel.h"

namespace ph {
namespace {

using namespace literals;

struct bench_machine {
  packet_memory memory;
  kernel host{{.memory = &memory}};
  cpu& cx = host.boot_cpu();
};

std::vector<std::unique_ptr<timer>> make_timers(std::size_t n) {
  std::vector<std::unique_ptr<timer>> out;
  for (std::size_t i = 0; i < n; ++i) out.push_back(std::make_unique<timer>([](cpu&) {}));
  return out;
}

/// Arm and cancel one timer beside range(0) others: a delayed acknowledgement that is not needed.
void timer_arm_cancel(benchmark::State& state) {
  timer_wheel wheel;
  rng random(1);
  auto others = make_timers(static_cast<std::size_t>(state.range(0)));
  for (auto& t : others) wheel.arm(*t, instant{static_cast<s64>(random.below(1'000'000'000))});
  timer t([](cpu&) {});
  for (auto _ : state) {
    wheel.arm(t, instant{40'000'000});
    wheel.cancel(t);
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(timer_arm_cancel)->Arg(0)->Arg(1'000)->Arg(100'000);

/// Re-arm later and later: the retransmission timer of a connection that moves data.
void timer_rearm_later(benchmark::State& state) {
  timer_wheel wheel;
  timer t([](cpu&) {});
  s64 now = 0;
  for (auto _ : state) wheel.arm(t, instant{++now * 1000 + 200'000'000});
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(timer_rearm_later);

/// Arm at random and fire, range(0) timers at a time under way: the whole life of a timer.
void timer_arm_fire(benchmark::State& state) {
  bench_machine machine;
  timer_wheel wheel;
  rng random(2);
  const auto count = static_cast<std::size_t>(state.range(0));
  auto timers = make_timers(count);
  instant now{0};
  for (auto _ : state) {
    for (auto& t : timers) {
      wheel.arm(*t, now + nanoseconds(static_cast<s64>(random.below(200'000'000))));
    }
    while (wheel.size() != 0) {
      now = wheel.next_deadline();
      wheel.fire_due(machine.cx, now);
    }
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(timer_arm_fire)->Arg(1)->Arg(100)->Arg(10'000)->Arg(100'000);

/// What every run pays when no timer is due.
void timer_nothing_due(benchmark::State& state) {
  bench_machine machine;
  timer_wheel wheel;
  auto timers = make_timers(1000);
  for (auto& t : timers) wheel.arm(*t, never - 1_s);
  s64 now = 0;
  for (auto _ : state) benchmark::DoNotOptimize(wheel.fire_due(machine.cx, instant{now += 700}));
}
BENCHMARK(timer_nothing_due);

void pool_allocate_release(benchmark::State& state) {
  block_pool pool(640, 64);
  for (auto _ : state) {
    void* block = pool.allocate();
    benchmark::DoNotOptimize(block);
    pool.release(block);
  }
}
BENCHMARK(pool_allocate_release);

/// A data block of a full frame, taken and let go.
void packet_memory_block(benchmark::State& state) {
  packet_memory memory;
  for (auto _ : state) {
    const block_ref block = memory.allocate_block(2048);
    benchmark::DoNotOptimize(block->bytes());
  }
}
BENCHMARK(packet_memory_block);

/// Post range(0) calls and drain them, on one thread.
void mailbox_post_drain(benchmark::State& state) {
  bench_machine machine;
  mailbox box;
  u64 ran = 0;
  for (auto _ : state) {
    for (s64 i = 0; i < state.range(0); ++i) box.post([&ran](cpu&) { ++ran; });
    box.drain(machine.cx);
  }
  state.SetItemsProcessed(static_cast<s64>(ran));
}
BENCHMARK(mailbox_post_drain)->Arg(1)->Arg(64);

/// Replace an object and free the old one.
void rcu_publish(benchmark::State& state) {
  rcu_domain rcu(1, {}, {});
  rcu_ptr<u64> pointer;
  for (auto _ : state) {
    pointer.publish(rcu, std::make_unique<u64>(1));
    rcu.begin(cpu_id(0));
    rcu.quiescent(cpu_id(0));
  }
}
BENCHMARK(rcu_publish);

/// A run of a kernel with nothing to do.
void empty_run(benchmark::State& state) {
  bench_machine machine;
  s64 now = 0;
  for (auto _ : state) machine.cx.run(instant{++now});
}
BENCHMARK(empty_run);

}  // namespace
}  // namespace ph
