// Slabs go back with their last block, whatever the order.
#include "base/slab_pool.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <map>
#include <set>
#include <vector>

#include "base/rng.h"

namespace ph {
namespace {

TEST(slab_pool, blocks_are_aligned_distinct_and_dense) {
  slab_pool pool(200);
  EXPECT_GE(pool.block_bytes(), 200u);
  std::set<void*> blocks;
  for (int i = 0; i < 1000; ++i) {
    void* const block = pool.allocate();
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(block) % alignof(std::max_align_t), 0u);
    std::memset(block, i, pool.block_bytes());
    EXPECT_TRUE(blocks.insert(block).second);
  }
  EXPECT_EQ(pool.live(), 1000u);
  EXPECT_LE(pool.slabs(), 15u);  // 16 KiB each
  for (void* const block : blocks) pool.release(block);
  EXPECT_EQ(pool.live(), 0u);
  EXPECT_EQ(pool.slabs(), 1u);
}

TEST(slab_pool, a_slab_without_blocks_goes_back_and_one_stays_for_the_next) {
  slab_pool pool(64);
  rng random(3);
  std::vector<void*> held;
  for (int step = 0; step < 50'000; ++step) {
    if (held.empty() || random.chance(step < 25'000 ? 0.6 : 0.4)) {
      held.push_back(pool.allocate());
    } else {
      std::swap(held[random.below(held.size())], held.back());
      pool.release(held.back());
      held.pop_back();
    }
    ASSERT_EQ(pool.live(), held.size());
  }
  for (void* const block : held) pool.release(block);
  EXPECT_EQ(pool.slabs(), 1u);
  // First in, first out: as many slabs as what is held needs, and one.
  std::vector<void*> queue;
  for (int i = 0; i < 10'000; ++i) queue.push_back(pool.allocate());
  const std::size_t most = pool.slabs();
  for (std::size_t i = 0; i < 9'000; ++i) pool.release(queue[i]);
  EXPECT_LE(pool.slabs(), most / 10 + 2);
  for (std::size_t i = 9'000; i < queue.size(); ++i) pool.release(queue[i]);
}

TEST(slab_pool, holds_the_nodes_of_a_map) {
  slab_pool pool(64);
  {
    using allocator = slab_allocator<std::pair<const int, int>, 64>;
    std::map<int, int, std::less<>, allocator> squares{allocator(pool)};
    for (int i = 0; i < 100; ++i) squares[i] = i * i;
    EXPECT_EQ(pool.live(), 100u);
    EXPECT_EQ(squares[9], 81);
  }
  EXPECT_EQ(pool.live(), 0u);
}

}  // namespace
}  // namespace ph
