// ICMP: echo of all sizes, errors and when they are not sent, limits, ping and raw sockets.
#include "net/ipv4/icmp.h"
#include "tests/support/craft.h"
#include "tests/support/two_hosts.h"

namespace ph {
namespace {

using namespace uapi;
using namespace std::literals;

const ipv4_addr peer(10, 0, 0, 2), me(10, 0, 0, 1);

std::vector<u8> echo_request(std::size_t data, u16 sequence) {
  std::vector<u8> payload(data);
  for (std::size_t i = 0; i < data; ++i) payload[i] = static_cast<u8>(i * 3);
  std::vector<u8> out(8 + data);
  emit(out, icmp_message{icmp_echo, 0, sequence, payload});
  return out;
}

struct icmp : ::testing::Test {
  two_hosts lab;
  task& a = lab.a.app();
  u64 answers() { return lab.a.mib(mib::icmp_out_msgs); }
};

TEST_F(icmp, ping_of_every_size) {
  const int fd = *sys_socket(a, af_inet, sock_dgram, ipproto_icmp);
  u16 sequence = 0;
  for (const std::size_t n : {0u, 1u, 56u, 1472u, 1473u, 20000u, 65507u}) {
    const auto request = echo_request(n, ++sequence);
    ASSERT_EQ(sys_sendto(a, fd, request, 0, addr4(peer, 0)).value_or(0), request.size()) << n;
    lab.settle();
    std::vector<u8> got(66000);
    sockaddr_buf from;
    const auto len = sys_recvfrom(a, fd, got, 0, &from);
    ASSERT_EQ(len.value_or(0), request.size()) << n;
    EXPECT_EQ(addr_of(from), peer);
    EXPECT_EQ(got[0], icmp_echoreply);
    EXPECT_TRUE(std::equal(request.begin() + 8, request.end(), got.begin() + 8)) << n;
  }
  EXPECT_EQ(sys_sendto(a, fd, echo_request(65508, 1), 0, addr4(peer, 0)).error(), errc::msgsize);
  EXPECT_EQ(lab.b.mib(mib::icmp_in_echos), sequence);
}

TEST_F(icmp, ping_sockets_send_echo_requests_only) {
  const int fd = *sys_socket(a, af_inet, sock_dgram, ipproto_icmp);
  auto wrong = echo_request(8, 1);
  wrong[0] = icmp_redirect;
  EXPECT_EQ(sys_sendto(a, fd, wrong, 0, addr4(peer, 0)).error(), errc::inval);
  EXPECT_EQ(sys_sendto(a, fd, byte_view(wrong).first(7), 0, addr4(peer, 0)).error(), errc::inval);
}

TEST_F(icmp, two_pings_are_told_apart_by_identifier) {
  const int x = *sys_socket(a, af_inet, sock_dgram, ipproto_icmp);
  const int y = *sys_socket(a, af_inet, sock_dgram, ipproto_icmp);
  ASSERT_TRUE(sys_bind(a, x, addr4("0.0.0.0", 77)));
  ASSERT_TRUE(sys_sendto(a, x, echo_request(8, 1), 0, addr4(peer, 0)));
  lab.settle();
  EXPECT_EQ(sys_poll(a, x) & pollin, pollin);
  EXPECT_EQ(sys_poll(a, y) & pollin, 0u);
}

/// Several sockets may have one identifier: the youngest that hears the answer's address gets it.
TEST_F(icmp, an_identifier_may_be_shared) {
  const auto open = [&] { return *sys_socket(a, af_inet, sock_dgram, ipproto_icmp); };
  const auto reuse = [&](int fd, int on) {
    EXPECT_TRUE(sys_setsockopt_int(a, fd, sol_socket, so_reuseaddr, on));
  };
  const int x = open(), y = open(), z = open();
  EXPECT_EQ(*sys_getsockopt_int(a, x, sol_socket, so_reuseaddr), 1);
  ASSERT_TRUE(sys_bind(a, x, addr4("127.0.0.1", 77)));
  ASSERT_TRUE(sys_bind(a, y, addr4("0.0.0.0", 77)));
  reuse(z, 0);
  EXPECT_EQ(sys_bind(a, z, addr4("10.0.0.1", 77)).error(), errc::addrinuse);
  reuse(z, 1);
  reuse(x, 0);
  EXPECT_EQ(sys_bind(a, z, addr4("10.0.0.1", 77)).error(), errc::addrinuse);
  reuse(x, 1);
  ASSERT_TRUE(sys_bind(a, z, addr4("10.0.0.1", 77)));
  const auto heard = [&](int fd) {
    std::array<u8, 64> got;
    return sys_recvfrom(a, fd, got, msg_dontwait, nullptr).has_value();
  };
  ASSERT_TRUE(sys_sendto(a, x, echo_request(8, 1), 0, addr4("127.0.0.1", 0)));
  ASSERT_TRUE(sys_sendto(a, y, echo_request(8, 1), 0, addr4(peer, 0)));
  lab.settle();
  EXPECT_FALSE(heard(x));
  EXPECT_TRUE(heard(y));
  EXPECT_TRUE(heard(z));
  ASSERT_TRUE(sys_close(a, y));
  ASSERT_TRUE(sys_sendto(a, x, echo_request(8, 1), 0, addr4("127.0.0.1", 0)));
  lab.settle();
  EXPECT_TRUE(heard(x));
}

TEST_F(icmp, an_identifier_that_was_chosen_goes_with_the_connection) {
  const int fd = *sys_socket(a, af_inet, sock_dgram, ipproto_icmp);
  sockaddr_in nobody;
  ASSERT_TRUE(sys_connect(a, fd, addr4(peer, 9)));
  EXPECT_NE(port_of(*sys_getsockname(a, fd)), 0);
  ASSERT_TRUE(sys_connect(a, fd, bytes_of(nobody)));
  EXPECT_EQ(port_of(*sys_getsockname(a, fd)), 0);
  ASSERT_TRUE(sys_bind(a, fd, addr4("0.0.0.0", 5)));
  ASSERT_TRUE(sys_connect(a, fd, bytes_of(nobody)));
  EXPECT_EQ(port_of(*sys_getsockname(a, fd)), 5);
}

/// As on Linux, where such packets are made without looking at the socket's state.
TEST_F(icmp, shutdown_stops_only_raw_sockets_with_headers_of_their_own) {
  const auto header = craft_udp(me, 7, peer, 5000, {});
  for (const bool included : {false, true}) {
    const int fd = *sys_socket(a, af_inet, sock_raw, 99);
    ASSERT_TRUE(sys_setsockopt_int(a, fd, sol_ip, ip_hdrincl, included ? 1 : 0));
    ASSERT_TRUE(sys_connect(a, fd, addr4(peer, 0)));
    ASSERT_TRUE(sys_shutdown(a, fd, shut_rdwr));
    const auto sent = sys_send(a, fd, header);
    EXPECT_EQ(sent ? errc::ok : sent.error(), included ? errc::pipe : errc::ok);
  }
}

TEST_F(icmp, a_raw_icmp_packet_has_a_type_and_a_code) {
  const int fd = *sys_socket(a, af_inet, sock_raw, ipproto_icmp);
  const std::array<u8, 2> bytes{};
  EXPECT_EQ(sys_sendto(a, fd, {}, 0, addr4(peer, 0)).error(), errc::fault);
  EXPECT_EQ(sys_sendto(a, fd, byte_view(bytes).first(1), 0, addr4(peer, 0)).error(), errc::fault);
  EXPECT_TRUE(sys_sendto(a, fd, bytes, 0, addr4(peer, 0)));
  // Looked for behind what is wrong with the destination, and before there is a route.
  const byte_view one = byte_view(bytes).first(1);
  EXPECT_EQ(sys_send(a, fd, one).error(), errc::destaddrreq);
  EXPECT_EQ(sys_sendto(a, fd, one, msg_oob, addr4(peer, 0)).error(), errc::opnotsupp);
  EXPECT_EQ(sys_sendto(a, fd, one, 0, byte_view(addr4(peer, 0)).first(8)).error(), errc::inval);
  EXPECT_EQ(sys_sendto(a, fd, one, 0, addr4("9.9.9.9", 0)).error(), errc::fault);
  EXPECT_EQ(sys_sendto(a, fd, bytes, 0, addr4("9.9.9.9", 0)).error(), errc::netunreach);
}

TEST_F(icmp, the_host_answers_itself_over_lo) {
  const int fd = *sys_socket(a, af_inet, sock_dgram, ipproto_icmp);
  for (const char* to : {"127.0.0.1", "10.0.0.1", "127.9.9.9"}) {
    ASSERT_TRUE(sys_sendto(a, fd, echo_request(56, 1), 0, addr4(to, 0)));
    lab.settle();
    std::vector<u8> got(100);
    sockaddr_buf from;
    EXPECT_EQ(sys_recvfrom(a, fd, got, 0, &from).value_or(0), 64u) << to;
    EXPECT_EQ(addr_of(from).to_string(), to);
  }
  EXPECT_TRUE(lab.frames.empty());
}

// RFC 1122 §3.2.2: no error about these. Each would be a port unreachable otherwise.
TEST_F(icmp, no_errors_about) {
  const auto udp = [&](ipv4_addr from, ipv4_addr to) {
    return craft_udp(from, 9, to, 9, bytes_of("x"sv));
  };
  lab.inject(lab.a, udp(peer, ipv4_addr(10, 0, 0, 255)));      // a broadcast
  lab.inject(lab.a, udp(peer, ipv4_addr(255, 255, 255, 255)));
  lab.inject(lab.a, udp(peer, ipv4_addr(224, 0, 0, 1)));       // a group
  lab.inject(lab.a, udp(ipv4_addr(10, 0, 0, 255), me));        // from no single host
  lab.inject_to(lab.a, udp(peer, me), mac_addr::broadcast());  // in a link-layer broadcast
  const auto quoted = udp(me, ipv4_addr(10, 0, 0, 3));
  const auto error = craft_icmp(peer, me, icmp_dest_unreach, icmp_host_unreach, 0, quoted);
  lab.inject(lab.a, error);                                    // an error
  EXPECT_EQ(answers(), 0u);
  lab.inject(lab.a, udp(peer, me));
  EXPECT_EQ(answers(), 1u) << "but this one";
}

TEST_F(icmp, an_error_quotes_what_fits_into_576_bytes_and_comes_from_the_address_asked) {
  lab.a.add_address(lab.a.dev(), "10.0.0.9/24");
  const std::vector<u8> data(1000, 7);
  lab.inject(lab.a, craft_udp(peer, 1111, ipv4_addr(10, 0, 0, 9), 9, data));
  const ipv4_view answer = lab.frames.back().ip();
  EXPECT_EQ(answer.iph->saddr, ipv4_addr(10, 0, 0, 9));
  EXPECT_EQ(answer.iph->tot_len.value(), 576);
  EXPECT_EQ(answer.iph->tos & 0xe0, 0xc0);
  const auto message = *icmp_view::parse(answer.payload);
  EXPECT_TRUE(message.checksum_ok());
  EXPECT_EQ(view_as<iphdr>(message.payload)->daddr, ipv4_addr(10, 0, 0, 9));
}

TEST_F(icmp, errors_to_one_host_are_limited_to_six_and_then_one_per_second) {
  for (int i = 0; i < 20; ++i) lab.inject(lab.a, craft_udp(peer, 1, me, 9, bytes_of("x"sv)));
  EXPECT_EQ(answers(), 6u);
  EXPECT_EQ(lab.a.mib(mib::icmp_out_rate_limit_host), 14u);
  lab.advance(milliseconds(1001));
  for (int i = 0; i < 3; ++i) lab.inject(lab.a, craft_udp(peer, 1, me, 9, bytes_of("x"sv)));
  EXPECT_EQ(answers(), 7u);
}

TEST_F(icmp, all_errors_together_are_limited_by_a_burst) {
  lab.a.sysctl("net.ipv4.icmp_ratelimit", "0");
  for (int i = 0; i < 80; ++i) lab.inject(lab.a, craft_udp(peer, 1, me, 9, bytes_of("x"sv)));
  EXPECT_EQ(answers(), 50u);
}

TEST_F(icmp, the_limit_for_one_host_is_a_setting_and_not_anothers) {
  const auto provoke = [&](ipv4_addr from, int times) {
    const u64 before = lab.a.mib(mib::icmp_out_dest_unreachs);
    for (int i = 0; i < times; ++i) lab.inject(lab.a, craft_udp(from, 1, me, 9, bytes_of("x"sv)));
    return lab.a.mib(mib::icmp_out_dest_unreachs) - before;
  };
  lab.a.sysctl("net.ipv4.icmp_ratelimit", "250");
  EXPECT_EQ(provoke(peer, 10), 6u);
  EXPECT_EQ(provoke(ipv4_addr(10, 0, 0, 3), 10), 6u);
  lab.advance(milliseconds(249));
  EXPECT_EQ(provoke(peer, 10), 0u);
  lab.advance(milliseconds(1));
  EXPECT_EQ(provoke(peer, 10), 1u);
  lab.advance(seconds(3600));
  EXPECT_EQ(provoke(peer, 10), 6u) << "no more is saved";
  lab.a.sysctl("net.ipv4.icmp_ratelimit", "20000");
  EXPECT_EQ(provoke(ipv4_addr(10, 0, 0, 4), 10), 3u) << "a stranger has a minute's worth";
  lab.a.sysctl("net.ipv4.icmp_ratelimit", "61000");
  EXPECT_EQ(provoke(ipv4_addr(10, 0, 0, 5), 10), 0u);
}

TEST_F(icmp, the_mask_says_which_errors_are_limited) {
  const auto provoke = [&] {
    const u64 before = lab.a.mib(mib::icmp_out_dest_unreachs);
    for (int i = 0; i < 80; ++i) lab.inject(lab.a, craft_udp(peer, 1, me, 9, bytes_of("x"sv)));
    return lab.a.mib(mib::icmp_out_dest_unreachs) - before;
  };
  lab.a.sysctl("net.ipv4.icmp_ratemask", "6160");  // without destination unreachable
  EXPECT_EQ(provoke(), 80u) << "nor by the limit for all hosts";
  lab.a.sysctl("net.ipv4.icmp_ratemask", "6168");
  EXPECT_EQ(provoke(), 6u);
}

TEST_F(icmp, the_limit_for_all_hosts_fills_again_at_its_rate) {
  lab.a.sysctl("net.ipv4.icmp_ratelimit", "0");
  lab.a.sysctl("net.ipv4.icmp_msgs_burst", "20");
  lab.a.sysctl("net.ipv4.icmp_msgs_per_sec", "100");
  u32 from = 0x0a000010;
  const auto provoke = [&] {
    const u64 before = lab.a.mib(mib::icmp_out_dest_unreachs);
    for (int i = 0; i < 40; ++i) {
      lab.inject(lab.a, craft_udp(ipv4_addr(from + (i & 7u)), 1, me, 9, bytes_of("x"sv)));
    }
    return lab.a.mib(mib::icmp_out_dest_unreachs) - before;
  };
  EXPECT_EQ(provoke(), 20u);
  lab.advance(milliseconds(50));
  EXPECT_EQ(provoke(), 5u);
  lab.advance(seconds(10));
  EXPECT_EQ(provoke(), 20u);
}

TEST_F(icmp, echo_replies_are_not_limited_but_can_be_turned_off) {
  const auto ping = craft_icmp(peer, me, icmp_echo, 0, 1, bytes_of("data"sv));
  for (int i = 0; i < 80; ++i) lab.inject(lab.a, ping);
  EXPECT_EQ(answers(), 80u);
  lab.inject(lab.a, craft_icmp(peer, ipv4_addr(10, 0, 0, 255), icmp_echo, 0, 1, {}));
  EXPECT_EQ(lab.a.drops(drop_reason::icmp_echo_ignored), 1u);
  lab.a.sysctl("net.ipv4.icmp_echo_ignore_all", "1");
  lab.inject(lab.a, ping);
  EXPECT_EQ(lab.a.drops(drop_reason::icmp_echo_ignored), 2u);
  EXPECT_EQ(answers(), 80u);
}

TEST_F(icmp, malformed_messages) {
  auto bad = craft_icmp(peer, me, icmp_echo, 0, 1, bytes_of("data"sv));
  bad.back() ^= 1;
  lab.inject(lab.a, bad);
  EXPECT_EQ(lab.a.drops(drop_reason::icmp_csum), 1u);
  EXPECT_EQ(lab.a.mib(mib::icmp_in_csum_errors), 1u);
  lab.inject(lab.a, craft_ip(craft_header(peer, me, ipproto_icmp),
                             std::vector<u8>{8, 0, 0xf7, 0xff}));
  EXPECT_EQ(lab.a.drops(drop_reason::icmp_malformed), 1u);
  lab.inject(lab.a, craft_icmp(peer, me, icmp_dest_unreach, 0, 0, bytes_of("short"sv)));
  EXPECT_EQ(lab.a.drops(drop_reason::icmp_malformed), 2u);
  lab.inject(lab.a, craft_icmp(peer, me, 77, 0, 0, {}));
  EXPECT_EQ(lab.a.drops(drop_reason::icmp_unknown_type), 1u);
  lab.inject(lab.a, craft_icmp(peer, me, icmp_echoreply, 0, 0x00090001, {}));
  EXPECT_EQ(lab.a.drops(drop_reason::icmp_no_socket), 1u);
  EXPECT_EQ(answers(), 0u);
}

TEST_F(icmp, timestamp_request_is_answered) {
  const std::vector<u8> times(12);
  lab.inject(lab.a, craft_icmp(peer, me, icmp_timestamp, 0, 0x00050001, times));
  const auto message = *icmp_view::parse(lab.frames.back().ip().payload);
  EXPECT_EQ(message.icmph->type, icmp_timestampreply);
  EXPECT_EQ(message.icmph->rest(), 0x00050001u);
}

TEST_F(icmp, a_raw_socket_sees_icmp_with_its_ip_header_and_filters_types) {
  const int fd = *sys_socket(a, af_inet, sock_raw, ipproto_icmp);
  const icmp_filter no_echo{1u << icmp_echo};
  ASSERT_TRUE(sys_setsockopt(a, fd, sol_raw, icmp_filter_opt, bytes_of(no_echo)));
  lab.inject(lab.a, craft_icmp(peer, me, icmp_echo, 0, 1, {}));
  EXPECT_EQ(sys_poll(a, fd) & pollin, 0u);
  lab.inject(lab.a, craft_icmp(peer, me, icmp_echoreply, 0, 1, bytes_of("abc"sv)));
  std::vector<u8> got(100);
  ASSERT_EQ(sys_recv(a, fd, got).value_or(0), 31u);
  EXPECT_EQ(got[0], 0x45);
  EXPECT_EQ(got[20], icmp_echoreply);
}

TEST_F(icmp, raw_sockets_need_privilege) {
  a.cred.net_admin = false;
  EXPECT_EQ(sys_socket(a, af_inet, sock_raw, ipproto_icmp).error(), errc::perm);
}

TEST_F(icmp, header_included_fills_what_is_zero) {
  const int fd = *sys_socket(a, af_inet, sock_raw, ipproto_raw);
  ipv4_header h = craft_header(ipv4_addr(), peer, 253);
  h.id = 0;
  auto packet = craft_ip(h, bytes_of("payload"sv), [](iphdr& iph) {
    iph.check.set(0xdead);
    iph.tot_len.set(1);
    return false;
  });
  ASSERT_TRUE(sys_sendto(a, fd, packet, 0, addr4(peer, 0)));
  lab.settle();
  bool seen = false;
  for (const test_frame& frame : lab.frames) {
    if (frame.from != 0 || !frame.is_ip(253)) continue;
    seen = true;
    EXPECT_TRUE(frame.ip().checksum_ok());
    EXPECT_EQ(frame.ip().iph->saddr, me);
    EXPECT_EQ(frame.ip().payload.size(), 7u);
    EXPECT_NE(frame.ip().iph->id.value(), 0);
  }
  EXPECT_TRUE(seen);
}

}  // namespace
}  // namespace ph
