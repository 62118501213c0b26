// Flow keys from frames, and the hashes made of them.
#include "wire/dissect.h"

#include <gtest/gtest.h>

#include "tests/wire/golden.h"
#include "wire/ipv4.h"

namespace ph {
namespace {

flow_keys packet(ipv4_addr saddr, ipv4_addr daddr, u16 source, u16 dest) {
  flow_keys keys;
  keys.n_proto = uapi::eth_p_ip;
  keys.ip_proto = uapi::ipproto_tcp;
  keys.transport_offset = 20;
  keys.saddr = saddr;
  keys.daddr = daddr;
  keys.source = source;
  keys.dest = dest;
  keys.has_ports = true;
  return keys;
}

TEST(dissect, tcp_frame) {
  const auto frame = golden::syn();
  const auto keys = dissect_ethernet(frame);
  ASSERT_TRUE(keys);
  EXPECT_EQ(keys->n_proto, uapi::eth_p_ip);
  EXPECT_EQ(keys->ip_proto, uapi::ipproto_tcp);
  EXPECT_EQ(keys->saddr, ipv4_addr(127, 0, 0, 1));
  EXPECT_EQ(keys->source, 54726);
  EXPECT_EQ(keys->dest, 8080);
  EXPECT_TRUE(keys->has_ports);
  EXPECT_FALSE(keys->is_fragment);
  EXPECT_FALSE(keys->has_vlan);
  EXPECT_EQ(keys->network_offset, 14);
  EXPECT_EQ(keys->transport_offset, 34);
  const auto raw = golden::without_link(frame);
  auto same = *keys;
  same.network_offset = 0;
  same.transport_offset = 20;
  EXPECT_EQ(*dissect_ipv4(raw), same);
}

TEST(dissect, options_move_the_transport_header) {
  const auto keys = dissect_ethernet(golden::echo_request());
  EXPECT_EQ(keys->transport_offset, 46);
  EXPECT_EQ(keys->ip_proto, uapi::ipproto_icmp);
  EXPECT_FALSE(keys->has_ports);
}

TEST(dissect, vlan_tags) {
  auto frame = golden::udp_ping();
  const auto tag = golden::from_hex("8100 2005");
  frame.insert(frame.begin() + 12, tag.begin(), tag.end());
  const auto one = dissect_ethernet(frame);
  ASSERT_TRUE(one);
  EXPECT_TRUE(one->has_vlan);
  EXPECT_EQ(one->vlan_tci, 0x2005);
  EXPECT_EQ(one->dest, 9999);
  EXPECT_EQ(one->transport_offset, 38);
  const auto outer = golden::from_hex("88a8 0007");
  frame.insert(frame.begin() + 12, outer.begin(), outer.end());
  const auto two = dissect_ethernet(frame);
  EXPECT_EQ(two->vlan_tci, 7);
  EXPECT_EQ(two->n_proto, uapi::eth_p_ip);
  EXPECT_EQ(two->network_offset, 22);
  frame.insert(frame.begin() + 12, outer.begin(), outer.end());
  EXPECT_EQ(dissect_ethernet(frame)->n_proto, 0x8100);  // a third one is not looked through
}

TEST(dissect, fragments_have_no_ports) {
  for (const u16 frag_off : {ip_mf, u16{185}, static_cast<u16>(ip_mf | 185)}) {
    auto frame = golden::udp_ping();
    view_as<iphdr>(byte_span(frame), 14)->frag_off.set(frag_off);
    const auto keys = dissect_ethernet(frame);
    ASSERT_TRUE(keys);
    EXPECT_TRUE(keys->is_fragment);
    EXPECT_FALSE(keys->has_ports);
    EXPECT_EQ(keys->source, 0);
  }
}

TEST(dissect, not_ipv4) {
  const auto keys = dissect_ethernet(golden::arp_request());
  ASSERT_TRUE(keys);
  EXPECT_EQ(keys->n_proto, uapi::eth_p_arp);
  EXPECT_EQ(keys->transport_offset, 0);
  EXPECT_EQ(rss_hash(*keys, rss_default_key), 0u);
}

TEST(dissect, every_truncation) {
  const auto frame = golden::udp_ping();
  for (std::size_t n = 0; n < frame.size(); ++n) {
    EXPECT_EQ(dissect_ethernet(golden::cut(frame, n)).error(),
              n < 34 ? errc::badmsg : errc::msgsize);
  }
  auto short_udp = golden::without_link(frame);
  short_udp.resize(23);  // a valid packet with three bytes of UDP
  view_as<iphdr>(byte_span(short_udp))->tot_len.set(23);
  EXPECT_FALSE(dissect_ipv4(short_udp)->has_ports);
}

TEST(dissect, reversed_are_the_keys_of_the_answer) {
  const auto there = dissect_ethernet(golden::syn());
  const auto back = dissect_ethernet(golden::syn_ack());
  EXPECT_EQ(there->reversed(), *back);
  EXPECT_EQ(back->reversed(), *there);
}

// The verification suite published with the RSS specification.
TEST(rss, published_vectors) {
  struct vector {
    ipv4_addr saddr;
    u16 source;
    ipv4_addr daddr;
    u16 dest;
    u32 with_ports, without;
  };
  const auto ip = [](u8 a, u8 b, u8 c, u8 d) { return ipv4_addr(a, b, c, d); };
  const vector vectors[] = {
      {ip(66, 9, 149, 187), 2794, ip(161, 142, 100, 80), 1766, 0x51ccc178, 0x323e8fc2},
      {ip(199, 92, 111, 2), 14230, ip(65, 69, 140, 83), 4739, 0xc626b0ea, 0xd718262a},
      {ip(24, 19, 198, 95), 12898, ip(12, 22, 207, 184), 38024, 0x5c2b394a, 0xd2d0a5de},
      {ip(38, 27, 205, 30), 48228, ip(209, 142, 163, 6), 2217, 0xafc7327f, 0x82989176},
      {ip(153, 39, 163, 191), 44251, ip(202, 188, 127, 2), 1303, 0x10e828a2, 0x5d1809c5},
  };
  for (const vector& v : vectors) {
    flow_keys keys = packet(v.saddr, v.daddr, v.source, v.dest);
    EXPECT_EQ(rss_hash(keys, rss_default_key), v.with_ports);
    keys.has_ports = false;
    EXPECT_EQ(rss_hash(keys, rss_default_key), v.without);
  }
}

TEST(rss, input_is_addresses_then_ports) {
  rss_tuple room;
  const auto input = rss_input(packet(ipv4_addr(1, 2, 3, 4), ipv4_addr(5, 6, 7, 8), 9, 10), room);
  EXPECT_EQ(std::vector<u8>(input.begin(), input.end()),
            golden::from_hex("01020304 05060708 0009 000a"));
}

TEST(flow_hash, depends_on_each_key_and_on_the_secret) {
  const flow_keys base = packet(ipv4_addr(1, 2, 3, 4), ipv4_addr(5, 6, 7, 8), 9, 10);
  const siphash_key key{1, 2};
  const u64 hash = flow_hash(base, key);
  EXPECT_EQ(flow_hash(base, key), hash);
  EXPECT_NE(flow_hash(base, {1, 3}), hash);
  EXPECT_NE(flow_hash(base.reversed(), key), hash);
  auto other = base;
  other.ip_proto = 17;
  EXPECT_NE(flow_hash(other, key), hash);
  other = base;
  other.source ^= 1;
  EXPECT_NE(flow_hash(other, key), hash);
  other = base;
  other.dest ^= 1;
  EXPECT_NE(flow_hash(other, key), hash);
}

}  // namespace
}  // namespace ph
