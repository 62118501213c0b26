// ARP: questions, answers, learning, announcing, defending, and giving up.
#include "net/ipv4/arp.h"
#include "tests/support/craft.h"
#include "tests/support/two_hosts.h"

namespace ph {
namespace {

using namespace uapi;
using namespace std::literals;

const ipv4_addr peer(10, 0, 0, 2), me(10, 0, 0, 1), other(10, 0, 0, 9);
const mac_addr other_mac{{2, 0, 0, 0, 9, 9}};

struct arp : ::testing::Test {
  two_hosts lab;
  test_host& a = lab.a;
  void give(arp_message m, const mac_addr& to = mac_addr::broadcast()) {
    std::vector<u8> bytes(28);
    emit(bytes, m);
    lab.inject_to(a, bytes, to, eth_p_arp);
  }
  arp_message request(ipv4_addr from, ipv4_addr to) {
    return {arpop_request, other_mac, from, {}, to};
  }
  /// The ARP messages that a sent.
  std::vector<arp_message> sent() {
    std::vector<arp_message> out;
    for (const test_frame& frame : lab.frames) {
      if (frame.from != 0 || frame.ethertype() != eth_p_arp) continue;
      out.push_back(arp_view::parse(byte_view(frame.bytes).subspan(14))->message());
    }
    return out;
  }
  ref<neighbour> entry(ipv4_addr of) {
    return a.ipv4().arp_table->lookup(neigh_key::of(of), a.dev());
  }
};

TEST_F(arp, a_request_for_us_is_answered_and_its_sender_learned) {
  give(request(other, me));
  ASSERT_EQ(sent().size(), 1u);
  EXPECT_EQ(sent()[0], (arp_message{arpop_reply, a.dev().dev_addr(), me, other_mac, other}));
  ASSERT_TRUE(entry(other));
  EXPECT_EQ(entry(other)->ha(), other_mac);
  EXPECT_EQ(entry(other)->state(), nud_stale);
}

TEST_F(arp, requests_for_others_teach_nothing_new_but_refresh_what_is_known) {
  const u64 before = a.drops(drop_reason::arp_not_for_us);
  give(request(other, ipv4_addr(10, 0, 0, 50)));
  EXPECT_FALSE(entry(other));
  EXPECT_TRUE(sent().empty());
  EXPECT_EQ(a.drops(drop_reason::arp_not_for_us), before + 1);
  give(request(other, me));
  lab.advance(seconds(2));
  arp_message moved = request(other, ipv4_addr(10, 0, 0, 50));
  moved.sha.bytes[5] = 7;
  give(moved);  // RFC 826: merge before looking at the target
  EXPECT_EQ(entry(other)->ha(), moved.sha);
}

TEST_F(arp, a_probe_is_answered_and_not_learned) {
  give(request(ipv4_addr(), me));
  EXPECT_EQ(sent().size(), 1u);
  EXPECT_EQ(a.ipv4().arp_table->size(), 0u);
}

TEST_F(arp, nonsense_is_dropped) {
  std::vector<u8> bytes(28);
  emit(bytes, request(other, me));
  lab.inject_to(a, byte_view(bytes).first(20), mac_addr::broadcast(), eth_p_arp);
  EXPECT_EQ(a.drops(drop_reason::arp_malformed), 1u);
  bytes[1] = 9;  // not Ethernet
  lab.inject_to(a, bytes, mac_addr::broadcast(), eth_p_arp);
  EXPECT_EQ(a.drops(drop_reason::arp_malformed), 2u);
  arp_message odd = request(other, me);
  odd.op = 9;
  give(odd);
  EXPECT_EQ(a.drops(drop_reason::arp_malformed), 3u);
  give(request(ipv4_addr(224, 0, 0, 1), me));
  EXPECT_EQ(a.drops(drop_reason::arp_malformed), 4u);
  EXPECT_TRUE(sent().empty());
}

TEST_F(arp, our_address_is_defended_once_in_ten_seconds) {
  arp_message claim{arpop_request, other_mac, me, {}, me};
  give(claim);
  give(claim);
  ASSERT_EQ(sent().size(), 1u);
  EXPECT_EQ(sent()[0].sip, me);
  EXPECT_EQ(sent()[0].tip, me);
  EXPECT_EQ(a.dev().slots().get(arp_conflicts_key).seen, 2u);
  lab.advance(seconds(11));
  give(claim);
  EXPECT_EQ(sent().size(), 2u);
}

TEST_F(arp, a_new_address_is_announced) {
  a.add_address(a.dev(), "10.0.0.77/24");
  lab.settle();
  ASSERT_EQ(sent().size(), 1u);
  EXPECT_EQ(sent()[0].sip, ipv4_addr(10, 0, 0, 77));
  EXPECT_EQ(sent()[0].tip, ipv4_addr(10, 0, 0, 77));
}

TEST_F(arp, arp_ignore) {
  a.sysctl("net.ipv4.conf.all.arp_ignore", "1");
  give(request(other, ipv4_addr(127, 0, 0, 1)));
  EXPECT_TRUE(sent().empty());
  a.sysctl("net.ipv4.conf.all.arp_ignore", "2");
  give(request(ipv4_addr(192, 168, 0, 1), me));
  EXPECT_TRUE(sent().empty());
  give(request(other, me));
  EXPECT_EQ(sent().size(), 1u);
  a.sysctl("net.ipv4.conf.all.arp_ignore", "8");
  give(request(other, me));
  EXPECT_EQ(sent().size(), 1u);
}

TEST_F(arp, packets_wait_for_the_answer_in_order) {
  const int fd = *sys_socket(a.app(), af_inet, sock_dgram, 0);
  const int s = *sys_socket(lab.b.app(), af_inet, sock_dgram, 0);
  ASSERT_TRUE(sys_bind(lab.b.app(), s, addr4(peer, 7)));
  for (const char c : "abc"sv) {
    ASSERT_TRUE(sys_sendto(a.app(), fd, bytes_of(std::string_view(&c, 1)), 0, addr4(peer, 7)));
  }
  lab.settle();
  std::string got;
  std::array<u8, 4> room;
  while (const auto n = sys_recv(lab.b.app(), s, room)) got += text_of(byte_view(room).first(*n));
  EXPECT_EQ(got, "abc");
  EXPECT_EQ(sent().size(), 1u) << "one question for all three";
}

TEST_F(arp, nobody_answers) {
  const int fd = *sys_socket(a.app(), af_inet, sock_dgram, 0);
  ASSERT_TRUE(sys_setsockopt_int(a.app(), fd, sol_ip, ip_recverr, 1));
  ASSERT_TRUE(sys_sendto(a.app(), fd, bytes_of("x"sv), 0, addr4(other, 7)));
  lab.advance(milliseconds(2900));
  EXPECT_EQ(*sys_getsockopt_int(a.app(), fd, sol_socket, so_error), 0);
  lab.advance(milliseconds(200));
  EXPECT_EQ(sent().size(), 3u);
  EXPECT_EQ(a.drops(drop_reason::neigh_failed), 1u);
  EXPECT_EQ(*sys_getsockopt_int(a.app(), fd, sol_socket, so_error),
            static_cast<int>(errc::hostunreach));
}

TEST_F(arp, the_router_tells_the_sender_that_nobody_answers) {
  routed_hosts net;
  const int fd = *sys_socket(net.a.app(), af_inet, sock_dgram, 0);
  ASSERT_TRUE(sys_setsockopt_int(net.a.app(), fd, sol_ip, ip_recverr, 1));
  ASSERT_TRUE(sys_sendto(net.a.app(), fd, bytes_of("x"sv), 0, addr4("10.0.2.99", 7)));
  net.advance(seconds(4));
  EXPECT_EQ(*sys_getsockopt_int(net.a.app(), fd, sol_socket, so_error),
            static_cast<int>(errc::hostunreach));
}

/// A stranger who asks for every address behind a router fills no table: there are no more entries
/// than gc_thresh3, what finds no place is a counted drop, and time empties the table again.
TEST_F(arp, a_scan_through_a_router_fills_no_table) {
  routed_hosts net;
  net.capture = false;
  net.router.add_address(net.router.dev(1), "10.128.0.1/9");
  const neigh_table& table = *net.router.ipv4().arp_table;
  constexpr u32 scanned = 20'000;
  for (u32 i = 0; i < scanned; ++i) {
    const ipv4_addr to(0x0a800002u + i * 17);
    net.inject(net.router, craft_udp(ipv4_addr(10, 0, 1, 2), 1, to, 9, bytes_of("x"sv)));
    ASSERT_LE(table.size(), 1024u);
  }
  EXPECT_EQ(table.size(), 1024u);
  EXPECT_GE(net.router.drops(drop_reason::neigh_create_fail), scanned - 1024);
  net.advance(seconds(120));
  EXPECT_LT(table.size(), 128u);
  EXPECT_EQ(net.router.drops(drop_reason::neigh_failed), 1024u);
}

TEST_F(arp, settings_of_a_device_with_dots_come_and_go_with_it) {
  constexpr auto dotted = "net.ipv4.neigh.wan/7.gc_stale_time";
  constexpr auto path = "net/ipv4/neigh/wan.7/gc_stale_time";
  const sysctl_table& settings = a.net().sysctls();
  const rtnl_guard rtnl(a.machine.rtnl());
  mem_config config;
  config.name = "wan.7";
  const result<mem_port*> port = mem_create(rtnl.held(), a.net(), config);
  ASSERT_TRUE(port);
  a.sysctl(path, "9");
  EXPECT_EQ(settings.get(dotted).value_or("?"), "9");
  const neigh_parms& parms = a.ipv4().arp_table->parms_of((*port)->device());
  EXPECT_EQ(parms.get(&neigh_settings::gc_stale_time), 9);
  a.net().unregister_device(rtnl.held(), (*port)->device());
  EXPECT_EQ(settings.get(path).error(), errc::noent);
}

TEST_F(arp, a_device_has_settings_of_its_own_and_else_the_defaults) {
  const auto shown = [&](std::string_view name) {
    return a.net().sysctls().get(std::string("net.ipv4.neigh.").append(name)).value_or("?");
  };
  EXPECT_EQ(shown("eth0.base_reachable_time_ms"), "30000");
  EXPECT_EQ(shown("eth0.base_reachable_time"), "30");
  EXPECT_EQ(shown("lo.retrans_time"), "100");
  EXPECT_EQ(shown("eth0.unres_qlen"), "101");
  EXPECT_EQ(shown("eth0.locktime"), "100");
  a.sysctl("net.ipv4.neigh.default.retrans_time_ms", "2000");
  EXPECT_EQ(shown("eth0.retrans_time_ms"), "2000") << "what a device has not set follows";
  a.sysctl("net.ipv4.neigh.eth0.retrans_time", "50");
  a.sysctl("net.ipv4.neigh.default.retrans_time_ms", "3000");
  EXPECT_EQ(shown("eth0.retrans_time_ms"), "500");
  EXPECT_EQ(shown("lo.retrans_time_ms"), "3000");
  EXPECT_EQ(shown("eth0.gc_thresh1"), "?") << "the table's, not a device's";
  a.sysctl("net.ipv4.neigh.eth0.mcast_solicit", "2");
  const int fd = *sys_socket(a.app(), af_inet, sock_dgram, 0);
  ASSERT_TRUE(sys_sendto(a.app(), fd, bytes_of("x"sv), 0, addr4(other, 7)));
  lab.advance(milliseconds(999));
  EXPECT_EQ(a.drops(drop_reason::neigh_failed), 0u);
  lab.advance(milliseconds(2));
  EXPECT_EQ(sent().size(), 2u);
  EXPECT_EQ(a.drops(drop_reason::neigh_failed), 1u);
}

TEST_F(arp, a_queue_for_an_unknown_neighbour_is_as_long_as_set) {
  a.sysctl("net.ipv4.neigh.eth0.unres_qlen_bytes", "1");
  const int fd = *sys_socket(a.app(), af_inet, sock_dgram, 0);
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(sys_sendto(a.app(), fd, bytes_of("x"sv), 0, addr4(other, 7)));
  }
  EXPECT_EQ(a.drops(drop_reason::neigh_queuefull), 2u) << "the last one stays";
}

TEST_F(arp, a_known_neighbour_is_asked_again_after_the_times_set) {
  a.sysctl("net.ipv4.neigh.eth0.base_reachable_time_ms", "2000");
  a.sysctl("net.ipv4.neigh.eth0.delay_first_probe_time", "1");
  a.sysctl("net.ipv4.neigh.eth0.ucast_solicit", "1");
  a.sysctl("net.ipv4.neigh.eth0.mcast_resolicit", "1");
  const int fd = *sys_socket(a.app(), af_inet, sock_dgram, 0);
  const auto send = [&] {
    ASSERT_TRUE(sys_sendto(a.app(), fd, bytes_of("x"sv), 0, addr4(peer, 7)));
    lab.settle();
  };
  send();
  ASSERT_EQ(entry(peer)->state(), nud_reachable);
  lab.advance(milliseconds(3100));  // at most 1.5 times the base
  EXPECT_EQ(entry(peer)->state(), nud_stale);
  lab.filter = [](test_frame& frame) { return frame.ethertype() != eth_p_arp; };
  lab.frames.clear();
  send();
  EXPECT_EQ(entry(peer)->state(), nud_delay);
  lab.advance(milliseconds(1001));
  ASSERT_EQ(sent().size(), 1u);
  EXPECT_EQ(sent()[0].tha, lab.b.dev().dev_addr()) << "the one that it knows";
  lab.advance(milliseconds(1001));
  ASSERT_EQ(sent().size(), 2u);
  EXPECT_EQ(view_as<ethhdr>(byte_view(lab.frames.back().bytes))->h_dest, mac_addr::broadcast());
  lab.advance(milliseconds(1001));
  EXPECT_EQ(entry(peer)->state(), nud_failed);
}

}  // namespace
}  // namespace ph
