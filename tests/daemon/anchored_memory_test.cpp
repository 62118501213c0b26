// What waits in the anchors of one host, and of all.
#include "daemon/anchored_memory.h"

#include <gtest/gtest.h>

#include <memory>

namespace ph::dropin {
namespace {

using std::chrono_literals::operator""ms;

struct queue : handed_on {
  queue(anchored_memory& all, const int& host)
      : shared(all, reinterpret_cast<const host_sockets&>(host), *this) {}  // only told apart
  u32 waiting = 0;
  anchored_queue shared;
  [[nodiscard]] u32 bytes() const override { return waiting; }
  void add(u32 memory) {
    waiting += memory;
    handed(memory);
    shared.grew();
  }
};

TEST(anchored_memory, one_host_leaves_the_others_their_share) {
  const int a = 0, b = 0;
  anchored_memory memory(800, 2, 0ms);  // 200 for each, and 400 for all
  queue hog(memory, a), other(memory, b);
  int fitted = 0;
  for (; hog.shared.has_room(); ++fitted) hog.add(100);
  EXPECT_EQ(fitted, 6);
  EXPECT_TRUE(other.shared.has_room());
  other.add(200);
  EXPECT_FALSE(other.shared.has_room());
}

TEST(anchored_memory, what_was_read_or_is_gone_makes_room) {
  const int a = 0;
  anchored_memory memory(200, 1, 0ms);
  auto one = std::make_unique<queue>(memory, a);
  queue other(memory, a);
  one->add(300);
  EXPECT_FALSE(other.shared.has_room());
  one->waiting = 100;
  EXPECT_TRUE(other.shared.has_room());
  one->add(300);
  EXPECT_FALSE(other.shared.has_room());
  one.reset();
  EXPECT_TRUE(other.shared.has_room());
}

TEST(anchored_memory, the_queues_are_not_asked_for_every_datagram) {
  const int a = 0;
  anchored_memory memory(200, 1, 3600'000ms);
  queue one(memory, a);
  one.add(300);
  EXPECT_FALSE(one.shared.has_room());
  one.waiting = 0;
  EXPECT_FALSE(one.shared.has_room());
}

}  // namespace
}  // namespace ph::dropin
