// What waits in the anchors of one host, and of all.
#include "daemon/anchored_memory.h"

#include <gtest/gtest.h>

#include <thread>

#include "daemon/host_sockets.h"

namespace ph::dropin {
namespace {

struct queue : handed_on {
  u32 waiting = 0;
  [[nodiscard]] u32 bytes() const override { return waiting; }
  void add(u32 memory) {
    waiting += memory;
    handed(memory);
  }
};

/// Hosts are only told apart here.
const host_sockets& host(const int& any) { return reinterpret_cast<const host_sockets&>(any); }

void settle() { std::this_thread::sleep_for(std::chrono::milliseconds(101)); }

TEST(anchored_memory, one_host_leaves_the_others_their_share) {
  const int a = 0, b = 0;
  anchored_memory memory(800, 2);  // 200 for each, and 400 for all
  queue hog, other;
  int fitted = 0;
  for (; memory.has_room(host(a)); ++fitted) {
    hog.add(100);
    memory.grew(host(a), hog);
  }
  EXPECT_EQ(fitted, 6);
  EXPECT_TRUE(memory.has_room(host(b)));
  other.add(200);
  memory.grew(host(b), other);
  EXPECT_FALSE(memory.has_room(host(b)));
}

TEST(anchored_memory, what_was_read_or_is_gone_makes_room) {
  const int a = 0;
  anchored_memory memory(200, 1);
  {
    queue one;
    one.add(300);
    memory.grew(host(a), one);
    EXPECT_FALSE(memory.has_room(host(a)));
    one.waiting = 100;
    settle();
    EXPECT_TRUE(memory.has_room(host(a)));
    one.add(300);
    memory.grew(host(a), one);
    EXPECT_FALSE(memory.has_room(host(a)));
    memory.forget(one);
  }
  EXPECT_TRUE(memory.has_room(host(a)));
}

}  // namespace
}  // namespace ph::dropin
