// Super-packets cut in software: the segments must carry the original's bytes with headers that
// a receiver accepts.
#include "net/core/gso.h"

#include "net/core/dev_tx.h"
#include "net/core/sock.h"
#include "tests/core/machine.h"
#include "uapi/inet.h"
#include "wire/ethernet.h"
#include "wire/ipv4.h"
#include "wire/tcp.h"
#include "wire/udp.h"

namespace ph {
namespace {

using test::bytes_in;
using test::machine;
using test::make_skb;

constexpr ipv4_addr from(10, 0, 0, 1), to(10, 0, 0, 2);

struct super {
  u8 protocol = uapi::ipproto_tcp;
  u32 payload = 5000;
  u16 gso_size = 1448;
  std::size_t options = 12;   // of TCP
  std::size_t ip_options = 0;
  u8 flags = tcphdr_ack | tcphdr_psh | tcphdr_fin | tcphdr_cwr;
  u32 linear = 0;             // payload bytes in the linear part; the rest in fragments
  u16 window = 500;           // of TCP
};

std::vector<u8> payload_bytes(u32 n) {
  rng r(n);
  std::vector<u8> out(n);
  for (u8& b : out) b = static_cast<u8>(r.next());
  return out;
}

/// As TCP or UDP hands it to the device: checksum left out, seeded with the pseudo header.
skb_ptr build(machine& m, const super& s) {
  const bool tcp = s.protocol == uapi::ipproto_tcp;
  const std::size_t th_len = tcp ? 20 + s.options : 8, ip_len = 20 + s.ip_options;
  const std::vector<u8> payload = payload_bytes(s.payload);
  std::vector<u8> head(14 + ip_len + th_len);
  EXPECT_EQ(emit(byte_span(head), ethernet_header{{{2, 2}}, {{2, 1}}, uapi::eth_p_ip}), 14u);
  iphdr& iph = *view_as<iphdr>(byte_span(head), 14);
  iph.set_header_bytes(ip_len);
  iph.tot_len = be16(static_cast<u16>(ip_len + th_len + s.payload));
  iph.id = be16(0xfffe);
  iph.frag_off = be16(ip_df);
  iph.ttl = 64;
  iph.protocol = s.protocol;
  iph.saddr = from;
  iph.daddr = to;
  for (std::size_t i = 0; i < s.ip_options; ++i) head[34 + i] = 1;  // no-operation
  const std::size_t at = 14 + ip_len;
  const be16 seed(static_cast<u16>(~csum_fold(csum_pseudo_ipv4(from, to, s.protocol,
      static_cast<u16>(th_len + s.payload))).value()));
  if (tcp) {
    tcphdr& th = *view_as<tcphdr>(byte_span(head), at);
    th.source = be16(1000);
    th.dest = be16(2000);
    th.seq = be32(0xfffff000);
    th.ack_seq = be32(77);
    th.set_header_bytes(th_len);
    th.flags = s.flags;
    th.window = be16(s.window);
    th.check = seed;
    for (std::size_t i = 0; i < s.options; ++i) head[at + 20 + i] = 1;
  } else {
    udphdr& uh = *view_as<udphdr>(byte_span(head), at);
    uh.source = be16(1000);
    uh.dest = be16(2000);
    uh.len = be16(static_cast<u16>(8 + s.payload));
    uh.check = seed;
  }
  skb_ptr skb = alloc_skb(m.cx(), 64 + static_cast<u32>(head.size()) + s.linear);
  skb->reserve(64);
  skb->put_bytes(head);
  skb->put_bytes(byte_view(payload).first(s.linear));
  for (u32 done = s.linear; done < s.payload;) {
    const u32 n = std::min<u32>(s.payload - done, 4096);
    skb_ptr piece = make_skb(m.cx(), byte_view(payload).subspan(done, n), 0);
    EXPECT_TRUE(skb->append_from(*piece));
    consume(m.cx(), std::move(piece));
    done += n;
  }
  skb->set_mac_header();
  skb->set_network_header(14);
  skb->set_transport_header(static_cast<u32>(at));
  skb->protocol = uapi::eth_p_ip;
  skb->ip_summed = checksum_state::partial;
  skb->csum_start = static_cast<u16>(64 + at);
  skb->csum_offset = tcp ? 16 : 6;
  skb->gso_size = s.gso_size;
  skb->gso_type = tcp ? gso_tcpv4 : gso_udp_l4;
  skb->gso_segs = static_cast<u16>(gso_segments(s.payload, s.gso_size));
  return skb;
}

/// The checksum of the first segment of a TCP super-packet that is cut and summed in software.
u16 first_checksum(machine& m, const super& s) {
  skb_queue out;
  EXPECT_TRUE(skb_gso_segment(m.cx(), build(m, s), 0, out));
  const std::vector<u8> frame = bytes_in(*out.front());
  out.purge(m.cx(), drop_reason::dev_gone);
  return view_as<tcphdr>(byte_view(frame), 34)->check.value();
}

TEST(gso_checksum, a_sum_of_zero_stays_zero_in_tcp) {
  machine m;
  super s;
  const u32 window = u32{s.window} + first_checksum(m, s);  // what makes the sum all ones
  s.window = static_cast<u16>((window & 0xffff) + (window >> 16));
  EXPECT_EQ(first_checksum(m, s), 0);
}

struct gso : testing::TestWithParam<std::tuple<super, u32>> {};

TEST_P(gso, segments_carry_the_original) {
  const auto& [s, features] = GetParam();
  const bool tcp = s.protocol == uapi::ipproto_tcp;
  machine m;
  skb_queue out;
  ASSERT_TRUE(skb_gso_segment(m.cx(), build(m, s), features, out));
  EXPECT_EQ(out.size(), gso_segments(s.payload, s.gso_size));
  std::vector<u8> joined;
  for (u32 i = 0; skb_ptr seg = out.pop_front(); ++i) {
    SCOPED_TRACE(i);
    const bool last = out.empty();
    EXPECT_EQ(seg->gso_size, 0);
    EXPECT_TRUE((features & netif_f_sg) != 0 || !seg->is_nonlinear());
    if ((features & netif_f_hw_csum) == 0) {
      EXPECT_EQ(seg->ip_summed, checksum_state::none);
    } else {
      EXPECT_EQ(seg->ip_summed, checksum_state::partial);
      ASSERT_TRUE(skb_checksum_help(m.cx(), *seg));
    }
    const std::vector<u8> frame = bytes_in(*seg);
    const auto ip = ipv4_view::parse(byte_view(frame).subspan(14));
    ASSERT_TRUE(ip.has_value());
    EXPECT_TRUE(ip->checksum_ok());
    EXPECT_EQ(ip->iph->tot_len.value() + 14u, frame.size());
    EXPECT_EQ(ip->iph->id.value(), static_cast<u16>(0xfffe + i));
    EXPECT_TRUE(ip->iph->dont_fragment());
    const csum_partial pseudo =
        csum_pseudo_ipv4(from, to, s.protocol, static_cast<u16>(ip->payload.size()));
    EXPECT_TRUE(csum_ok(csum_add_bytes(ip->payload, pseudo)));
    byte_view data;
    if (tcp) {
      const tcphdr& th = *view_as<tcphdr>(ip->payload);
      EXPECT_EQ(th.seq.value(), static_cast<u32>(0xfffff000 + joined.size()));
      EXPECT_EQ(th.ack_seq.value(), 77u);
      EXPECT_EQ(th.fin(), last);
      EXPECT_EQ(th.psh(), last);
      EXPECT_EQ(th.cwr(), i == 0);
      EXPECT_TRUE(th.ack());
      data = ip->payload.subspan(20 + s.options);
    } else {
      EXPECT_EQ(view_as<udphdr>(ip->payload)->len.value(), ip->payload.size());
      data = ip->payload.subspan(8);
    }
    EXPECT_EQ(data.size(), last ? s.payload - joined.size() : s.gso_size);
    joined.insert(joined.end(), data.begin(), data.end());
    consume(m.cx(), std::move(seg));
  }
  EXPECT_EQ(joined, payload_bytes(s.payload));
}

std::vector<super> supers() {
  std::vector<super> out;
  for (const u32 payload : {1u, 1448u, 1449u, 2896u, 5001u, 60000u}) {
    for (const u32 linear : {0u, payload / 3, std::min(payload, 30000u)}) {
      out.push_back({.payload = payload, .linear = linear});
    }
  }
  out.push_back({.gso_size = 1, .options = 0, .linear = 0});
  out.back().payload = 17;
  out.push_back({.gso_size = 535, .options = 40, .ip_options = 8, .linear = 100});
  for (const u32 payload : {100u, 3000u, 3001u}) {
    out.push_back({.protocol = uapi::ipproto_udp, .payload = payload, .gso_size = 1000,
                   .linear = payload / 2});
  }
  return out;
}
INSTANTIATE_TEST_SUITE_P(
    shapes, gso,
    testing::Combine(testing::ValuesIn(supers()),
                     testing::Values(u32{netif_f_none}, u32{netif_f_sg}, u32{netif_f_hw_csum},
                                     u32{netif_f_sg | netif_f_hw_csum})));

TEST(gso_packets, headers_that_make_no_sense_are_dropped) {
  machine m;
  skb_queue out;
  const auto broken = [&](auto&& change) {
    skb_ptr skb = build(m, {.linear = 100});
    change(*skb);
    EXPECT_FALSE(skb_gso_segment(m.cx(), std::move(skb), 0, out));
  };
  broken([](sk_buff& skb) { skb.network_header_mut<iphdr>().version_ihl = 0x65; });
  broken([](sk_buff& skb) { skb.network_header_mut<iphdr>().set_header_bytes(24); });
  broken([](sk_buff& skb) { skb.network_header_mut<iphdr>().protocol = uapi::ipproto_udp; });
  broken([](sk_buff& skb) { skb.transport_header_mut<tcphdr>().doff_res = 0x40; });
  broken([](sk_buff& skb) { skb.trim(60); });
  broken([](sk_buff& skb) { skb.unset_headers(); });
  broken([](sk_buff& skb) { skb.gso_type = gso_tcpv6; });
  EXPECT_TRUE(out.empty());
  EXPECT_EQ(m.drops(drop_reason::bad_offload), 7u);
}

TEST(gso_packets, the_last_segment_takes_over_the_owners_charge) {
  machine m;
  u64 given_back = 0;
  skb_ptr skb = build(m, {});
  const u32 truesize = skb->truesize;
  skb->mark = 9;
  skb->sk = reinterpret_cast<sock*>(&given_back);  // looked at by the destructor alone
  skb->destructor = [](sk_buff& each) { *reinterpret_cast<u64*>(each.sk) += each.truesize; };
  skb_queue out;
  ASSERT_TRUE(skb_gso_segment(m.cx(), std::move(skb), netif_f_sg, out));
  EXPECT_EQ(given_back, 0u);
  while (skb_ptr seg = out.pop_front()) {
    EXPECT_EQ(seg->mark, 9u);
    consume(m.cx(), std::move(seg));
    EXPECT_EQ(given_back, out.empty() ? truesize : 0u);
  }
}

TEST(gso_packets, a_forwarded_packet_needs_no_transport_header) {
  machine m;
  skb_ptr skb = build(m, {});
  skb->unset_headers();
  skb->set_network_header(14);
  skb_queue out;
  EXPECT_TRUE(skb_gso_segment(m.cx(), std::move(skb), netif_f_none, out));
  EXPECT_EQ(out.size(), 4u);
  out.purge(m.cx(), drop_reason::queue_purge);
}

TEST(gso_packets, a_device_with_tso_takes_them_whole_and_others_cut) {
  for (const bool tso : {true, false}) {
    test::fake_driver::log log;
    machine m;
    net_device_config config;
    config.name = "eth0";
    config.features = netif_f_sg | netif_f_hw_csum | (tso ? netif_f_tso : 0u);
    net_device& dev = test::add_fake(m, log, std::move(config));
    log.room = tso ? 1 : 2;
    skb_ptr skb = build(m, {});
    skb->dev = &dev;
    EXPECT_EQ(dev_queue_xmit(m.cx(), std::move(skb)), xmit_result::sent);
    if (tso) {
      EXPECT_EQ(log.gso_size, (std::vector<u16>{1448}));
      continue;
    }
    EXPECT_EQ(log.frames.size(), 2u) << "the ring is full amid the segments";
    log.room = 100;
    netif_wake_queue(m.cx(), *dev.tx_queues()[0]);
    m.run_for(seconds(1));
    ASSERT_EQ(log.frames.size(), 4u);
    for (std::size_t i = 0; i < 4; ++i) {
      const auto ip = ipv4_view::parse(byte_view(log.frames[i]).subspan(14));
      ASSERT_TRUE(ip.has_value());
      EXPECT_EQ(ip->iph->id.value(), static_cast<u16>(0xfffe + i));
    }
  }
}

}  // namespace
}  // namespace ph
