// Quantities with units: each unit, exactness, and what is refused.
#include "daemon/units.h"

#include <gtest/gtest.h>

namespace ph {
namespace {

TEST(units, rates_are_powers_of_a_thousand_as_in_tc) {
  EXPECT_EQ(parse_rate("1bit")->bps, 1u);
  EXPECT_EQ(parse_rate("64kbit")->bps, 64'000u);
  EXPECT_EQ(parse_rate("2.5mbit")->bps, 2'500'000u);
  EXPECT_EQ(parse_rate("1000gbit")->bps, 1'000'000'000'000u);
}

TEST(units, times_are_exact_to_the_nanosecond) {
  EXPECT_EQ(parse_duration("1ns"), nanoseconds(1));
  EXPECT_EQ(parse_duration("250us"), microseconds(250));
  EXPECT_EQ(parse_duration("0.1ms"), microseconds(100));
  EXPECT_EQ(parse_duration("1.000000001s"), nanoseconds(1'000'000'001));
  EXPECT_EQ(parse_duration("0"), nanoseconds(0));
}

TEST(units, percentages_become_shares) {
  EXPECT_DOUBLE_EQ(*parse_percent("0.5%"), 0.005);
  EXPECT_DOUBLE_EQ(*parse_percent("100%"), 1);
  EXPECT_DOUBLE_EQ(*parse_percent("0"), 0);
}

TEST(units, what_is_no_quantity_is_refused) {
  for (const char* text : {"", "ms", "-1ms", "+1ms", "1e3ms", "0x1ms", "1 ms", "1ms ", "1mss",
                           "1", "1MS", "nan", "inf", "infs", ".5ms", "1..5ms", "3601s"}) {
    EXPECT_FALSE(parse_duration(text)) << text;
  }
  for (const char* text : {"100", "0", "0bit", "1mbps", "1001gbit", "1tbit", "-1bit"}) {
    EXPECT_FALSE(parse_rate(text)) << text;
  }
  for (const char* text : {"5", "101%", "-1%", "%", "1%%"}) {
    EXPECT_FALSE(parse_percent(text)) << text;
  }
  for (const char* text : {"", "0", "11", "1.0", "0x1", " 1", "1 ", "-1", "18446744073709551616"}) {
    EXPECT_FALSE(parse_count(text, 1, 10)) << text;
  }
  EXPECT_EQ(parse_count("10", 1, 10), 10u);
}

}  // namespace
}  // namespace ph
