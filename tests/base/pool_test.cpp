// Block pools and the counters that prove that steady use allocates nothing.
#include "base/pool.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <set>
#include <vector>

#include "base/rng.h"

namespace ph {
namespace {

TEST(pool, blocks_are_aligned_distinct_and_counted) {
  block_pool pool(100, 8);
  EXPECT_EQ(pool.block_bytes(), 128u);
  std::set<void*> blocks;
  for (int i = 0; i < 20; ++i) {
    void* block = pool.allocate();
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(block) % 64, 0u);
    std::memset(block, i, pool.block_bytes());
    EXPECT_TRUE(blocks.insert(block).second);
  }
  EXPECT_EQ(pool.stats().live, 20u);
  EXPECT_EQ(pool.stats().allocated, 20u);
  EXPECT_EQ(pool.stats().slabs, 3u);
  for (void* block : blocks) pool.release(block);
  EXPECT_EQ(pool.stats().live, 0u);
  EXPECT_EQ(pool.stats().allocated, 20u);
}

TEST(pool, steady_use_never_goes_back_to_the_heap) {
  block_pool pool(64, 16);
  rng random(1);
  std::vector<void*> held;
  for (int step = 0; step < 10000; ++step) {
    if (held.size() < 16 && (held.empty() || random.chance(0.5))) {
      held.push_back(pool.allocate());
    } else {
      std::swap(held[random.below(held.size())], held.back());
      pool.release(held.back());
      held.pop_back();
    }
    ASSERT_EQ(pool.stats().live, held.size());
  }
  EXPECT_EQ(pool.stats().slabs, 1u);
  for (void* block : held) pool.release(block);
}

TEST(pool, a_peak_goes_back_to_the_heap_when_it_is_over) {
  constexpr u64 many = 9'000;
  block_pool pool(1024, 10);
  std::vector<void*> held;
  for (u64 i = 0; i < many; ++i) held.push_back(pool.allocate());
  EXPECT_EQ(pool.stats().slabs, many / 10);
  while (held.size() > 1) {
    pool.release(held.back());
    held.pop_back();
  }
  pool.release(pool.allocate());
  EXPECT_EQ(pool.stats().slabs, many / 10);  // one is in use: nothing is done
  pool.release(held.back());
  pool.release(pool.allocate());
  EXPECT_EQ(pool.stats().slabs, many / 10 + 1);
  EXPECT_EQ(pool.stats().live, 0u);
}

TEST(pool, trim_returns_what_nobody_uses_and_nothing_else) {
  block_pool pool(64, 8);
  std::vector<void*> held;
  for (int i = 0; i < 80; ++i) {
    held.push_back(pool.allocate());
    std::memset(held.back(), i, pool.block_bytes());
  }
  EXPECT_EQ(pool.trim(), 0u);
  // All but every sixteenth: of ten slabs five are free.
  for (std::size_t i = 0; i < held.size(); ++i) {
    if (i % 16 != 0) pool.release(held[i]);
  }
  EXPECT_EQ(pool.trim(), 5 * 8 * pool.block_bytes());
  EXPECT_EQ(pool.trim(), 0u);
  std::set<void*> fresh;
  for (int i = 0; i < 75; ++i) fresh.insert(pool.allocate());
  EXPECT_EQ(fresh.size(), 75u);
  for (std::size_t i = 0; i < held.size(); i += 16) {
    EXPECT_FALSE(fresh.contains(held[i]));
    EXPECT_EQ(*static_cast<unsigned char*>(held[i]), i);
    pool.release(held[i]);
  }
  for (void* block : fresh) pool.release(block);
  EXPECT_EQ(pool.trim(), 10 * 8 * pool.block_bytes());
  EXPECT_EQ(pool.trim(), 0u);
}

TEST(pool, last_released_is_first_reused) {
  block_pool pool(64, 4);
  void* a = pool.allocate();
  void* b = pool.allocate();
  pool.release(a);
  pool.release(b);
  EXPECT_EQ(pool.allocate(), b);
  EXPECT_EQ(pool.allocate(), a);
  pool.release(a);
  pool.release(b);
}

}  // namespace
}  // namespace ph
