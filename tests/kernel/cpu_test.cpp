// The scheduler: what runs when, in which order, and when it wants to run next.
#include "kernel/cpu.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "tests/kernel/machine.h"

namespace ph {
namespace {

using namespace literals;
using testing::ElementsAre;

struct cpu_test : testing::Test {
  test_machine machine;
  cpu& cx = machine.cx();
  std::vector<std::string> log;
};

/// Has `work` units to do and says each time how much it was allowed.
struct counting_source final : poll_source {
  int poll(cpu&, int budget) override {
    ++polls;
    const int done = std::min(work, budget);
    work -= done;
    return done;
  }
  int work = 0;
  int polls = 0;
};

TEST_F(cpu_test, a_run_takes_mail_then_timers_then_polls) {
  struct logging_source final : poll_source {
    explicit logging_source(std::vector<std::string>& l) : log_(l) {}
    int poll(cpu&, int) override {
      log_.emplace_back("poll");
      return 0;
    }
    std::vector<std::string>& log_;
  } source(log);
  timer t([this](cpu&) { log.emplace_back("timer"); });
  cx.schedule(source);
  cx.timers().arm(t, instant{5});
  cx.mail().post([this](cpu&) { log.emplace_back("mail"); });
  EXPECT_TRUE(cx.has_work());
  cx.run(instant{5});
  EXPECT_THAT(log, ElementsAre("mail", "timer", "poll"));
  EXPECT_FALSE(cx.has_work());
}

TEST_F(cpu_test, time_is_frozen_during_a_run_and_never_goes_back) {
  cx.enter(instant{10});
  EXPECT_EQ(cx.now(), instant{10});
  cx.run(instant{7});
  EXPECT_EQ(cx.now(), instant{10});
  cx.run(instant{12});
  EXPECT_EQ(cx.now(), instant{12});
}

TEST_F(cpu_test, the_next_deadline_is_now_with_work_else_the_timers) {
  EXPECT_EQ(cx.next_deadline(), never);
  timer t([](cpu&) {});
  cx.timers().arm(t, instant{} + 1_s);
  EXPECT_EQ(cx.next_deadline(), instant{} + 1_s);
  cx.enter(instant{} + 1_ms);
  counting_source source;
  cx.schedule(source);
  EXPECT_EQ(cx.next_deadline(), instant{} + 1_ms);
}

TEST_F(cpu_test, sources_are_polled_with_a_budget_until_they_have_no_work) {
  counting_source small, large;
  small.work = 10;
  large.work = 200;
  cx.schedule(large);
  cx.schedule(small);
  cx.schedule(small);
  cx.run(instant{1});
  EXPECT_EQ(small.polls, 1);
  EXPECT_EQ(large.polls, 4) << "64 at a time";
  EXPECT_FALSE(large.scheduled());
}

TEST_F(cpu_test, a_run_is_bounded_and_says_that_work_is_left) {
  counting_source endless;
  endless.work = 1 << 20;
  cx.schedule(endless);
  cx.run(instant{1});
  EXPECT_LE(endless.polls, 16);
  EXPECT_TRUE(cx.has_work());
}

TEST_F(cpu_test, a_timer_that_rearms_at_now_cannot_hold_a_run) {
  struct looper {
    timer t{[this](cpu& c) {
      ++count;
      c.timers().arm(t, c.now());
    }};
    int count = 0;
  } l;
  cx.timers().arm(l.t, instant{1});
  cx.run(instant{1});
  EXPECT_LE(l.count, 16);
  EXPECT_EQ(cx.next_deadline(), instant{1});
}

TEST_F(cpu_test, a_source_may_die_while_it_is_scheduled) {
  {
    counting_source shortlived;
    cx.schedule(shortlived);
  }
  EXPECT_FALSE(cx.has_work());
}

}  // namespace
}  // namespace ph
