// ICMP: golden bytes, each field there and back, every truncation.
#include "wire/icmp.h"

#include <gtest/gtest.h>

#include "tests/wire/golden.h"
#include "wire/ipv4.h"
#include "wire/udp.h"

namespace ph {
namespace {

std::vector<u8> payload_of(const std::vector<u8>& frame) {
  const auto packet = golden::without_link(frame);
  const byte_view payload = ipv4_view::parse(packet)->payload;
  return {payload.begin(), payload.end()};
}

std::vector<u8> emitted(const icmp_message& message) {
  std::vector<u8> bytes(8 + message.payload.size());
  bytes.resize(emit(bytes, message));
  return bytes;
}

TEST(icmp, golden_echo) {
  for (const auto& frame : {golden::echo_request(), golden::echo_reply()}) {
    const auto bytes = payload_of(frame);
    const auto icmp = icmp_view::parse(bytes);
    ASSERT_TRUE(icmp);
    EXPECT_TRUE(icmp->checksum_ok());
    EXPECT_EQ(icmp->icmph->echo_id(), 7);
    EXPECT_EQ(icmp->icmph->echo_sequence(), 1);
    EXPECT_EQ(text_of(icmp->payload), "abcdefgh");
    EXPECT_EQ(emitted(icmp->message()), bytes);
  }
}

TEST(icmp, golden_port_unreachable_quotes_the_datagram) {
  const auto bytes = payload_of(golden::port_unreachable());
  const auto icmp = icmp_view::parse(bytes);
  ASSERT_TRUE(icmp);
  EXPECT_TRUE(icmp->checksum_ok());
  EXPECT_EQ(icmp->icmph->type, uapi::icmp_dest_unreach);
  EXPECT_EQ(icmp->icmph->code, uapi::icmp_port_unreach);
  EXPECT_TRUE(icmp_is_error(icmp->icmph->type));
  const auto quoted = ipv4_view::parse(icmp->payload);
  ASSERT_TRUE(quoted);
  EXPECT_EQ(udp_view::parse(quoted->payload)->uh->dest.value(), 9999);
}

TEST(icmp, each_field_comes_back) {
  const u8 data[] = {1, 2, 3};
  std::vector<icmp_message> all(5);
  all[0].type = 0xc5;
  all[1].code = 0x9a;
  all[2].rest = 0x12345678;
  all[3].payload = data;
  for (const icmp_message& in : all) {
    const auto bytes = emitted(in);
    const auto icmp = icmp_view::parse(bytes);
    ASSERT_TRUE(icmp);
    EXPECT_TRUE(icmp->checksum_ok());
    const icmp_message out = icmp->message();
    EXPECT_EQ(out.type, in.type);
    EXPECT_EQ(out.code, in.code);
    EXPECT_EQ(out.rest, in.rest);
    EXPECT_TRUE(std::ranges::equal(out.payload, in.payload));
  }
}

TEST(icmp, the_four_bytes_after_the_checksum) {
  icmphdr icmph;
  icmph.set_rest(0x0a0b0c0d);
  EXPECT_EQ(icmph.gateway(), ipv4_addr(10, 11, 12, 13));
  EXPECT_EQ(icmph.pointer(), 10);
  EXPECT_EQ(icmph.frag_mtu(), 0x0c0d);
  EXPECT_EQ(icmph.echo_id(), 0x0a0b);
  EXPECT_EQ(icmph.echo_sequence(), 0x0c0d);
  icmph.set_echo(0x1122, 0x3344);
  EXPECT_EQ(icmph.rest(), 0x11223344u);
}

TEST(icmp, error_types) {
  for (unsigned type = 0; type < 256; ++type) {
    const bool expected = type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
    EXPECT_EQ(icmp_is_error(static_cast<u8>(type)), expected) << type;
  }
}

TEST(icmp, every_truncation) {
  const auto bytes = payload_of(golden::echo_request());
  for (std::size_t n = 0; n < bytes.size(); ++n) {
    const auto part = golden::cut(bytes, n);
    const auto icmp = icmp_view::parse(part);
    EXPECT_EQ(icmp.has_value(), n >= 8);
    if (icmp) {
      EXPECT_FALSE(icmp->checksum_ok());
    }
    std::vector<u8> room(n);
    EXPECT_EQ(emit(room, icmp_view::parse(bytes)->message()), 0u);
  }
}

}  // namespace
}  // namespace ph
