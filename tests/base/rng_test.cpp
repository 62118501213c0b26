// Repeatable chance: the reference stream, forks by name, bounds.
#include "base/rng.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

namespace ph {
namespace {

std::vector<u64> draws(rng random, std::size_t n = 100) {
  std::vector<u64> out(n);
  for (u64& draw : out) draw = random.next();
  return out;
}

TEST(rng, stream_of_seed_zero) {
  // xoshiro256** seeded with splitmix64(0), as its authors recommend: the same in every language.
  const auto first = draws(rng(0), 4);
  EXPECT_EQ(first, (std::vector<u64>{0x99ec5f36cb75f2b4, 0xbf6e1f784956452a, 0x1a5f849d4933e6e0,
                                     0x6aa594f1262d2d2c}));
}

TEST(rng, same_seed_same_stream) {
  EXPECT_EQ(draws(rng(7)), draws(rng(7)));
  EXPECT_NE(draws(rng(7)), draws(rng(8)));
}

TEST(rng, forks_are_named_streams_that_do_not_disturb_their_parent) {
  rng parent(9);
  const auto expected = draws(parent);
  const auto alpha = draws(parent.fork("alpha"));
  const auto beta = draws(parent.fork("beta"));
  EXPECT_EQ(draws(parent), expected);
  EXPECT_EQ(draws(parent.fork("alpha")), alpha);  // order of forking does not matter
  EXPECT_NE(alpha, beta);
  EXPECT_NE(alpha, expected);
  EXPECT_NE(draws(rng(10).fork("alpha")), alpha);
  EXPECT_NE(draws(parent.fork("alpha").fork("beta")), draws(parent.fork("beta").fork("alpha")));
}

TEST(rng, forks_of_many_names_share_no_draws) {
  const rng parent(11);
  std::set<u64> seen;
  for (int host = 0; host < 1000; ++host) {
    for (const u64 draw : draws(parent.fork("host" + std::to_string(host)), 10)) {
      EXPECT_TRUE(seen.insert(draw).second);
    }
  }
}

TEST(rng, below_stays_below_and_reaches_all) {
  rng random(12);
  EXPECT_EQ(random.below(0), 0u);
  for (const u64 bound : {1, 2, 3, 7, 10}) {
    std::vector<int> counts(bound);
    for (int i = 0; i < 10000; ++i) ++counts.at(random.below(bound));
    const double expected = 10000.0 / static_cast<double>(bound);
    for (const int count : counts) EXPECT_NEAR(count, expected, 400);
  }
  for (int i = 0; i < 1000; ++i) EXPECT_LT(random.below(~u64{0} - 5), ~u64{0} - 5);
}

TEST(rng, uniform_and_chance) {
  rng random(13);
  double sum = 0;
  int heads = 0;
  for (int i = 0; i < 20000; ++i) {
    const double x = random.uniform();
    ASSERT_GE(x, 0);
    ASSERT_LT(x, 1);
    sum += x;
    heads += random.chance(0.25) ? 1 : 0;
    ASSERT_FALSE(random.chance(0));
    ASSERT_TRUE(random.chance(1));
  }
  EXPECT_NEAR(sum / 20000, 0.5, 0.02);
  EXPECT_NEAR(heads / 20000.0, 0.25, 0.02);
}

}  // namespace
}  // namespace ph
