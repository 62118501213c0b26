// Every way in which ip_rcv refuses a packet, by the smallest packet that makes it.
#include "tests/support/craft.h"
#include "tests/support/two_hosts.h"

namespace ph {
namespace {

using namespace uapi;

const ipv4_addr peer(10, 0, 0, 2), me(10, 0, 0, 1);

struct ip_input : ::testing::Test {
  two_hosts lab;
  test_host& a = lab.a;
  std::vector<u8> data = std::vector<u8>(16, 0x55);
  /// Injects and expects exactly one more drop of this reason.
  void expect_drop(skb_drop_reason why, byte_view packet) {
    const u64 before = a.drops(why);
    lab.inject(a, packet);
    EXPECT_EQ(a.drops(why), before + 1) << why.name();
  }
  std::vector<u8> udp_from(ipv4_addr from, ipv4_addr to = me) {
    return craft_udp(from, 9, to, 9, data);
  }
  std::vector<u8> spoiled(const std::function<bool(iphdr&)>& change) {
    return craft_ip(craft_header(peer, me, 253), data, change);
  }
};

TEST_F(ip_input, headers) {
  const auto good = spoiled({});
  expect_drop(drop_reason::ip_pkt_too_small, byte_view(good).first(19));
  expect_drop(drop_reason::ip_inhdr, spoiled([](iphdr& h) { h.version_ihl = 0x65; return true; }));
  expect_drop(drop_reason::ip_inhdr, spoiled([](iphdr& h) { h.version_ihl = 0x44; return true; }));
  expect_drop(drop_reason::ip_inhdr, spoiled([](iphdr& h) { h.version_ihl = 0x4f; return true; }));
  expect_drop(drop_reason::ip_inhdr, spoiled([](iphdr& h) { h.tot_len.set(19); return true; }));
  expect_drop(drop_reason::ip_csum, spoiled([](iphdr& h) { h.check.set(0x1111); return false; }));
  expect_drop(drop_reason::ip_truncated, spoiled([](iphdr& h) { h.tot_len.set(99); return true; }));
  EXPECT_EQ(a.mib(mib::ip_in_hdr_errors), 6u);
  EXPECT_EQ(a.mib(mib::ipext_in_csum_errors), 1u);
  EXPECT_EQ(a.mib(mib::ipext_in_truncated_pkts), 1u);
  EXPECT_TRUE(lab.frames.empty()) << "no answer to what cannot be trusted";
}

TEST_F(ip_input, addresses) {
  expect_drop(drop_reason::ip_martian_source, udp_from(ipv4_addr(224, 0, 0, 5)));
  expect_drop(drop_reason::ip_martian_source, udp_from(ipv4_addr(255, 255, 255, 255)));
  expect_drop(drop_reason::ip_martian_source, udp_from(ipv4_addr(0, 0, 0, 0)));
  expect_drop(drop_reason::ip_martian_source, udp_from(ipv4_addr(127, 0, 0, 1)));
  expect_drop(drop_reason::ip_martian_source, udp_from(me));
  expect_drop(drop_reason::ip_martian_dest, udp_from(peer, ipv4_addr(127, 0, 0, 1)));
  expect_drop(drop_reason::ip_martian_dest, udp_from(peer, ipv4_addr(0, 0, 0, 0)));
  const ipv4_addr low(0, 0, 0, 1);  // of its net only 0.0.0.0 is special
  expect_drop(drop_reason::ip_forwarding_off, udp_from(low, ipv4_addr(0, 0, 0, 9)));
  expect_drop(drop_reason::ip_forwarding_off, udp_from(peer, ipv4_addr(10, 0, 0, 77)));
  expect_drop(drop_reason::ip_forwarding_off, udp_from(peer, ipv4_addr(8, 8, 8, 8)));
  expect_drop(drop_reason::other_host, udp_from(peer, ipv4_addr(239, 1, 1, 1)));
  EXPECT_TRUE(lab.frames.empty());
}

TEST_F(ip_input, frames_for_others_are_not_looked_at) {
  lab.inject_to(a, udp_from(peer), mac_addr{{2, 9, 9, 9, 9, 9}});
  EXPECT_EQ(a.drops(drop_reason::other_host), 1u);
  EXPECT_EQ(a.mib(mib::ip_in_receives), 0u);
}

TEST_F(ip_input, reverse_path_filter) {
  a.sysctl("net.ipv4.conf.all.rp_filter", "1");
  expect_drop(drop_reason::ip_rpfilter, udp_from(ipv4_addr(8, 8, 8, 8)));
  a.add_route("default via 10.0.0.2");
  const u64 before = a.drops(drop_reason::ip_rpfilter);
  lab.inject(a, udp_from(ipv4_addr(8, 8, 8, 8)));
  EXPECT_EQ(a.drops(drop_reason::ip_rpfilter), before);
}

TEST_F(ip_input, an_unknown_protocol_is_answered) {
  expect_drop(drop_reason::ip_noproto, spoiled({}));
  EXPECT_EQ(a.mib(mib::ip_in_unknown_protos), 1u);
  ASSERT_EQ(lab.frames.size(), 3u);  // ARP, its answer, and then
  const ipv4_view answer = lab.frames[2].ip();
  const auto icmp = *icmp_view::parse(answer.payload);
  EXPECT_EQ(icmp.icmph->type, icmp_dest_unreach);
  EXPECT_EQ(icmp.icmph->code, icmp_prot_unreach);
}

TEST_F(ip_input, bad_options_are_reported_with_the_octet_at_fault) {
  auto h = craft_header(peer, me, ipproto_udp);
  const u8 options[] = {ipopt_rr, 7, 3, 0, 0, 0, 0, 0};  // pointer below 4
  h.options = options;
  expect_drop(drop_reason::ip_options_bad, craft_ip(h, data));
  const auto icmp = *icmp_view::parse(lab.frames.back().ip().payload);
  EXPECT_EQ(icmp.icmph->type, icmp_parameterprob);
  EXPECT_EQ(icmp.icmph->pointer(), 22);
}

/// As seen of Linux 6.18: what is quoted shows this host's address, and the answer takes its way.
TEST_F(ip_input, options_before_the_one_at_fault_are_taken) {
  const std::vector<u8> route{ipopt_rr, 7, 4, 0, 0, 0, 0}, taken{ipopt_rr, 7, 8, 10, 0, 0, 1};
  const std::vector<u8> faults[] = {{ipopt_lsrr, 1}, {ipopt_rr, 7, 3, 0, 0, 0, 0}, {ipopt_lsrr, 7}};
  for (const std::vector<u8>& fault : faults) {
    const auto with_fault = [&](std::vector<u8> options) {
      options.insert(options.end(), fault.begin(), fault.end());
      options.resize((options.size() + 3) / 4 * 4);
      return options;
    };
    auto h = craft_header(peer, me, ipproto_udp);
    const std::vector<u8> options = with_fault(route);
    h.options = options;
    expect_drop(drop_reason::ip_options_bad, craft_ip(h, data));
    const ipv4_view answer = lab.frames.back().ip();
    const auto icmp = *icmp_view::parse(answer.payload);
    EXPECT_EQ(icmp.icmph->pointer(), 27);
    const byte_view quoted = answer.payload.subspan(sizeof(icmphdr) + sizeof(iphdr));
    const byte_view as_quoted = quoted.first(options.size());
    EXPECT_EQ(std::vector<u8>(as_quoted.begin(), as_quoted.end()), with_fault(taken));
    EXPECT_TRUE(std::equal(taken.begin(), taken.end(), answer.options.begin()));
  }
}

TEST_F(ip_input, source_routes_are_refused) {
  auto h = craft_header(peer, me, ipproto_udp);
  const u8 options[] = {ipopt_lsrr, 7, 4, 10, 0, 0, 9, 0};
  h.options = options;
  expect_drop(drop_reason::ip_source_route, craft_ip(h, data));
}

TEST_F(ip_input, padding_behind_the_packet_is_cut_off) {
  const int fd = *sys_socket(a.app(), af_inet, sock_dgram, 0);
  ASSERT_TRUE(sys_bind(a.app(), fd, addr4(me, 9)));
  auto packet = udp_from(peer);
  packet.resize(packet.size() + 10, 0xee);
  lab.inject(a, packet);
  std::vector<u8> got(100);
  EXPECT_EQ(sys_recv(a.app(), fd, got).value_or(0), data.size());
}

TEST_F(ip_input, a_record_route_option_is_filled_in_and_echoed) {
  auto h = craft_header(peer, me, ipproto_icmp);
  std::vector<u8> options(12, 0);
  options[0] = ipopt_rr;
  options[1] = 11;
  options[2] = 4;
  h.options = options;
  std::vector<u8> echo(16);
  emit(echo, icmp_message{icmp_echo, 0, 0x00010001, byte_view(data).first(8)});
  lab.inject(a, craft_ip(h, echo));
  const ipv4_view answer = lab.frames.back().ip();
  ASSERT_EQ(answer.options.size(), 12u);
  EXPECT_EQ(answer.options[2], 12) << "on the way in, and as the origin of the answer";
  EXPECT_EQ(*view_as<ipv4_addr>(answer.options.subspan(3)), me);
  EXPECT_EQ(*view_as<ipv4_addr>(answer.options.subspan(7)), me);
  EXPECT_TRUE(answer.checksum_ok());
}

}  // namespace
}  // namespace ph
