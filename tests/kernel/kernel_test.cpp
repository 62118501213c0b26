// A machine as a whole: seeds, wakeups, rare branches, and what it costs when idle.
#include "kernel/kernel.h"

#include <gtest/gtest.h>

#include "tests/kernel/heap_meter.h"
#include "tests/kernel/machine.h"

namespace ph {
namespace {

using namespace literals;

struct nothing_to_do final : poll_source {
  int poll(cpu&, int) override { return 0; }
};

TEST(kernel, randomness_depends_on_seed_name_and_cpu_only) {
  test_machine a({.name = "a", .cpus = 2, .seed = 5});
  test_machine again({.name = "a", .cpus = 2, .seed = 5});
  test_machine b({.name = "b", .cpus = 2, .seed = 5});
  test_machine other_seed({.name = "a", .cpus = 2, .seed = 6});
  test_machine one_cpu({.name = "a", .cpus = 1, .seed = 5});
  const u64 drawn = a.cx(0).random().next();
  EXPECT_EQ(drawn, again.cx(0).random().next());
  EXPECT_EQ(drawn, one_cpu.cx(0).random().next()) << "more cpus do not disturb the first";
  EXPECT_NE(drawn, b.cx(0).random().next());
  EXPECT_NE(drawn, other_seed.cx(0).random().next());
  EXPECT_NE(drawn, a.cx(1).random().next());
  EXPECT_EQ(a.host.fork_random("tcp").next(), again.host.fork_random("tcp").next());
  EXPECT_NE(a.host.fork_random("tcp").next(), a.host.fork_random("udp").next());
}

TEST(kernel, secrets_come_from_the_entropy_it_was_given_or_repeat) {
  std::array<u8, 16> x{}, y{};
  test_machine a, b;
  a.host.secret(x);
  b.host.secret(y);
  EXPECT_EQ(x, y);
  struct sevens final : entropy {
    void fill(byte_span out) override { std::fill(out.begin(), out.end(), u8{7}); }
  } source;
  test_machine c({.secrets = &source});
  c.host.secret(x);
  EXPECT_EQ(x[0], 7);
  EXPECT_EQ(x[15], 7);
}

TEST(kernel, on_wake_is_told_once_per_run) {
  test_machine machine;
  int told = 0;
  machine.host.set_on_wake([&told] { ++told; });
  nothing_to_do s1, s2;
  machine.cx().schedule(s1);
  machine.cx().schedule(s2);
  EXPECT_EQ(told, 1);
  machine.host.run(instant{1});
  timer t([](cpu&) {});
  machine.cx().timers().arm(t, instant{50});
  EXPECT_EQ(told, 2);
  machine.cx().timers().arm(t, instant{90});
  EXPECT_EQ(told, 2) << "later needs no telling";
}

TEST(kernel, on_post_is_told_of_mail) {
  test_machine machine(2);
  int told = 0;
  machine.host.set_on_post([&told] { ++told; });
  machine.cx(1).mail().post([](cpu&) {});
  EXPECT_EQ(told, 1);
}

TEST(kernel, run_passes_work_between_cpus_and_returns_the_next_deadline) {
  test_machine machine(2);
  timer t([](cpu&) {});
  std::vector<u32> ran;
  struct context {
    test_machine& machine;
    std::vector<u32>& ran;
    timer& t;
  } c{machine, ran, t};
  machine.cx(1).mail().post([&c](cpu& cx1) {
    c.ran.push_back(cx1.id().value);
    c.machine.cx(0).mail().post([&c](cpu& cx0) {
      c.ran.push_back(cx0.id().value);
      cx0.timers().arm(c.t, cx0.now() + 5_ms);
    });
  });
  EXPECT_EQ(machine.host.run(instant{100}), instant{100} + 5_ms);
  EXPECT_EQ(ran, (std::vector<u32>{1, 0}));
}

TEST(kernel, rare_branches_are_taken_only_when_asked_for_and_are_counted) {
  test_machine calm;
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(calm.cx().sometimes("rare"));
  EXPECT_TRUE(calm.host.sometimes().empty());
  test_machine wild({.buggify = 0.5});
  int taken = 0;
  for (int i = 0; i < 1000; ++i) taken += wild.cx().sometimes("rare") ? 1 : 0;
  EXPECT_GT(taken, 300);
  EXPECT_LT(taken, 700);
  EXPECT_EQ(wild.host.sometimes().at("rare").reached, 1000u);
  EXPECT_EQ(wild.host.sometimes().at("rare").armed, static_cast<u64>(taken));
}

TEST(kernel, slots_own_in_reverse_order) {
  struct subsystem final : slot_object {
    subsystem(std::vector<int>& l, int n) : log(l), number(n) {}
    ~subsystem() override { log.push_back(number); }
    std::vector<int>& log;
    int number;
  };
  constexpr slot_key<subsystem> tcp{"tcp"}, udp{"udp"};
  std::vector<int> log;
  {
    test_machine machine;
    slots& s = machine.host.slots();
    EXPECT_EQ(s.find(tcp), nullptr);
    s.set(udp, std::make_unique<subsystem>(log, 1));
    s.set(tcp, std::make_unique<subsystem>(log, 2));
    EXPECT_EQ(s.get(tcp).number, 2);
    s.reset(udp);
    EXPECT_EQ(log, std::vector<int>{1});
    s.set(udp, std::make_unique<subsystem>(log, 3));
  }
  EXPECT_EQ(log, (std::vector<int>{1, 3, 2}));
}

TEST(kernel, an_idle_machine_costs_little) {
  packet_memory memory;
  const heap_meter meter;
  const kernel host({.memory = &memory});
  const std::size_t cost = meter.bytes() + sizeof host;
  RecordProperty("idle_bytes", static_cast<int>(cost));
  EXPECT_LT(cost, 8u * 1024) << "with one cpu and no network";
}

TEST(kernel, an_idle_machine_with_timers_still_costs_little) {
  packet_memory memory;
  std::array<timer, 8> timers;  // theirs to keep
  const heap_meter meter;
  kernel host({.memory = &memory});
  duration away = 1_ms;
  for (timer& t : timers) {
    host.boot_cpu().timers().arm(t, instant{} + away);
    away = away * 10;
  }
  EXPECT_LT(meter.bytes() + sizeof host, 32u * 1024);
}

TEST(kernel, a_run_with_nothing_new_allocates_nothing) {
  test_machine machine;
  struct ticker {
    timer t{[this](cpu& cx) { cx.timers().arm(t, cx.now() + 100_us); }};
  } ticker;
  machine.cx().timers().arm(ticker.t, instant{});
  nothing_to_do source;
  instant now{};
  const auto spin = [&](int rounds) {
    for (int i = 0; i < rounds; ++i) {
      machine.cx().schedule(source);
      machine.cx().mail().post([](cpu&) {});
      now = std::max(machine.host.run(now), now + 1_us);
    }
  };
  spin(50'000);
  const heap_meter meter;
  spin(20'000);
  EXPECT_EQ(meter.allocations(), 0u);
}

}  // namespace
}  // namespace ph
