// The wheel against a reference model (a multimap), and its promises one by one.
#include "kernel/timer_wheel.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <vector>

#include "base/rng.h"
#include "tests/kernel/machine.h"

namespace ph {
namespace {

using namespace literals;

struct timer_wheel_test : testing::Test {
  test_machine machine;
  timer_wheel wheel;
  std::vector<int> fired;
  int fire(instant now) { return wheel.fire_due(machine.cx(), now); }
};

/// Writes its number down when it fires.
struct numbered {
  numbered(timer_wheel_test& test, int number)
      : test_(test), number_(number), t([this](cpu&) { test_.fired.push_back(number_); }) {}
  timer_wheel_test& test_;
  int number_;
  timer t;
};

TEST_F(timer_wheel_test, fires_by_deadline_then_arm_number) {
  numbered a(*this, 1), b(*this, 2), c(*this, 3), d(*this, 4);
  wheel.arm(a.t, instant{700});
  wheel.arm(b.t, instant{500});
  wheel.arm(c.t, instant{700});
  wheel.arm(d.t, instant{500});
  wheel.arm(b.t, instant{500});  // the same deadline again: now behind d
  EXPECT_EQ(fire(instant{499}), 0);
  EXPECT_EQ(fire(instant{700}), 4);
  EXPECT_EQ(fired, (std::vector<int>{4, 2, 1, 3}));
  EXPECT_EQ(wheel.size(), 0u);
  EXPECT_EQ(wheel.next_deadline(), never);
}

TEST_F(timer_wheel_test, a_deadline_in_the_past_fires_at_the_next_call) {
  numbered a(*this, 1);
  EXPECT_EQ(fire(instant{} + 5_s), 0);
  wheel.arm(a.t, instant{} + 1_s);
  EXPECT_EQ(wheel.next_deadline(), instant{} + 1_s);
  EXPECT_EQ(fire(instant{} + 5_s), 1);
}

TEST_F(timer_wheel_test, a_timer_fires_at_its_nanosecond_even_days_away) {
  const s64 days = 86'400ll * 1'000'000'000;
  for (const s64 ns : {s64{1}, s64{1023}, s64{1024}, s64{65'537}, 40 * s64{1'000'000} + 7,
                       60 * s64{1'000'000'000} + 123, 3 * days + 1, 400 * days + 999,
                       40'000 * days}) {
    timer_wheel fresh;
    int count = 0;
    timer t([&count](cpu&) { ++count; });
    fresh.arm(t, instant{ns});
    EXPECT_EQ(fresh.next_deadline(), instant{ns}) << "alone in its bucket, the bound is exact";
    EXPECT_EQ(fresh.fire_due(machine.cx(), instant{ns - 1}), 0);
    EXPECT_EQ(fresh.next_deadline(), instant{ns});
    EXPECT_EQ(fresh.fire_due(machine.cx(), instant{ns}), 1);
    EXPECT_EQ(count, 1);
  }
}

TEST_F(timer_wheel_test, never_is_a_deadline_that_is_not_reached) {
  numbered a(*this, 1);
  wheel.arm(a.t, never);
  EXPECT_TRUE(a.t.armed());
  EXPECT_EQ(wheel.next_deadline(), never);
  EXPECT_EQ(fire(instant{never.ns - 1}), 0);
}

TEST_F(timer_wheel_test, rearming_later_is_lazy_but_fires_on_time) {
  numbered a(*this, 1);
  wheel.arm(a.t, instant{} + 200_ms);
  for (int i = 1; i <= 100; ++i) wheel.arm(a.t, instant{} + 200_ms + milliseconds(i));
  EXPECT_EQ(a.t.deadline(), instant{} + 300_ms);
  EXPECT_EQ(wheel.next_deadline(), instant{} + 200_ms) << "the old place is the bound";
  EXPECT_EQ(fire(instant{} + 200_ms), 0);
  EXPECT_EQ(wheel.next_deadline(), instant{} + 300_ms) << "a spurious run moves on";
  EXPECT_EQ(fire(instant{} + 300_ms), 1);
}

TEST_F(timer_wheel_test, rearming_earlier_fires_earlier) {
  numbered a(*this, 1), b(*this, 2);
  wheel.arm(a.t, instant{} + 10_s);
  wheel.arm(b.t, instant{} + 10_s + 1_ms);
  wheel.arm(b.t, instant{} + 3_us);
  EXPECT_EQ(wheel.next_deadline(), instant{} + 3_us);
  EXPECT_EQ(fire(instant{} + 3_us), 1);
  EXPECT_EQ(fired, std::vector<int>{2});
}

TEST_F(timer_wheel_test, on_earlier_tells_exactly_when_the_next_deadline_moves_earlier) {
  std::vector<instant> told;
  wheel.set_on_earlier([&told](instant t) { told.push_back(t); });
  numbered a(*this, 1), b(*this, 2);
  wheel.arm(a.t, instant{900});
  wheel.arm(b.t, instant{1'000'000});
  wheel.arm(b.t, instant{100});
  wheel.arm(b.t, instant{500});
  EXPECT_EQ(told, (std::vector<instant>{instant{900}, instant{100}}));
}

TEST_F(timer_wheel_test, a_callback_that_rearms_at_now_fires_again_only_in_the_next_call) {
  struct looper {
    timer_wheel& wheel;
    int count = 0;
    timer t{[this](cpu&) {
      ++count;
      wheel.arm(t, instant{1'000});
    }};
  } l{wheel};
  wheel.arm(l.t, instant{1'000});
  EXPECT_EQ(fire(instant{2'000}), 1);
  EXPECT_EQ(l.count, 1);
  EXPECT_LE(wheel.next_deadline(), instant{2'000});
  EXPECT_EQ(fire(instant{2'000}), 1);
  EXPECT_EQ(l.count, 2);
}

TEST_F(timer_wheel_test, callbacks_may_cancel_rearm_and_destroy_timers_that_are_due_with_them) {
  auto doomed = std::make_unique<numbered>(*this, 1);
  numbered cancelled(*this, 2), moved(*this, 3), late(*this, 4);
  struct first {
    timer_wheel& wheel;
    std::unique_ptr<numbered>& doomed;
    timer &cancelled, &moved;
    timer t{[this](cpu&) {
      doomed.reset();
      wheel.cancel(cancelled);
      wheel.arm(moved, instant{9'000'000});
    }};
  } f{wheel, doomed, cancelled.t, moved.t};
  wheel.arm(f.t, instant{10});
  wheel.arm(doomed->t, instant{20});
  wheel.arm(cancelled.t, instant{20});
  wheel.arm(moved.t, instant{20});
  wheel.arm(late.t, instant{30});
  EXPECT_EQ(fire(instant{5'000'000}), 2);
  EXPECT_EQ(fired, std::vector<int>{4});
  EXPECT_FALSE(cancelled.t.armed());
  EXPECT_EQ(moved.t.deadline(), instant{9'000'000});
  EXPECT_EQ(fire(instant{9'000'000}), 1);
}

TEST_F(timer_wheel_test, a_callback_may_destroy_its_owner) {
  struct owner {
    std::unique_ptr<owner>* self;
    timer t{[this](cpu&) { self->reset(); }};
  };
  auto o = std::make_unique<owner>();
  o->self = &o;
  wheel.arm(o->t, instant{1});
  EXPECT_EQ(fire(instant{1}), 1);
  EXPECT_EQ(o, nullptr);
  EXPECT_EQ(wheel.size(), 0u);
}

TEST_F(timer_wheel_test, a_dying_wheel_disarms) {
  timer t([](cpu&) {});
  {
    timer_wheel shortlived;
    shortlived.arm(t, instant{5});
  }
  EXPECT_FALSE(t.armed());
  wheel.arm(t, instant{7});
  EXPECT_EQ(wheel.next_deadline(), instant{7});
}

TEST_F(timer_wheel_test, following_the_bound_never_spins) {
  // Most timers are re-armed or cancelled before they fire: the bound is often too early, but
  // each run at it must move it on.
  rng random(7);
  std::vector<std::unique_ptr<numbered>> timers;
  for (int i = 0; i < 500; ++i) {
    timers.push_back(std::make_unique<numbered>(*this, i));
    wheel.arm(timers.back()->t, instant{static_cast<s64>(random.below(10'000'000'000))});
  }
  for (auto& n : timers) {
    if (random.chance(0.4)) wheel.cancel(n->t);
    else if (random.chance(0.7)) wheel.arm(n->t, n->t.deadline() + 5_s);
  }
  const std::size_t wanted = wheel.size();
  std::size_t runs = 0;
  while (wheel.next_deadline() != never) {
    const instant bound = wheel.next_deadline();
    fire(bound);
    ASSERT_GT(wheel.next_deadline(), bound);
    ++runs;
  }
  EXPECT_EQ(fired.size(), wanted);
  EXPECT_LT(runs, 2000u);
}

TEST_F(timer_wheel_test, memory_comes_level_by_level) {
  EXPECT_EQ(wheel.heap_bytes(), 0u);
  numbered a(*this, 1);
  wheel.arm(a.t, instant{} + 60_s);
  EXPECT_LE(wheel.heap_bytes(), 2048u);
}

/// What the wheel must do, done slowly: arm numbers are the order of insertion.
class reference_model {
 public:
  void arm(int id, instant deadline) {
    cancel(id);
    place_[id] = order_.emplace(std::pair(deadline, next_++), id).first;
  }
  void cancel(int id) {
    const auto found = place_.find(id);
    if (found == place_.end()) return;
    order_.erase(found->second);
    place_.erase(found);
  }
  std::vector<int> fire(instant now) {
    std::vector<int> out;
    while (!order_.empty() && order_.begin()->first.first <= now) {
      out.push_back(order_.begin()->second);
      cancel(out.back());
    }
    return out;
  }
  [[nodiscard]] instant next() const {
    return order_.empty() ? never : order_.begin()->first.first;
  }
  [[nodiscard]] std::size_t size() const { return order_.size(); }
  [[nodiscard]] bool armed(int id) const { return place_.contains(id); }

 private:
  using order = std::map<std::pair<instant, u64>, int>;
  order order_;
  std::map<int, order::iterator> place_;
  u64 next_ = 0;
};

/// Deadlines of every magnitude: most near, some days away, some in the past, many equal.
instant pick_deadline(rng& random, instant now) {
  const u64 magnitude = random.below(50);
  const s64 span = static_cast<s64>(random.below(u64{1} << (magnitude + 1)));
  if (random.chance(0.1)) return now;
  if (random.chance(0.05)) return instant{std::max<s64>(0, now.ns - span)};
  if (random.chance(0.3)) return now + nanoseconds(span / 4096 * 4096);
  return now + nanoseconds(span);
}

class timer_wheel_model : public timer_wheel_test, public testing::WithParamInterface<int> {};

TEST_P(timer_wheel_model, random_commands_fire_as_the_reference_does) {
  rng random(static_cast<u64>(GetParam()));
  reference_model model;
  std::vector<std::unique_ptr<numbered>> timers(64);
  for (int i = 0; i < 64; ++i) timers[i] = std::make_unique<numbered>(*this, i);
  instant now{static_cast<s64>(random.below(u64{1} << 45))};
  for (int step = 0; step < 20'000; ++step) {
    const int id = static_cast<int>(random.below(64));
    const u64 action = random.below(100);
    if (action < 55) {
      const instant deadline = pick_deadline(random, now);
      wheel.arm(timers[id]->t, deadline);
      model.arm(id, deadline);
    } else if (action < 70) {
      wheel.cancel(timers[id]->t);
      model.cancel(id);
    } else if (action < 72) {
      timers[id] = std::make_unique<numbered>(*this, id);
      model.cancel(id);
    } else {
      const instant bound = wheel.next_deadline();
      if (random.chance(0.6) && bound != never) now = std::max(now, bound);
      else now += nanoseconds(static_cast<s64>(random.below(u64{1} << random.below(42))));
      fired.clear();
      fire(now);
      ASSERT_EQ(fired, model.fire(now)) << "step " << step;
      ASSERT_GT(wheel.next_deadline(), now);
    }
    ASSERT_LE(wheel.next_deadline(), model.next()) << "step " << step;
    ASSERT_EQ(wheel.next_deadline() == never, model.next() == never);
    ASSERT_EQ(wheel.size(), model.size());
    ASSERT_EQ(timers[id]->t.armed(), model.armed(id));
  }
}

INSTANTIATE_TEST_SUITE_P(seeds, timer_wheel_model, testing::Range(1, 9));

}  // namespace
}  // namespace ph
