// Frames leave by their time of arrival, and those of one time as they came.
#include "sim/frames_in_flight.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "base/rng.h"
#include "kernel/kernel.h"

namespace ph::sim {
namespace {

struct frames_in_flight_test : testing::Test {
  packet_memory memory;
  kernel machine{{.memory = &memory}};
  frames_in_flight frames;
  void add(s64 arrival_ns, u32 number) {
    skb_ptr skb = alloc_skb(machine.boot_cpu(), 64);
    skb->tstamp = instant{arrival_ns};
    skb->mark = number;
    frames.insert(std::move(skb));
  }
};

TEST_F(frames_in_flight_test, leave_by_time_and_in_the_order_of_one_time) {
  rng random(5);
  struct sent {
    s64 arrival_ns;
    u32 number;
  };
  std::vector<sent> wanted;
  for (u32 i = 0; i < 20'000; ++i) {
    wanted.push_back({static_cast<s64>(random.below(3000)), i});
    add(wanted.back().arrival_ns, i);
  }
  EXPECT_EQ(frames.size(), wanted.size());
  std::stable_sort(wanted.begin(), wanted.end(),
                   [](const sent& a, const sent& b) { return a.arrival_ns < b.arrival_ns; });
  for (const sent& next : wanted) {
    EXPECT_EQ(frames.next_arrival(), instant{next.arrival_ns});
    skb_ptr skb = frames.pop_first();
    ASSERT_TRUE(skb);
    ASSERT_EQ(skb->mark, next.number);
    consume(machine.boot_cpu(), std::move(skb));
  }
  EXPECT_TRUE(frames.empty());
  EXPECT_EQ(frames.next_arrival(), never);
  EXPECT_FALSE(frames.pop_first());
}

TEST_F(frames_in_flight_test, purged_they_are_counted) {
  for (u32 i = 0; i < 10; ++i) add(10 - s64{i}, i);
  frames.purge(machine.boot_cpu(), drop_reason::dev_gone);
  EXPECT_EQ(frames.size(), 0u);
  EXPECT_EQ(machine.drops().get(drop_reason::dev_gone), 10u);
}

}  // namespace
}  // namespace ph::sim
