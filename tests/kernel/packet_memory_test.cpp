// Where packets live: sizes, sharing, and recycling without the heap.
#include "kernel/packet_memory.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/rng.h"
#include "tests/kernel/heap_meter.h"

namespace ph {
namespace {

TEST(packet_memory, blocks_have_the_room_that_was_asked_for) {
  packet_memory memory;
  for (const std::size_t bytes : {0u, 1u, 512u, 513u, 2304u, 2305u, 16384u, 69632u, 69633u,
                                  1000000u}) {
    const block_ref block = memory.allocate_block(bytes);
    ASSERT_GE(block->capacity, bytes);
    std::fill_n(block->bytes(), block->capacity, u8{0xaa});  // AddressSanitizer watches the ends
    EXPECT_EQ(memory.live_blocks(), 1u);
  }
  EXPECT_EQ(memory.live_blocks(), 0u);
}

TEST(packet_memory, a_block_lives_as_long_as_its_last_reference) {
  packet_memory memory;
  block_ref a = memory.allocate_block(100);
  EXPECT_TRUE(a.unique());
  block_ref b = a;
  EXPECT_FALSE(a.unique());
  a.reset();
  EXPECT_TRUE(b.unique());
  const block_ref c = std::move(b);
  EXPECT_EQ(memory.live_blocks(), 1u);
  EXPECT_TRUE(c.unique());
}

TEST(packet_memory, nothing_is_taken_before_it_is_used_and_the_steady_state_takes_nothing) {
  const heap_meter before;
  packet_memory memory;
  EXPECT_LT(before.bytes(), 1024u);
  rng random(3);
  std::vector<block_ref> held(100);
  std::vector<void*> descriptors(100, nullptr);
  const auto churn = [&] {
    for (int i = 0; i < 10'000; ++i) {
      held[random.below(100)] = memory.allocate_block(random.below(2304));
      void*& d = descriptors[random.below(100)];
      if (d != nullptr) memory.release_descriptor(d);
      d = memory.allocate_descriptor();
    }
  };
  churn();
  for (auto& h : held) h = memory.allocate_block(2304);  // the most that churn can hold
  for (auto& h : held) h = memory.allocate_block(100);
  const u64 trips = memory.heap_trips();
  const heap_meter steady;
  churn();
  EXPECT_EQ(memory.heap_trips(), trips);
  EXPECT_EQ(steady.allocations(), 0u);
  for (void* d : descriptors) {
    if (d != nullptr) memory.release_descriptor(d);
  }
  EXPECT_EQ(memory.live_packets(), 0u);
}

TEST(packet_memory_death, a_leaked_packet_is_found) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        packet_memory memory;
        static_cast<void>(memory.allocate_descriptor());
      },
      "live_packets");
}

}  // namespace
}  // namespace ph
