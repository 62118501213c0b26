// Durations, instants and rates.
#include "base/time.h"

#include <gtest/gtest.h>

#include "base/rng.h"

namespace ph {
namespace {

using namespace literals;

TEST(time, arithmetic) {
  EXPECT_EQ(1_s, 1000_ms);
  EXPECT_EQ(1_ms, 1000_us);
  EXPECT_EQ(1_us, 1000_ns);
  EXPECT_EQ(3_s - 1_s + 5_ms, 2005_ms);
  EXPECT_EQ(-(2_ms), duration{-2'000'000});
  EXPECT_EQ(2_ms * 3, 6_ms);
  EXPECT_EQ(7_ms / 2, 3500_us);
  EXPECT_EQ(7_ms / 2_ms, 3);
  EXPECT_EQ((1500_us).ms(), 1);
  EXPECT_EQ((1500_ns).us(), 1);
  EXPECT_DOUBLE_EQ((1500_ms).seconds(), 1.5);
  duration d = 1_s;
  d += 1_ms;
  EXPECT_EQ(d, 1001_ms);
  instant t{5};
  EXPECT_EQ(t + 10_ns - t, 10_ns);
  EXPECT_EQ(t + 10_ns - 3_ns, instant{12});
  t += 1_us;
  EXPECT_EQ(t, instant{1005});
  EXPECT_LT(t, never);
  EXPECT_EQ((instant{2'500'000}).ms(), 2);
  EXPECT_EQ((instant{2'500'000}).us(), 2500);
}

TEST(bit_rate, time_on_the_wire) {
  EXPECT_EQ(bit_rate{}.transmit_time(1500), 0_ns);
  EXPECT_EQ((8_mbit).transmit_time(1), 1_us);
  EXPECT_EQ((100_mbit).transmit_time(1514), 121120_ns);
  EXPECT_EQ((1_gbit).transmit_time(1514), 12112_ns);
  EXPECT_EQ((10_gbit).transmit_time(64), 51_ns);  // 51.2
  EXPECT_EQ((100_gbit).transmit_time(1), 0_ns);   // 0.08
  EXPECT_EQ((bit_rate{1}).transmit_time(1), 8_s);
  EXPECT_EQ((bit_rate{9600}).transmit_time(1500), 1250_ms);
  EXPECT_EQ((1_gbit).transmit_time(u64{125'000'000} * 3600), 3600_s);  // past one division
  EXPECT_EQ((400_gbit).transmit_time(u64{50'000'000'000} * 60 + 50), 60'000'000'001_ns);
}

TEST(bit_rate, matches_wide_integers_for_any_packet) {
  rng random(2);
  for (int i = 0; i < 20000; ++i) {
    const u64 bytes = random.below(1 << 20);
    const bit_rate rate{random.below(u64{1} << (10 + random.below(30))) + 1};
    __extension__ using wide = unsigned __int128;
    EXPECT_EQ(rate.transmit_time(bytes).ns,
              static_cast<s64>(static_cast<wide>(bytes) * 8 * 1'000'000'000 / rate.bps));
  }
}

}  // namespace
}  // namespace ph
