// A router between two hosts: TTL, MTU, errors, path MTU discovery, redirects.
#include "tests/support/craft.h"
#include "tests/support/two_hosts.h"

namespace ph {
namespace {

using namespace uapi;
using namespace std::literals;

u32 next_error(task& t, int fd, sock_extended_err& ee, ipv4_addr& offender) {
  std::vector<u8> control(128), data(2000);
  const byte_span room(data);
  recv_msg msg;
  msg.iov = {&room, 1};
  msg.control = control;
  msg.flags = msg_errqueue;
  const auto n = sys_recvmsg(t, fd, msg);
  if (!n) return 0;
  EXPECT_EQ(msg.out_flags & msg_errqueue, u32{msg_errqueue});
  byte_reader reader(byte_view(control).subspan(16));
  ee = reader.take<sock_extended_err>();
  offender.raw = reader.take<sockaddr_in>().sin_addr;
  return ee.ee_errno;
}

TEST(forwarding, a_datagram_crosses_with_its_ttl_one_less) {
  routed_hosts lab;
  const int s = *sys_socket(lab.b.app(), af_inet, sock_dgram, 0);
  ASSERT_TRUE(sys_bind(lab.b.app(), s, addr4("10.0.2.2", 7)));
  const int c = *sys_socket(lab.a.app(), af_inet, sock_dgram, 0);
  ASSERT_TRUE(sys_sendto(lab.a.app(), c, bytes_of("hi"sv), 0, addr4("10.0.2.2", 7)));
  lab.settle();
  std::vector<u8> got(10);
  EXPECT_EQ(sys_recv(lab.b.app(), s, got).value_or(0), 2u);
  EXPECT_EQ(lab.frames.back().ip().iph->ttl, 63);
  EXPECT_TRUE(lab.frames.back().ip().checksum_ok());
  EXPECT_EQ(lab.router.mib(mib::ip_forw_datagrams), 1u);
}

TEST(forwarding, traceroute_sees_each_hop) {
  routed_hosts lab;
  task& app = lab.a.app();
  const int fd = *sys_socket(app, af_inet, sock_dgram, 0);
  ASSERT_TRUE(sys_setsockopt_int(app, fd, sol_ip, ip_recverr, 1));
  sock_extended_err ee;
  ipv4_addr offender;
  ASSERT_TRUE(sys_setsockopt_int(app, fd, sol_ip, ip_ttl, 1));
  ASSERT_TRUE(sys_sendto(app, fd, bytes_of("x"sv), 0, addr4("10.0.2.2", 33434)));
  lab.settle();
  EXPECT_EQ(sys_poll(app, fd) & pollerr, pollerr);
  EXPECT_EQ(next_error(app, fd, ee, offender), static_cast<u32>(errc::hostunreach));
  EXPECT_EQ(ee.ee_type, icmp_time_exceeded);
  EXPECT_EQ(offender, ipv4_addr(10, 0, 1, 1));
  EXPECT_EQ(lab.router.drops(drop_reason::ttl_expired), 1u);
  ASSERT_TRUE(sys_setsockopt_int(app, fd, sol_ip, ip_ttl, 2));
  ASSERT_TRUE(sys_sendto(app, fd, bytes_of("x"sv), 0, addr4("10.0.2.2", 33435)));
  lab.settle();
  EXPECT_EQ(next_error(app, fd, ee, offender), static_cast<u32>(errc::connrefused));
  EXPECT_EQ(ee.ee_code, icmp_port_unreach);
  EXPECT_EQ(offender, ipv4_addr(10, 0, 2, 2));
  EXPECT_EQ(next_error(app, fd, ee, offender), 0u);
  EXPECT_EQ(*sys_getsockopt_int(app, fd, sol_socket, so_error), 0);
}

TEST(forwarding, path_mtu_is_learned_and_forgotten) {
  routed_hosts lab({1500, netif_f_none, {}}, {1000, netif_f_none, {}});
  task& app = lab.a.app();
  const int s = *sys_socket(lab.b.app(), af_inet, sock_dgram, 0);
  ASSERT_TRUE(sys_bind(lab.b.app(), s, addr4("10.0.2.2", 7)));
  const int fd = *sys_socket(app, af_inet, sock_dgram, 0);
  ASSERT_TRUE(sys_connect(app, fd, addr4("10.0.2.2", 7)));
  EXPECT_EQ(*sys_getsockopt_int(app, fd, sol_ip, ip_mtu), 1500);
  const std::vector<u8> data(1400, 5);
  ASSERT_TRUE(sys_send(app, fd, data));  // DF, by default: the router refuses it
  lab.settle();
  EXPECT_EQ(lab.router.drops(drop_reason::pkt_too_big), 1u);
  EXPECT_EQ(*sys_getsockopt_int(app, fd, sol_ip, ip_mtu), 1000);
  EXPECT_EQ(sys_send(app, fd, data).error(), errc::msgsize);  // the pending error
  ASSERT_TRUE(sys_send(app, fd, data));  // now it is cut here
  lab.settle();
  std::vector<u8> got(2000);
  EXPECT_EQ(sys_recv(lab.b.app(), s, got).value_or(0), 1400u);
  ASSERT_TRUE(sys_setsockopt_int(app, fd, sol_ip, ip_mtu_discover, ip_pmtudisc_do));
  EXPECT_EQ(sys_send(app, fd, data).error(), errc::msgsize);
  lab.advance(seconds(601));
  EXPECT_EQ(*sys_getsockopt_int(app, fd, sol_ip, ip_mtu), 1500);
}

TEST(forwarding, the_router_cuts_what_may_be_cut) {
  routed_hosts lab({1500, netif_f_none, {}}, {600, netif_f_none, {}});
  task& app = lab.a.app();
  const int s = *sys_socket(lab.b.app(), af_inet, sock_dgram, 0);
  ASSERT_TRUE(sys_bind(lab.b.app(), s, addr4("10.0.2.2", 7)));
  const int fd = *sys_socket(app, af_inet, sock_dgram, 0);
  ASSERT_TRUE(sys_setsockopt_int(app, fd, sol_ip, ip_mtu_discover, ip_pmtudisc_dont));
  std::vector<u8> data(20000);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<u8>(i / 5);
  ASSERT_TRUE(sys_sendto(app, fd, data, 0, addr4("10.0.2.2", 7)));
  lab.settle();
  std::vector<u8> got(30000);
  ASSERT_EQ(sys_recv(lab.b.app(), s, got).value_or(0), data.size());
  got.resize(data.size());
  EXPECT_EQ(got, data);
}

// A super-packet that the sender left to the wire to cut, and that may be fragmented.
TEST(forwarding, the_router_cuts_super_packets_that_may_be_fragmented) {
  routed_hosts lab({1500, netif_f_sg | netif_f_hw_csum | netif_f_tso, {}}, {600, netif_f_none, {}});
  lab.b.add_route("10.0.1.0/24 via 10.0.2.1 dev eth0 advmss 1460");
  task& app = lab.a.app();
  const int s = *sys_socket(lab.b.app(), af_inet, sock_stream, 0);
  ASSERT_TRUE(sys_bind(lab.b.app(), s, addr4("10.0.2.2", 7)));
  ASSERT_TRUE(sys_listen(lab.b.app(), s, 1));
  const int fd = *sys_socket(app, af_inet, sock_stream, 0);
  ASSERT_TRUE(sys_setsockopt_int(app, fd, sol_ip, ip_mtu_discover, ip_pmtudisc_dont));
  static_cast<void>(sys_connect(app, fd, addr4("10.0.2.2", 7)));
  lab.settle();
  const auto served = sys_accept4(lab.b.app(), s, nullptr, sock_nonblock);
  ASSERT_TRUE(served);
  std::vector<u8> data(30'000);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<u8>(i / 7);
  ASSERT_EQ(sys_send(app, fd, data).value_or(0), data.size());
  lab.advance(seconds(5));
  std::vector<u8> got(40'000);
  ASSERT_EQ(sys_recv(lab.b.app(), *served, got).value_or(0), data.size());
  got.resize(data.size());
  EXPECT_EQ(got, data);
  bool super = false;
  for (const test_frame& frame : lab.frames) super = super || frame.bytes.size() > 1514;
  EXPECT_TRUE(super);
  EXPECT_GT(lab.router.mib(mib::ip_frag_oks), 5u);
  EXPECT_EQ(lab.router.drops(drop_reason::pkt_too_big), 0u);
}

TEST(forwarding, a_router_reports_what_it_cannot_reach) {
  routed_hosts lab;
  lab.router.add_route("prohibit 10.7.0.0/16");
  lab.router.add_route("blackhole 10.8.0.0/16");
  lab.router.add_route("unreachable 10.9.0.0/16");
  task& app = lab.a.app();
  const auto answer = [&](const char* to) {
    lab.advance(seconds(10));  // the limits of errors have forgotten the last one
    const int fd = *sys_socket(app, af_inet, sock_dgram, 0);
    EXPECT_TRUE(sys_setsockopt_int(app, fd, sol_ip, ip_recverr, 1));
    EXPECT_TRUE(sys_sendto(app, fd, bytes_of("x"sv), 0, addr4(to, 7)));
    lab.settle();
    sock_extended_err ee;
    ipv4_addr offender;
    const u32 error = next_error(app, fd, ee, offender);
    return error == 0 ? -1 : static_cast<int>(ee.ee_code);
  };
  EXPECT_EQ(answer("172.16.0.1"), icmp_net_unreach);
  EXPECT_EQ(answer("10.7.0.1"), icmp_pkt_filtered);
  EXPECT_EQ(answer("10.8.0.1"), -1);
  EXPECT_EQ(answer("10.9.0.1"), icmp_host_unreach);
  EXPECT_EQ(lab.router.drops(drop_reason::ip_innoroutes), 1u);
  EXPECT_EQ(lab.router.drops(drop_reason::prohibit_route), 1u);
  EXPECT_EQ(lab.router.drops(drop_reason::blackhole_route), 1u);
  EXPECT_EQ(lab.router.drops(drop_reason::unreachable_route), 1u);
}

/// Linux: five at once for a sender, then one a second, whatever icmp_ratelimit says.
TEST(forwarding, a_missing_route_is_told_of_now_and_then) {
  routed_hosts lab;
  lab.router.sysctl("net.ipv4.icmp_ratelimit", "0");
  const auto told = [&](int times) {
    const u64 before = lab.router.mib(mib::icmp_out_dest_unreachs);
    const int fd = *sys_socket(lab.a.app(), af_inet, sock_dgram, 0);
    for (int i = 0; i < times; ++i) {
      EXPECT_TRUE(sys_sendto(lab.a.app(), fd, bytes_of("x"sv), 0, addr4("172.16.0.1", 7)));
    }
    lab.settle();
    return lab.router.mib(mib::icmp_out_dest_unreachs) - before;
  };
  EXPECT_EQ(told(20), 5u);
  lab.advance(milliseconds(1001));
  EXPECT_EQ(told(20), 1u);
  lab.advance(seconds(60));
  EXPECT_EQ(told(20), 5u);
}

TEST(forwarding, a_host_does_not_forward) {
  routed_hosts lab;
  const int c = *sys_socket(lab.a.app(), af_inet, sock_dgram, 0);
  ASSERT_TRUE(sys_sendto(lab.a.app(), c, bytes_of("hi"sv), 0, addr4("10.0.2.2", 7)));
  lab.settle();
  EXPECT_EQ(lab.router.drops(drop_reason::ip_forwarding_off), 0u);
  lab.router.sysctl("net.ipv4.ip_forward", "0");  // takes effect at once
  ASSERT_TRUE(sys_sendto(lab.a.app(), c, bytes_of("hi"sv), 0, addr4("10.0.2.2", 7)));
  lab.settle();
  EXPECT_EQ(lab.router.drops(drop_reason::ip_forwarding_off), 1u);
}

TEST(forwarding, no_broadcast_is_forwarded) {
  routed_hosts lab;
  lab.inject_to(lab.router, craft_udp(ipv4_addr(10, 0, 1, 2), 1, ipv4_addr(10, 0, 2, 2), 7, {}),
                mac_addr::broadcast());
  EXPECT_EQ(lab.router.drops(drop_reason::other_host), 1u);
  EXPECT_TRUE(lab.frames.empty());
}

TEST(forwarding, redirects_are_sent_only_when_asked_for) {
  two_hosts lab;
  lab.a.sysctl("net.ipv4.ip_forward", "1");
  lab.a.add_route("10.9.0.0/16 via 10.0.0.2");
  const auto packet = craft_udp(ipv4_addr(10, 0, 0, 3), 1, ipv4_addr(10, 9, 0, 1), 7, {});
  lab.inject(lab.a, packet);
  EXPECT_EQ(lab.a.mib(mib::icmp_out_redirects), 0u);
  lab.a.sysctl("net.ipv4.conf.all.send_redirects", "1");
  lab.inject(lab.a, packet);
  EXPECT_EQ(lab.a.mib(mib::icmp_out_redirects), 1u);
}

/// A host behind one gateway, which says that another router on its link is better.
struct redirected : ::testing::Test {
  two_hosts lab;
  task& app = lab.a.app();
  const ipv4_addr me{10, 0, 0, 1}, gateway{10, 0, 0, 2}, better{10, 0, 0, 9}, far{172, 16, 0, 1};
  const mac_addr better_mac{{2, 0, 0, 0, 9, 9}};
  redirected() {
    lab.a.add_route("default via 10.0.0.2 dev eth0");
    lab.filter = [](test_frame& frame) { return frame.ethertype() != eth_p_ip; };
  }
  /// The frame of a datagram to the far host.
  test_frame sent(int fd) {
    EXPECT_TRUE(sys_sendto(app, fd, bytes_of("x"sv), 0, addr4(far, 7)));
    lab.settle();
    return lab.frames.back();
  }
  static mac_addr dest_of(const test_frame& frame) {
    return view_as<ethhdr>(byte_view(frame.bytes))->h_dest;
  }
  void say(ipv4_addr who, ipv4_addr which, const test_frame& about, u8 code = icmp_redir_host) {
    const byte_view packet = byte_view(about.bytes).subspan(sizeof(ethhdr));
    lab.inject(lab.a, craft_icmp(who, me, icmp_redirect, code, which.value(), packet.first(28)));
  }
  /// The better gateway says its address by ARP.
  void introduce() {
    std::vector<u8> bytes(28);
    emit(bytes, arp_message{arpop_request, better_mac, better, {}, me});
    lab.inject_to(lab.a, bytes, mac_addr::broadcast(), eth_p_arp);
  }
};

TEST_F(redirected, the_gateway_in_use_is_believed_about_a_better_one) {
  const int fd = *sys_socket(app, af_inet, sock_dgram, 0);
  const test_frame about = sent(fd);
  ASSERT_EQ(dest_of(about), lab.b.dev().dev_addr());
  say(gateway, better, about);
  EXPECT_EQ(lab.frames.back().ethertype(), eth_p_arp) << "it asks for one that it does not know";
  EXPECT_EQ(dest_of(sent(fd)), lab.b.dev().dev_addr());
  introduce();
  say(better, better, about);
  say(ipv4_addr(10, 0, 0, 77), better, about);
  say(gateway, ipv4_addr(224, 0, 0, 1), about);
  say(gateway, better, about, 4);
  EXPECT_EQ(dest_of(sent(fd)), lab.b.dev().dev_addr());
  say(gateway, better, about);
  EXPECT_EQ(dest_of(sent(fd)), better_mac);
  EXPECT_EQ(lab.a.mib(mib::icmp_in_redirects), 6u);
  lab.advance(seconds(301));
  EXPECT_EQ(dest_of(sent(fd)), lab.b.dev().dev_addr()) << "for five minutes";
}

TEST_F(redirected, who_has_no_socket_has_no_redirect) {
  introduce();
  const int fd = *sys_socket(app, af_inet, sock_dgram, 0);
  const int other = *sys_socket(app, af_inet, sock_dgram, 0);
  const test_frame about = sent(fd);
  ASSERT_TRUE(sys_close(app, fd));
  say(gateway, better, about);
  EXPECT_EQ(dest_of(sent(other)), lab.b.dev().dev_addr());
  const test_frame about_other = lab.frames.back();
  lab.a.sysctl("net.ipv4.conf.all.accept_redirects", "0");
  say(gateway, better, about_other);
  EXPECT_EQ(dest_of(sent(other)), lab.b.dev().dev_addr());
  lab.a.sysctl("net.ipv4.conf.all.accept_redirects", "1");
  lab.a.sysctl("net.ipv4.ip_forward", "1");
  say(gateway, better, about_other);
  EXPECT_EQ(dest_of(sent(other)), lab.b.dev().dev_addr()) << "a router knows better";
}

TEST_F(redirected, connections_follow_and_only_what_is_in_flight_counts) {
  introduce();
  const int fd = *sys_socket(app, af_inet, sock_stream, 0);
  ASSERT_TRUE(sys_setsockopt_int(app, fd, sol_tcp, tcp_syncnt, 20));
  EXPECT_EQ(sys_connect(app, fd, addr4(far, 80)).error(), errc::inprogress);
  lab.settle();
  const test_frame syn = lab.frames.back();
  ASSERT_TRUE(syn.is_ip(ipproto_tcp));
  test_frame forged = syn;
  forged.bytes[sizeof(ethhdr) + sizeof(iphdr) + 4] ^= 0x80;  // the sequence number
  say(gateway, better, forged);
  lab.advance(milliseconds(1100));
  EXPECT_EQ(dest_of(lab.frames.back()), lab.b.dev().dev_addr());
  say(gateway, better, syn);
  lab.advance(milliseconds(2100));
  EXPECT_EQ(dest_of(lab.frames.back()), better_mac);
  // The better one does not answer: who finds that out does not connect at all.
  lab.a.sysctl("net.ipv4.neigh.default.ucast_solicit", "1000");
  lab.frames.clear();
  lab.advance(seconds(450));
  std::erase_if(lab.frames, [](const test_frame& f) { return !f.is_ip(ipproto_tcp); });
  EXPECT_EQ(dest_of(lab.frames.front()), better_mac);
  EXPECT_EQ(dest_of(lab.frames.back()), lab.b.dev().dev_addr()) << "the better one may have died";
}

TEST_F(redirected, a_connected_socket_returns_to_its_gateway_in_time) {
  introduce();
  const int fd = *sys_socket(app, af_inet, sock_dgram, 0);
  ASSERT_TRUE(sys_connect(app, fd, addr4(far, 7)));
  const auto send = [&] {
    EXPECT_TRUE(sys_send(app, fd, bytes_of("x"sv)));
    lab.settle();
    return lab.frames.back();
  };
  say(gateway, better, send());
  EXPECT_EQ(dest_of(send()), better_mac);
  lab.advance(seconds(200));
  introduce();
  EXPECT_EQ(dest_of(send()), better_mac);
  // What is told about the path's MTU says nothing about the gateway.
  const byte_view packet = byte_view(lab.frames.back().bytes).subspan(sizeof(ethhdr));
  lab.inject(lab.a, craft_icmp(better, me, icmp_dest_unreach, icmp_frag_needed, 1000,
                               packet.first(28)));
  EXPECT_EQ(sys_send(app, fd, bytes_of("x"sv)).error(), errc::msgsize);
  lab.advance(seconds(101));
  EXPECT_EQ(dest_of(send()), lab.b.dev().dev_addr());
}

TEST_F(redirected, only_what_goes_by_that_gateway_and_device_is_sent_elsewhere) {
  test_host& c = lab.add_host("c");
  lab.link(lab.a, "10.0.1.1/24", c, "10.0.1.2/24");
  lab.a.add_route("default via 10.0.1.2 dev eth1 metric 10");
  introduce();
  const int fd = *sys_socket(app, af_inet, sock_dgram, 0);
  const int bound = *sys_socket(app, af_inet, sock_dgram, 0);
  ASSERT_TRUE(sys_setsockopt(app, bound, sol_socket, so_bindtodevice, bytes_of("eth1"sv)));
  say(gateway, better, sent(fd));
  EXPECT_EQ(dest_of(sent(fd)), better_mac);
  EXPECT_EQ(dest_of(sent(bound)), c.dev().dev_addr());
  const auto instead = fib_route_parse(lab.a.net(), "default via 10.0.0.3 dev eth0", nullptr);
  const rtnl_guard rtnl(lab.a.machine.rtnl());
  ASSERT_TRUE(lab.a.ipv4().fib.add(rtnl.held(), *instead, true));
  EXPECT_EQ(sent(fd).ethertype(), eth_p_arp) << "the tables name another gateway";
}

}  // namespace
}  // namespace ph
