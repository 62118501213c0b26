// The ring alone and between two threads.
#include "base/ring.h"

#include <gtest/gtest.h>

#include <memory>
#include <thread>

namespace ph {
namespace {

TEST(ring, fills_and_empties_in_order) {
  spsc_ring<int> ring(5);
  EXPECT_EQ(ring.capacity(), 8u);
  EXPECT_FALSE(ring.pop());
  int in = 0, out = 0;
  for (int round = 0; round < 10; ++round) {
    while (ring.push(in)) ++in;
    EXPECT_EQ(ring.size(), 8u);
    for (int n = 0; n < 3 + round % 6; ++n) EXPECT_EQ(ring.pop(), out++);
  }
  while (!ring.empty()) EXPECT_EQ(ring.pop(), out++);
  EXPECT_EQ(in, out);
}

TEST(ring, refused_values_stay_with_the_caller_and_taken_ones_leave_nothing_behind) {
  spsc_ring<std::shared_ptr<int>> ring(1);
  auto first = std::make_shared<int>(1), second = std::make_shared<int>(2);
  std::weak_ptr<int> watch = first;
  EXPECT_TRUE(ring.push(std::move(first)));
  EXPECT_FALSE(ring.push(std::move(second)));
  ASSERT_NE(second, nullptr);
  ring.pop().reset();
  EXPECT_TRUE(watch.expired());
}

TEST(ring, two_threads_lose_and_reorder_nothing) {
  constexpr u64 count = 200000;
  spsc_ring<std::unique_ptr<u64>> ring(64);
  std::thread producer([&] {
    for (u64 i = 0; i < count; ++i) {
      auto value = std::make_unique<u64>(i);
      while (!ring.push(std::move(value))) std::this_thread::yield();
    }
  });
  u64 expected = 0;
  bool in_order = true;
  while (expected < count) {
    const auto got = ring.pop();
    if (!got) {
      std::this_thread::yield();
      continue;
    }
    in_order = in_order && **got == expected;
    ++expected;
  }
  producer.join();
  EXPECT_TRUE(in_order);
  EXPECT_TRUE(ring.empty());
}

}  // namespace
}  // namespace ph
