// Sequence-number order, proved for every pair on an 8-bit circle.
#include "base/seq.h"

#include <gtest/gtest.h>

namespace ph {
namespace {

using seq8 = serial_number<u8, struct test_tag>;

TEST(seq, order_is_signed_distance_for_every_pair) {
  for (int a = 0; a < 256; ++a) {
    for (int d = 0; d < 256; ++d) {
      const seq8 low(static_cast<u8>(a));
      const seq8 high(static_cast<u8>(a + d));
      EXPECT_EQ(low < high, d >= 1 && d <= 128 ? d != 128 || (low - high) < 0 : false);
      EXPECT_EQ(low == high, d == 0);
      EXPECT_EQ(high - low, static_cast<s8>(d));
      EXPECT_EQ(low + static_cast<u8>(d), high);
    }
  }
}

TEST(seq, between_agrees_with_walking_the_circle) {
  for (int low = 0; low < 256; low += 5) {
    for (int span = 0; span < 256; ++span) {
      for (int x = 0; x < 256; x += 3) {
        const bool inside = static_cast<u8>(x - low) <= span;
        EXPECT_EQ(between(seq8(static_cast<u8>(x)), seq8(static_cast<u8>(low)),
                          seq8(static_cast<u8>(low + span))),
                  inside);
      }
    }
  }
}

}  // namespace
}  // namespace ph
