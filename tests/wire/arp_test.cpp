// ARP: golden bytes, each field there and back, every truncation.
#include "wire/arp.h"

#include <gtest/gtest.h>

#include "tests/wire/golden.h"

namespace ph {
namespace {

constexpr mac_addr mac_a{{2, 0, 0, 0, 0, 1}};
constexpr mac_addr mac_b{{2, 0x11, 0x22, 0x33, 0x44, 0x55}};

TEST(arp, golden_request) {
  const auto bytes = golden::without_link(golden::arp_request());
  const auto arp = arp_view::parse(bytes);
  ASSERT_TRUE(arp);
  const arp_message expected{uapi::arpop_request, mac_a, ipv4_addr(10, 0, 0, 1), {},
                             ipv4_addr(10, 0, 0, 2)};
  EXPECT_EQ(arp->message(), expected);
  std::vector<u8> out(28);
  EXPECT_EQ(emit(out, expected), 28u);
  EXPECT_EQ(out, bytes);
}

TEST(arp, each_field_comes_back) {
  const arp_message blank;
  std::vector<arp_message> all(5, blank);
  all[0].op = 0x1234;
  all[1].sha = mac_b;
  all[2].sip = ipv4_addr(1, 2, 3, 4);
  all[3].tha = mac_b;
  all[4].tip = ipv4_addr(5, 6, 7, 8);
  for (const arp_message& message : all) {
    std::vector<u8> bytes(28);
    ASSERT_EQ(emit(bytes, message), 28u);
    EXPECT_EQ(arp_view::parse(bytes)->message(), message);
    EXPECT_FALSE(message == blank);
  }
}

TEST(arp, every_truncation_is_refused_and_padding_is_ignored) {
  auto bytes = golden::without_link(golden::arp_request());
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    EXPECT_EQ(arp_view::parse(golden::cut(bytes, n)).error(), errc::badmsg) << n;
    std::vector<u8> room(n);
    EXPECT_EQ(emit(room, arp_message{}), 0u);
  }
  bytes.resize(46);
  EXPECT_TRUE(arp_view::parse(bytes));
}

TEST(arp, other_families_and_lengths) {
  const auto with = [](std::size_t at, u8 value) {
    auto bytes = golden::without_link(golden::arp_request());
    bytes[at] = value;
    return arp_view::parse(bytes);
  };
  EXPECT_TRUE(with(1, 6));  // IEEE 802
  EXPECT_EQ(with(1, 7).error(), errc::afnosupport);
  EXPECT_EQ(with(2, 0x86).error(), errc::afnosupport);
  EXPECT_EQ(with(4, 8).error(), errc::badmsg);
  EXPECT_EQ(with(5, 16).error(), errc::badmsg);
}

}  // namespace
}  // namespace ph
