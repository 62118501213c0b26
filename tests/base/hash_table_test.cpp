// hash_table against std::map by random commands, and its promises about order.
#include "base/hash_table.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <vector>

#include "base/hash.h"
#include "base/rng.h"

namespace ph {
namespace {

struct entry : hash_hook<struct entry_tag> {
  explicit entry(u64 k, int v = 0) : key(k), value(v) {}
  u64 key;
  int value;
};
using table = hash_table<entry, entry_tag>;

entry* lookup(const table& t, u64 key, u64 hash) {
  return t.find(hash, [&](const entry& e) { return e.key == key; });
}

/// Random insertions, removals and lookups; `hash_of` decides how bad the collisions are.
void agree_with_a_map(u64 seed, u64 (*hash_of)(u64)) {
  rng random(seed);
  std::map<u64, std::unique_ptr<entry>> model;
  table t(4);
  for (int step = 0; step < 20000; ++step) {
    const u64 key = random.below(600);
    const auto found = model.find(key);
    ASSERT_EQ(lookup(t, key, hash_of(key)), found == model.end() ? nullptr : found->second.get());
    const u64 action = random.below(100);
    if (action < 55 && found == model.end()) {
      auto fresh = std::make_unique<entry>(key, step);
      t.insert(*fresh, hash_of(key));
      model.emplace(key, std::move(fresh));
    } else if (action < 98 && found != model.end()) {
      t.erase(*found->second);
      ASSERT_FALSE(found->second->hashed());
      model.erase(found);
    } else if (action == 99 && step % 7 == 0) {
      t.clear();
      model.clear();
    }
    ASSERT_EQ(t.size(), model.size());
  }
  std::size_t visited = 0;
  t.for_each([&](entry& e) {
    ++visited;
    ASSERT_EQ(model.at(e.key).get(), &e);
  });
  EXPECT_EQ(visited, model.size());
  t.clear();
}

TEST(hash_table, agrees_with_a_map) {
  agree_with_a_map(1, [](u64 key) { return mix64(key); });
}
TEST(hash_table, agrees_with_a_map_when_many_collide) {
  agree_with_a_map(2, [](u64 key) { return key % 5; });
}
TEST(hash_table, agrees_with_a_map_when_all_collide) {
  agree_with_a_map(3, [](u64) { return u64{42}; });
}

TEST(hash_table, equal_hashes_are_visited_in_order_of_insertion_across_growth) {
  std::vector<std::unique_ptr<entry>> all;
  table t(1);
  for (u64 i = 0; i < 200; ++i) {
    all.push_back(std::make_unique<entry>(i));
    t.insert(*all.back(), i % 3);
  }
  for (u64 hash = 0; hash < 3; ++hash) {
    u64 next = hash;
    t.for_hash(hash, [&](const entry& e) {
      EXPECT_EQ(e.key, next);
      next += 3;
      return false;
    });
    EXPECT_GE(next, 200u);
  }
  int calls = 0;
  t.for_hash(1, [&](const entry&) { return ++calls == 2; });
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(lookup(t, 4, 1), all[4].get());
  EXPECT_EQ(lookup(t, 4, 2), nullptr);  // right key, wrong hash
  t.clear();
}

TEST(hash_table, iteration_is_repeatable) {
  const auto order = [] {
    std::vector<std::unique_ptr<entry>> all;
    table t;
    std::vector<u64> out;
    for (u64 i = 0; i < 300; ++i) {
      all.push_back(std::make_unique<entry>(i));
      t.insert(*all.back(), mix64(i));
      if (i % 3 == 0) t.erase(all[i / 2]->hashed() ? *all[i / 2] : *all[i]);
    }
    t.for_each([&](entry& e) { out.push_back(e.key); });
    t.clear();
    return out;
  };
  EXPECT_EQ(order(), order());
}

TEST(hash_table, for_each_may_erase_what_it_is_given) {
  std::vector<std::unique_ptr<entry>> all;
  table t;
  for (u64 i = 0; i < 100; ++i) {
    all.push_back(std::make_unique<entry>(i));
    t.insert(*all.back(), mix64(i));
  }
  t.for_each([&](entry& e) {
    if (e.key % 2 == 0) t.erase(e);
  });
  EXPECT_EQ(t.size(), 50u);
  EXPECT_EQ(lookup(t, 2, mix64(2)), nullptr);
  EXPECT_NE(lookup(t, 3, mix64(3)), nullptr);
  t.clear();
  EXPECT_FALSE(all[3]->hashed());
}

}  // namespace
}  // namespace ph
