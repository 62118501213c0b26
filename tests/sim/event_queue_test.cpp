// The order of events: by time, then by when they were scheduled.
#include "sim/event_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace ph::sim {
namespace {

struct noted {
  noted(std::string& to, char as) : log(to), name(as), e([this] { log += name; }) {}
  std::string& log;
  char name;
  event e;
};

TEST(event_queue, runs_by_time_then_by_order_of_scheduling) {
  event_queue q;
  std::string log;
  noted a(log, 'a'), b(log, 'b'), c(log, 'c'), d(log, 'd');
  q.schedule(b.e, instant{20});
  q.schedule(c.e, instant{20});
  q.schedule(d.e, instant{5});
  q.schedule(a.e, instant{20});
  EXPECT_EQ(q.next_deadline(), instant{5});
  while (q.run_one(never)) {
  }
  EXPECT_EQ(log, "dbca");
  EXPECT_EQ(q.now(), instant{20});
  EXPECT_EQ(q.next_deadline(), never);
}

TEST(event_queue, an_event_that_moves_goes_behind_and_one_that_stays_keeps_its_place) {
  event_queue q;
  std::string log;
  noted a(log, 'a'), b(log, 'b'), c(log, 'c');
  q.schedule(a.e, instant{10});
  q.schedule(b.e, instant{10});
  q.schedule(c.e, instant{1});
  q.schedule(c.e, instant{10});
  q.schedule(a.e, instant{10});
  while (q.run_one(never)) {
  }
  EXPECT_EQ(log, "abc");
}

TEST(event_queue, the_past_is_now) {
  event_queue q;
  std::string log;
  noted a(log, 'a'), b(log, 'b');
  q.advance_to(instant{100});
  q.schedule(a.e, instant{100});
  q.schedule(b.e, instant{3});
  EXPECT_EQ(b.e.when(), instant{100});
  EXPECT_FALSE(q.run_one(instant{99}));
  while (q.run_one(instant{100})) {
  }
  EXPECT_EQ(log, "ab");
}

TEST(event_queue, a_destroyed_or_cancelled_event_does_not_run) {
  event_queue q;
  std::string log;
  noted a(log, 'a');
  {
    noted b(log, 'b');
    q.schedule(b.e, instant{1});
  }
  q.schedule(a.e, instant{2});
  q.cancel(a.e);
  EXPECT_FALSE(q.run_one(never));
  EXPECT_EQ(log, "");
}

TEST(event_queue, an_event_may_schedule_itself_at_the_same_instant) {
  event_queue q;
  int runs = 0;
  struct state {
    event_queue& q;
    int& runs;
    event e{[this] {
      if (++runs < 3) q.schedule(e, q.now());
    }};
  } s{q, runs};
  q.schedule(s.e, instant{7});
  while (q.run_one(never)) {
  }
  EXPECT_EQ(runs, 3);
  EXPECT_EQ(q.events_run(), 3u);
}

}  // namespace
}  // namespace ph::sim
