// UDP: golden bytes, each field there and back, every truncation, checksum rules.
#include "wire/udp.h"

#include <gtest/gtest.h>

#include "tests/wire/golden.h"
#include "wire/ipv4.h"

namespace ph {
namespace {

constexpr ipv4_addr localhost(127, 0, 0, 1);

std::vector<u8> payload_of(const std::vector<u8>& frame) {
  const auto packet = golden::without_link(frame);
  const byte_view payload = ipv4_view::parse(packet)->payload;
  return {payload.begin(), payload.end()};
}

std::vector<u8> emitted(const udp_datagram& datagram, ipv4_addr saddr, ipv4_addr daddr) {
  std::vector<u8> bytes(8 + datagram.payload.size());
  bytes.resize(emit(bytes, datagram, saddr, daddr));
  return bytes;
}

TEST(udp, golden_datagram) {
  const auto bytes = payload_of(golden::udp_ping());
  const auto udp = udp_view::parse(bytes);
  ASSERT_TRUE(udp);
  EXPECT_EQ(udp->uh->source.value(), 59924);
  EXPECT_EQ(udp->uh->dest.value(), 9999);
  EXPECT_EQ(udp->uh->len.value(), 12);
  EXPECT_EQ(text_of(udp->payload), "ping");
  // The sender left its pseudo header sum in the field for the device to finish.
  const auto pseudo = csum_pseudo_ipv4(localhost, localhost, uapi::ipproto_udp, 12);
  EXPECT_EQ(static_cast<u16>(~csum_fold(pseudo).value()), udp->uh->check.value());
  EXPECT_FALSE(udp->checksum_ok(localhost, localhost));
  auto finished = emitted(udp->datagram(), localhost, localhost);
  EXPECT_TRUE(udp_view::parse(finished)->checksum_ok(localhost, localhost));
  EXPECT_FALSE(udp_view::parse(finished)->checksum_ok(localhost, ipv4_addr(127, 0, 0, 2)));
  finished[6] = bytes[6];
  finished[7] = bytes[7];
  EXPECT_EQ(finished, bytes);
}

TEST(udp, known_checksum) {
  // By hand: 9801 + 331b + 980e + 5e4b + 0011 + 000a (pseudo header) + a08f + 2694 + 000a + 4869
  // = 2d126, folded d128, complemented 2ed7.
  const u8 data[] = {0x48, 0x69};
  const auto bytes = emitted({0xa08f, 0x2694, data}, ipv4_addr(152, 1, 51, 27),
                             ipv4_addr(152, 14, 94, 75));
  EXPECT_EQ(udp_view::parse(bytes)->uh->check.value(), 0x2ed7);
}

TEST(udp, each_field_comes_back) {
  const u8 data[] = {9, 8, 7, 6, 5};
  std::vector<udp_datagram> all(4);
  all[0].source = 0x1234;
  all[1].dest = 0xfedc;
  all[2].payload = data;
  for (const udp_datagram& in : all) {
    const auto bytes = emitted(in, localhost, localhost);
    const auto udp = udp_view::parse(bytes);
    ASSERT_TRUE(udp);
    EXPECT_TRUE(udp->checksum_ok(localhost, localhost));
    EXPECT_EQ(udp->datagram().source, in.source);
    EXPECT_EQ(udp->datagram().dest, in.dest);
    EXPECT_TRUE(std::ranges::equal(udp->payload, in.payload));
  }
}

TEST(udp, every_truncation_and_every_length_field) {
  auto bytes = payload_of(golden::udp_ping());
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    const auto part = golden::cut(bytes, n);
    EXPECT_EQ(udp_view::parse(part).error(), n < 8 ? errc::badmsg : errc::msgsize);
    std::vector<u8> room(n);
    EXPECT_EQ(emit(room, udp_view::parse(bytes)->datagram(), localhost, localhost), 0u);
  }
  for (unsigned len = 0; len < 256; ++len) {
    bytes[5] = static_cast<u8>(len);
    const auto udp = udp_view::parse(bytes);
    if (len >= 8 && len <= 12) {
      EXPECT_EQ(udp->payload.size(), len - 8);
    } else {
      EXPECT_EQ(udp.error(), len < 8 ? errc::badmsg : errc::msgsize);
    }
  }
}

TEST(udp, zero_checksum_means_none_and_is_never_sent) {
  auto bytes = payload_of(golden::udp_ping());
  bytes[6] = bytes[7] = 0;
  EXPECT_TRUE(udp_view::parse(bytes)->checksum_ok(localhost, localhost));
  EXPECT_EQ(udp_checksum_on_wire(be16(0)), be16(0xffff));
  EXPECT_EQ(udp_checksum_on_wire(be16(5)), be16(5));
  bool met = false;  // one of all source ports makes the sum zero
  for (unsigned port = 0; port < 65536; ++port) {
    const auto one = emitted({static_cast<u16>(port), 53, {}}, localhost, localhost);
    const auto udp = udp_view::parse(one);
    ASSERT_NE(udp->uh->check, be16(0));
    ASSERT_TRUE(udp->checksum_ok(localhost, localhost));
    met = met || udp->uh->check == be16(0xffff);
  }
  EXPECT_TRUE(met);
}

TEST(udp, too_long_for_its_length_field) {
  const std::vector<u8> data(65528);
  EXPECT_TRUE(emitted({1, 2, data}, localhost, localhost).empty());
  EXPECT_FALSE(emitted({1, 2, byte_view(data).first(65527)}, localhost, localhost).empty());
}

}  // namespace
}  // namespace ph
