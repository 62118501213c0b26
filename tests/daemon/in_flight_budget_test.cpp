// Shares of the descriptors that one user may have on their way.
#include "daemon/in_flight_budget.h"

#include <gtest/gtest.h>

#include <thread>

namespace ph::dropin {
namespace {

struct queue : handed_on {
  u32 waiting = 0;  ///< datagrams of the least size
  [[nodiscard]] u32 bytes() const override { return waiting * 512; }
};

using grant = in_flight_budget::grant;

TEST(in_flight_budget, one_queue_has_a_share_until_it_is_read) {
  in_flight_budget budget(64);
  queue one, other;
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(budget.take(one), grant::given);
    ++one.waiting;
  }
  EXPECT_EQ(budget.take(one), grant::anchor_full);
  EXPECT_EQ(budget.take(other), grant::given);
  one.waiting = 1;
  EXPECT_EQ(budget.take(one), grant::given);
  budget.give_back(one);
  EXPECT_EQ(budget.take(one), grant::given);
}

TEST(in_flight_budget, what_all_have_together_is_bounded_and_comes_back) {
  in_flight_budget budget(8);
  queue all[3];
  for (queue& q : {std::ref(all[0]), std::ref(all[1])}) {
    for (int i = 0; i < 4; ++i) EXPECT_EQ(budget.take(q), grant::given);
    q.waiting = 4;
  }
  EXPECT_EQ(budget.take(all[2]), grant::given) << "one is always granted";
  all[2].waiting = 1;
  EXPECT_EQ(budget.take(all[2]), grant::all_used);
  all[2].waiting = 0;
  EXPECT_EQ(budget.take(all[2]), grant::given) << "and another when it is read";
  all[2].waiting = 1;
  budget.forget(all[0]);
  all[1].waiting = 0;  // its program has read everything: seen after a time at the latest
  for (int i = 0; i < 3; ++i) EXPECT_EQ(budget.take(all[2]), grant::given);
  all[2].waiting = 4;
  const auto patience = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  bool given = false;
  while (!given && std::chrono::steady_clock::now() < patience) {
    given = budget.take(all[1]) == grant::given;
    std::this_thread::yield();
  }
  EXPECT_TRUE(given);
}

}  // namespace
}  // namespace ph::dropin
