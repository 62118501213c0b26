// Ethernet and VLAN headers: golden bytes, each field there and back, every truncation.
#include "wire/ethernet.h"

#include <gtest/gtest.h>

#include "tests/wire/golden.h"

namespace ph {
namespace {

constexpr mac_addr mac_a{{2, 0, 0, 0, 0, 1}};
constexpr mac_addr mac_b{{2, 0x11, 0x22, 0x33, 0x44, 0x55}};

TEST(ethernet, golden_frame) {
  const auto bytes = golden::arp_request();
  const auto eth = ethernet_view::parse(bytes);
  ASSERT_TRUE(eth);
  EXPECT_EQ(eth->header(), (ethernet_header{mac_addr::broadcast(), mac_a, uapi::eth_p_arp}));
  EXPECT_EQ(eth->payload.size(), bytes.size() - 14);
  EXPECT_EQ(eth->payload.data(), bytes.data() + 14);
  std::array<u8, 14> out{};
  EXPECT_EQ(emit(out, eth->header()), 14u);
  EXPECT_TRUE(std::equal(out.begin(), out.end(), bytes.begin()));
}

TEST(ethernet, each_field_comes_back) {
  for (const ethernet_header& header :
       {ethernet_header{mac_b, {}, 0}, ethernet_header{{}, mac_b, 0},
        ethernet_header{{}, {}, 0x1234}}) {
    std::array<u8, 14> bytes{};
    ASSERT_EQ(emit(bytes, header), bytes.size());
    EXPECT_EQ(ethernet_view::parse(bytes)->header(), header);
  }
}

TEST(ethernet, every_truncation_is_refused) {
  const auto bytes = golden::syn();
  for (std::size_t n = 0; n < sizeof(ethhdr); ++n) {
    EXPECT_EQ(ethernet_view::parse(golden::cut(bytes, n)).error(), errc::badmsg);
    std::vector<u8> room(n, 0xaa);
    EXPECT_EQ(emit(room, ethernet_header{}), 0u);
    EXPECT_EQ(room, std::vector<u8>(n, 0xaa));
  }
  EXPECT_TRUE(ethernet_view::parse(golden::cut(bytes, sizeof(ethhdr)))->payload.empty());
}

TEST(ethernet, vlan_tag_fields) {
  const auto bytes = golden::from_hex("a00508dd");
  const auto& vlan = *view_as<vlan_hdr>(byte_view(bytes));
  EXPECT_EQ(vlan.vid(), 5);
  EXPECT_EQ(vlan.pcp(), 5);
  EXPECT_EQ(vlan.h_vlan_encapsulated_proto.value(), 0x08dd);
  EXPECT_TRUE(eth_type_vlan(0x8100));
  EXPECT_TRUE(eth_type_vlan(0x88a8));
  EXPECT_FALSE(eth_type_vlan(0x0800));
}

}  // namespace
}  // namespace ph
