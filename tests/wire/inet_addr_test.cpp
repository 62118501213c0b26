// Addresses in text and their classes: what is accepted, what is refused.
#include "wire/inet_addr.h"

#include <gtest/gtest.h>

#include "base/rng.h"

namespace ph {
namespace {

TEST(ipv4_addr, accepts_dotted_quads) {
  const std::pair<const char*, u32> table[] = {
      {"0.0.0.0", 0},
      {"255.255.255.255", 0xffffffff},
      {"10.0.0.1", 0x0a000001},
      {"127.0.0.1", 0x7f000001},
      {"1.22.133.244", 0x011685f4},
  };
  for (const auto& [text, value] : table) {
    const auto addr = ipv4_addr::parse(text);
    ASSERT_TRUE(addr) << text;
    EXPECT_EQ(addr->value(), value);
    EXPECT_EQ(addr->to_string(), text);
  }
}

TEST(ipv4_addr, refuses_everything_else) {
  for (const char* text :
       {"", ".", "...", "1", "1.2", "1.2.3", "1.2.3.", ".1.2.3", "1..2.3", "1.2.3.4.", "1.2.3.4.5",
        "1.2.3.256", "256.1.1.1", "1.2.3.999", "1.2.3.1000", "-1.2.3.4", "+1.2.3.4", "1.2.3.+4",
        " 1.2.3.4", "1.2.3.4 ", "1. 2.3.4", "a.b.c.d", "0x1.2.3.4", "1.2.3.4a", "1.2.3.4/8",
        "1,2,3,4", "::1", "localhost"}) {
    EXPECT_FALSE(ipv4_addr::parse(text)) << text;
  }
  EXPECT_FALSE(ipv4_addr::parse(std::string_view("1.2.3\0.4", 8)));
}

TEST(ipv4_addr, refuses_leading_zeros) {
  // inet_aton(3) would read them as octal; a decimal reading would be a trap.
  for (const char* text : {"01.2.3.4", "1.2.3.04", "1.2.3.00", "010.0.0.1"}) {
    EXPECT_FALSE(ipv4_addr::parse(text)) << text;
  }
}

TEST(ipv4_addr, any_value_comes_back_from_text) {
  rng random(41);
  for (int i = 0; i < 5000; ++i) {
    const ipv4_addr addr(random.next32());
    EXPECT_EQ(ipv4_addr::parse(addr.to_string()), addr);
  }
}

TEST(ipv4_addr, lies_in_network_order_and_orders_by_value) {
  const ipv4_addr addr(10, 20, 30, 40);
  const auto bytes = bytes_of(addr);
  EXPECT_EQ(std::vector<u8>(bytes.begin(), bytes.end()), (std::vector<u8>{10, 20, 30, 40}));
  EXPECT_LT(ipv4_addr(9, 255, 255, 255), addr);
  EXPECT_LT(addr, ipv4_addr(10, 20, 30, 41));
}

TEST(ipv4_addr, classes) {
  EXPECT_TRUE(ipv4_addr().is_any());
  EXPECT_TRUE(ipv4_addr(127, 255, 0, 9).is_loopback());
  EXPECT_FALSE(ipv4_addr(128, 0, 0, 1).is_loopback());
  EXPECT_TRUE(ipv4_addr(224, 0, 0, 1).is_multicast());
  EXPECT_TRUE(ipv4_addr(239, 255, 255, 255).is_multicast());
  EXPECT_FALSE(ipv4_addr(240, 0, 0, 1).is_multicast());
  EXPECT_FALSE(ipv4_addr(223, 255, 255, 255).is_multicast());
  EXPECT_TRUE(ipv4_addr(255, 255, 255, 255).is_limited_broadcast());
  EXPECT_FALSE(ipv4_addr(255, 255, 255, 254).is_limited_broadcast());
  EXPECT_TRUE(ipv4_addr(0, 1, 2, 3).is_zeronet());
  EXPECT_TRUE(ipv4_addr(169, 254, 3, 4).is_link_local());
  EXPECT_FALSE(ipv4_addr(169, 255, 3, 4).is_link_local());
}

TEST(ipv4_prefix, text) {
  EXPECT_EQ(ipv4_prefix::parse("10.0.0.0/8"), (ipv4_prefix{ipv4_addr(10, 0, 0, 0), 8}));
  EXPECT_EQ(ipv4_prefix::parse("10.0.0.1/24"), (ipv4_prefix{ipv4_addr(10, 0, 0, 1), 24}));
  EXPECT_EQ(ipv4_prefix::parse("10.0.0.1"), (ipv4_prefix{ipv4_addr(10, 0, 0, 1), 32}));
  EXPECT_EQ(ipv4_prefix::parse("0.0.0.0/0"), (ipv4_prefix{ipv4_addr(), 0}));
  EXPECT_EQ(ipv4_prefix::parse("10.0.0.1/24")->to_string(), "10.0.0.1/24");
  for (const char* text : {"", "/8", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/8 ",
                           "10.0.0.0/8/8", "10.0.0/8", "10.0.0.0/a", "10.0.0.0/ 8", "x/8"}) {
    EXPECT_FALSE(ipv4_prefix::parse(text)) << text;
  }
}

TEST(ipv4_prefix, masks_and_membership) {
  for (unsigned len = 0; len <= 32; ++len) {
    const u64 expected = (u64{0xffffffff} << (32 - len)) & 0xffffffff;
    EXPECT_EQ(ipv4_mask(len).value(), expected) << len;
    const ipv4_prefix prefix{ipv4_addr(10, 20, 30, 40), static_cast<u8>(len)};
    EXPECT_TRUE(prefix.contains(ipv4_addr(10, 20, 30, 40)));
    for (unsigned bit = 0; bit < 32; ++bit) {  // bit 0 is the first of the address
      const ipv4_addr other(prefix.addr.value() ^ (0x80000000u >> bit));
      EXPECT_EQ(prefix.contains(other), bit >= len);
    }
  }
}

TEST(mac_addr, text) {
  const auto mac = mac_addr::parse("02:aB:00:Ff:10:09");
  ASSERT_TRUE(mac);
  EXPECT_EQ(*mac, (mac_addr{{2, 0xab, 0, 0xff, 0x10, 9}}));
  EXPECT_EQ(mac->to_string(), "02:ab:00:ff:10:09");
  for (const char* text :
       {"", "02:ab:00:ff:10", "02:ab:00:ff:10:9", "02:ab:00:ff:10:099", "02-ab-00-ff-10-09",
        "02:ab:00:ff:10:0g", "02:ab:00:ff:10:+9", "02:ab:00:ff:10 09", "2:ab:00:ff:10:09a",
        "02:ab:00:ff:10:09:", " 2:ab:00:ff:10:09", "02:ab:00:ff:10:-9"}) {
    EXPECT_FALSE(mac_addr::parse(text)) << text;
  }
}

TEST(mac_addr, classes) {
  EXPECT_TRUE(mac_addr().is_zero());
  EXPECT_TRUE(mac_addr::broadcast().is_broadcast());
  EXPECT_TRUE(mac_addr::broadcast().is_multicast());
  EXPECT_TRUE((mac_addr{{1, 0, 0x5e, 0, 0, 1}}).is_multicast());
  EXPECT_FALSE((mac_addr{{2, 0, 0, 0, 0, 1}}).is_multicast());
  EXPECT_FALSE((mac_addr{{1, 0, 0x5e, 0, 0, 1}}).is_broadcast());
}

TEST(ipv6_addr, any) {
  ipv6_addr addr;
  EXPECT_TRUE(addr.is_any());
  addr.bytes[15] = 1;
  EXPECT_FALSE(addr.is_any());
}

}  // namespace
}  // namespace ph
