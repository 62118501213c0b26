// UDP from outside: sockets on two hosts, and the datagrams between them.
#include <numeric>

#include "tests/support/craft.h"
#include "tests/support/two_hosts.h"

namespace ph {
namespace {

using namespace uapi;
using namespace std::literals;

std::vector<u8> pattern(std::size_t n) {
  std::vector<u8> out(n);
  for (std::size_t i = 0; i < n; ++i) out[i] = static_cast<u8>(i * 7 + i / 251);
  return out;
}

struct udp : ::testing::Test {
  two_hosts lab;
  task& a = lab.a.app();
  task& b = lab.b.app();
  int socket_on(task& t) { return *sys_socket(t, af_inet, sock_dgram, 0); }
  /// A socket of b bound to 10.0.0.2:port.
  int server(u16 port = 7, const char* addr = "10.0.0.2") {
    const int fd = socket_on(b);
    EXPECT_TRUE(sys_bind(b, fd, addr4(addr, port)));
    return fd;
  }
  std::string text(task& t, int fd, sockaddr_buf* from = nullptr, u32 flags = 0) {
    std::vector<u8> room(66000);
    const auto n = sys_recvfrom(t, fd, room, flags, from);
    return n ? std::string(text_of(byte_view(room).first(*n))) : std::string(errc_name(n.error()));
  }
};

TEST_F(udp, a_datagram_arrives_with_its_source_and_is_answered) {
  const int s = server();
  const int c = socket_on(a);
  EXPECT_EQ(*sys_sendto(a, c, bytes_of("hello"sv), 0, addr4("10.0.0.2", 7)), 5u);
  lab.settle();
  EXPECT_EQ(sys_poll(b, s) & pollin, pollin);
  sockaddr_buf from;
  EXPECT_EQ(text(b, s, &from), "hello");
  EXPECT_EQ(addr_of(from), ipv4_addr(10, 0, 0, 1));
  EXPECT_GE(port_of(from), 32768);
  EXPECT_EQ(*sys_sendto(b, s, bytes_of("back"sv), 0, from.view()), 4u);
  lab.settle();
  EXPECT_EQ(text(a, c, &from), "back");
  EXPECT_EQ(port_of(from), 7);
  EXPECT_EQ(text(a, c), "EAGAIN");
  EXPECT_EQ(lab.a.mib(mib::udp_out_datagrams), 1u);
  EXPECT_EQ(lab.b.mib(mib::udp_in_datagrams), 1u);
}

TEST_F(udp, every_size_up_to_the_limit_survives_fragmentation) {
  const int s = server();
  const int c = socket_on(a);
  ASSERT_TRUE(sys_connect(a, c, addr4("10.0.0.2", 7)));
  for (const std::size_t n : {0u, 1u, 1471u, 1472u, 1473u, 2952u, 9000u, 30000u, 65506u, 65507u}) {
    const auto bytes = pattern(n);
    ASSERT_EQ(sys_send(a, c, bytes).value_or(~std::size_t{0}), n);
    lab.settle();
    std::vector<u8> got(66000);
    const auto len = sys_recv(b, s, got);
    ASSERT_TRUE(len) << n;
    got.resize(*len);
    EXPECT_EQ(got, bytes) << n;
  }
  const auto too_long = pattern(65508);
  EXPECT_EQ(sys_send(a, c, too_long).error(), errc::msgsize);
}

TEST_F(udp, the_checksum_on_the_wire_is_right_and_zero_means_none) {
  const int s = server();
  const int c = socket_on(a);
  ASSERT_TRUE(sys_sendto(a, c, bytes_of("odd"sv), 0, addr4("10.0.0.2", 7)));
  lab.settle();
  const ipv4_view ip = lab.frames.back().ip();
  const auto view = *udp_view::parse(ip.payload);
  EXPECT_NE(view.uh->check.value(), 0);
  EXPECT_TRUE(view.checksum_ok(ip.iph->saddr, ip.iph->daddr));
  EXPECT_EQ(text(b, s), "odd");
  const ipv4_addr from(10, 0, 0, 1), to(10, 0, 0, 2);
  auto packet = craft_udp(from, 5, to, 7, bytes_of("none"sv));
  packet[26] = packet[27] = 0;
  lab.inject(lab.b, packet);
  EXPECT_EQ(text(b, s), "none");
  packet[26] = 1;
  lab.inject(lab.b, packet);
  EXPECT_EQ(lab.b.drops(drop_reason::udp_csum), 1u);
  EXPECT_EQ(lab.b.mib(mib::udp_in_csum_errors), 1u);
  packet = craft_udp(from, 5, to, 7, bytes_of("none"sv));
  packet[25] = 200;  // longer than it is
  lab.inject(lab.b, packet);
  packet[25] = 7;    // shorter than its header
  lab.inject(lab.b, packet);
  EXPECT_EQ(lab.b.drops(drop_reason::udp_malformed), 2u);
}

TEST_F(udp, a_sum_of_zero_is_sent_as_all_ones) {
  const int s = server();
  const int c = socket_on(a);
  ASSERT_TRUE(sys_bind(a, c, addr4("10.0.0.1", 5)));
  // The one payload of two bytes whose checksum comes out as zero.
  std::vector<u8> probe(10);
  emit(probe, udp_datagram{5, 7, std::vector<u8>{0, 0}}, ipv4_addr(10, 0, 0, 1),
       ipv4_addr(10, 0, 0, 2));
  const std::vector<u8> data = {probe[6], probe[7]};
  ASSERT_TRUE(sys_sendto(a, c, data, 0, addr4("10.0.0.2", 7)));
  lab.settle();
  EXPECT_EQ(udp_view::parse(lab.frames.back().ip().payload)->uh->check.value(), 0xffff);
  std::vector<u8> got(4);
  EXPECT_EQ(sys_recv(b, s, got).value_or(0), 2u);
}

TEST_F(udp, a_connected_socket_hears_only_its_peer_and_learns_of_refusal) {
  const int c = socket_on(a);
  ASSERT_TRUE(sys_connect(a, c, addr4("10.0.0.2", 7)));
  EXPECT_EQ(addr_of(*sys_getsockname(a, c)), ipv4_addr(10, 0, 0, 1));
  EXPECT_EQ(port_of(*sys_getpeername(a, c)), 7);
  ASSERT_TRUE(sys_send(a, c, bytes_of("x"sv)));
  lab.settle();
  EXPECT_EQ(lab.b.drops(drop_reason::udp_no_port), 1u);
  EXPECT_EQ(sys_poll(a, c) & pollerr, pollerr);
  EXPECT_EQ(text(a, c), "ECONNREFUSED");
  EXPECT_EQ(text(a, c), "EAGAIN") << "reported once";
  const int stranger = socket_on(b);
  ASSERT_TRUE(sys_sendto(b, stranger, bytes_of("y"sv), 0,
                         addr4("10.0.0.1", port_of(*sys_getsockname(a, c)))));
  lab.settle();
  EXPECT_EQ(text(a, c), "EAGAIN");
  EXPECT_EQ(lab.a.drops(drop_reason::udp_no_port), 1u);
}

TEST_F(udp, an_unconnected_socket_is_not_told_of_refusal) {
  const int c = socket_on(a);
  ASSERT_TRUE(sys_sendto(a, c, bytes_of("x"sv), 0, addr4("10.0.0.2", 7)));
  lab.settle();
  EXPECT_EQ(text(a, c), "EAGAIN");
}

TEST_F(udp, connecting_to_af_unspec_dissolves) {
  const int c = socket_on(a);
  ASSERT_TRUE(sys_connect(a, c, addr4("10.0.0.2", 7)));
  sockaddr nothing;
  ASSERT_TRUE(sys_connect(a, c, bytes_of(nothing)));
  EXPECT_EQ(sys_getpeername(a, c).error(), errc::notconn);
  EXPECT_EQ(port_of(*sys_getsockname(a, c)), 0);
  EXPECT_EQ(sys_send(a, c, bytes_of("x"sv)).error(), errc::destaddrreq);
}

TEST_F(udp, bind_conflicts) {
  const auto try_bind = [&](const char* addr, u16 port, int option = 0) {
    const int fd = socket_on(a);
    if (option != 0) {
      EXPECT_TRUE(sys_setsockopt_int(a, fd, sol_socket, option, 1));
    }
    const auto done = sys_bind(a, fd, addr4(addr, port));
    return done ? errc::ok : done.error();
  };
  EXPECT_EQ(try_bind("10.0.0.1", 53), errc::ok);
  EXPECT_EQ(try_bind("10.0.0.1", 53), errc::addrinuse);
  EXPECT_EQ(try_bind("0.0.0.0", 53), errc::addrinuse);
  EXPECT_EQ(try_bind("127.0.0.1", 53), errc::ok);
  EXPECT_EQ(try_bind("10.0.0.1", 53, so_reuseaddr), errc::addrinuse) << "both must want it";
  EXPECT_EQ(try_bind("0.0.0.0", 54, so_reuseport), errc::ok);
  EXPECT_EQ(try_bind("0.0.0.0", 54, so_reuseport), errc::ok);
  EXPECT_EQ(try_bind("0.0.0.0", 54, so_reuseaddr), errc::addrinuse);
  EXPECT_EQ(try_bind("10.0.0.9", 55), errc::addrnotavail);
  a.cred.net_admin = false;
  EXPECT_EQ(try_bind("0.0.0.0", 99), errc::acces);
  EXPECT_EQ(try_bind("0.0.0.0", 1024), errc::ok);
}

TEST_F(udp, bind_looks_at_the_family) {
  const int fd = socket_on(a);
  addr4 odd("0.0.0.0", 4000);
  odd.in.sin_family.set(af_inet6);
  EXPECT_EQ(sys_bind(a, fd, odd).error(), errc::afnosupport);
  odd.in.sin_family.set(af_unspec);
  EXPECT_TRUE(sys_bind(a, fd, odd));
  EXPECT_EQ(sys_bind(a, fd, addr4("0.0.0.0", 4001)).error(), errc::inval) << "bound already";
  EXPECT_EQ(sys_bind(a, socket_on(a), byte_view(odd).first(8)).error(), errc::inval);
}

TEST_F(udp, reuseport_spreads_flows_and_keeps_each_together) {
  std::vector<int> group;
  for (int i = 0; i < 4; ++i) {
    group.push_back(socket_on(b));
    ASSERT_TRUE(sys_setsockopt_int(b, group.back(), sol_socket, so_reuseport, 1));
    ASSERT_TRUE(sys_bind(b, group.back(), addr4("10.0.0.2", 7)));
  }
  for (int flow = 0; flow < 64; ++flow) {
    const int c = socket_on(a);
    for (int i = 0; i < 2; ++i) {
      ASSERT_TRUE(sys_sendto(a, c, bytes_of("x"sv), 0, addr4("10.0.0.2", 7)));
    }
  }
  lab.settle();
  int total = 0;
  for (const int fd : group) {
    int got = 0;
    while (text(b, fd) == "x") ++got;
    EXPECT_GT(got, 8);
    EXPECT_EQ(got % 2, 0);
    total += got;
  }
  EXPECT_EQ(total, 128);
}

TEST_F(udp, each_of_many_sockets_on_a_port_hears_its_own_peer) {
  constexpr u16 count = 300;
  std::vector<int> all;
  for (u16 i = 0; i < count; ++i) {
    all.push_back(socket_on(b));
    ASSERT_TRUE(sys_setsockopt_int(b, all.back(), sol_socket, so_reuseaddr, 1));
    ASSERT_TRUE(sys_bind(b, all.back(), addr4("10.0.0.2", 7)));
    ASSERT_TRUE(sys_connect(b, all.back(), addr4("10.0.0.1", static_cast<u16>(1000 + i))));
  }
  const int others = socket_on(b);
  ASSERT_TRUE(sys_setsockopt_int(b, others, sol_socket, so_reuseaddr, 1));
  ASSERT_TRUE(sys_bind(b, others, addr4("10.0.0.2", 7)));
  const auto send_from = [&](u16 port, std::string_view what) {
    const int c = socket_on(a);
    ASSERT_TRUE(sys_bind(a, c, addr4("10.0.0.1", port)));
    ASSERT_TRUE(sys_sendto(a, c, bytes_of(what), 0, addr4("10.0.0.2", 7)));
    lab.settle();
    ASSERT_TRUE(sys_close(a, c));
  };
  for (const u16 i : {0, 1, 150, 299}) {
    send_from(static_cast<u16>(1000 + i), std::to_string(i));
    EXPECT_EQ(text(b, all[i]), std::to_string(i));
  }
  send_from(2000, "stranger");
  EXPECT_EQ(text(b, others), "stranger");
  // A dissolved connection is found by its address again, a closed one not at all.
  ASSERT_TRUE(sys_close(b, others));
  sockaddr_in none{};
  ASSERT_TRUE(sys_connect(b, all[5], bytes_of(none)));
  send_from(2000, "again");
  EXPECT_EQ(text(b, all[5]), "again");
  ASSERT_TRUE(sys_close(b, all[5]));
  send_from(1005, "nobody");
  EXPECT_EQ(lab.b.mib(mib::icmp_out_dest_unreachs), 1u);
}

TEST_F(udp, broadcasts_need_leave_and_reach_everybody) {
  const int one = server(7, "0.0.0.0");
  const int c = socket_on(a);
  EXPECT_EQ(sys_sendto(a, c, bytes_of("x"sv), 0, addr4("10.0.0.255", 7)).error(), errc::acces);
  ASSERT_TRUE(sys_setsockopt_int(a, c, sol_socket, so_broadcast, 1));
  ASSERT_TRUE(sys_sendto(a, c, bytes_of("x"sv), 0, addr4("10.0.0.255", 7)));
  lab.settle();
  EXPECT_EQ(text(b, one), "x");
  ASSERT_TRUE(sys_sendto(a, c, bytes_of("x"sv), 0, addr4("10.0.0.255", 8)));
  lab.settle();
  EXPECT_EQ(lab.b.mib(mib::udp_ignored_multi), 1u);
  EXPECT_EQ(lab.b.mib(mib::udp_no_ports), 0u);
}

TEST_F(udp, multicast_goes_to_members_and_back_to_the_sender) {
  const ip_mreq join{be32(0xef010101), be32(0)};
  ip_mreq on_b = join;
  on_b.imr_interface = ipv4_addr(10, 0, 0, 2).raw;
  std::vector<int> members;
  for (int i = 0; i < 2; ++i) {
    members.push_back(socket_on(b));
    ASSERT_TRUE(sys_setsockopt_int(b, members.back(), sol_socket, so_reuseaddr, 1));
    ASSERT_TRUE(sys_bind(b, members.back(), addr4("239.1.1.1", 7)));
    ASSERT_TRUE(sys_setsockopt(b, members.back(), sol_ip, ip_add_membership, bytes_of(on_b)));
  }
  EXPECT_EQ(sys_setsockopt(b, members[0], sol_ip, ip_add_membership, bytes_of(on_b)).error(),
            errc::addrinuse);
  const int own = socket_on(a);
  ip_mreq on_a = join;
  on_a.imr_interface = ipv4_addr(10, 0, 0, 1).raw;
  ASSERT_TRUE(sys_bind(a, own, addr4("0.0.0.0", 7)));
  ASSERT_TRUE(sys_setsockopt(a, own, sol_ip, ip_add_membership, bytes_of(on_a)));
  ASSERT_TRUE(sys_setsockopt(a, own, sol_ip, ip_multicast_if, bytes_of(on_a)));
  ASSERT_TRUE(sys_sendto(a, own, bytes_of("all"sv), 0, addr4("239.1.1.1", 7)));
  lab.settle();
  EXPECT_EQ(text(b, members[0]), "all");
  EXPECT_EQ(text(b, members[1]), "all");
  EXPECT_EQ(text(a, own), "all");
  EXPECT_EQ(lab.frames.back().ip().iph->ttl, 1);
  EXPECT_EQ(lab.frames.back().bytes[0], 0x01);
  ASSERT_TRUE(sys_setsockopt_int(a, own, sol_ip, ip_multicast_loop, 0));
  ASSERT_TRUE(sys_setsockopt(b, members[0], sol_ip, ip_drop_membership, bytes_of(on_b)));
  ASSERT_TRUE(sys_close(b, members[1]));
  ASSERT_TRUE(sys_sendto(a, own, bytes_of("some"sv), 0, addr4("239.1.1.1", 7)));
  lab.settle();
  EXPECT_EQ(text(b, members[0]), "EAGAIN");
  EXPECT_EQ(text(a, own), "EAGAIN");
  EXPECT_EQ(lab.b.drops(drop_reason::other_host), 1u) << "nobody is a member any more";
}

TEST_F(udp, peek_and_trunc) {
  const int s = server();
  const int c = socket_on(a);
  ASSERT_TRUE(sys_sendto(a, c, bytes_of("longer"sv), 0, addr4("10.0.0.2", 7)));
  ASSERT_TRUE(sys_sendto(a, c, {}, 0, addr4("10.0.0.2", 7)));
  lab.settle();
  EXPECT_EQ(text(b, s, nullptr, msg_peek), "longer");
  std::array<u8, 3> small{};
  EXPECT_EQ(sys_recv(b, s, small, msg_peek | msg_trunc).value_or(0), 6u);
  const byte_span room(small);
  recv_msg msg;
  msg.iov = {&room, 1};
  EXPECT_EQ(sys_recvmsg(b, s, msg).value_or(0), 3u);
  EXPECT_EQ(msg.out_flags & msg_trunc, u32{msg_trunc});
  EXPECT_EQ(sys_recv(b, s, small).value_or(9), 0u) << "an empty datagram is one";
  EXPECT_EQ(text(b, s), "EAGAIN");
}

TEST_F(udp, the_receive_buffer_is_a_limit) {
  const int s = server();
  ASSERT_TRUE(sys_setsockopt_int(b, s, sol_socket, so_rcvbuf, 5000));
  const int c = socket_on(a);
  const auto data = pattern(1000);
  for (int i = 0; i < 50; ++i) ASSERT_TRUE(sys_sendto(a, c, data, 0, addr4("10.0.0.2", 7)));
  lab.settle();
  const u64 lost = lab.b.drops(drop_reason::socket_rcvbuff);
  EXPECT_GT(lost, 30u);
  EXPECT_EQ(lab.b.mib(mib::udp_rcvbuf_errors), lost);
  u64 got = 0;
  while (text(b, s).size() == 1000) ++got;
  EXPECT_EQ(got + lost, 50u);
}

TEST_F(udp, the_send_buffer_is_a_limit_while_the_next_hop_is_unknown) {
  const int c = socket_on(a);
  ASSERT_TRUE(sys_setsockopt_int(a, c, sol_socket, so_sndbuf, 4096));
  lab.filter = [](test_frame&) { return false; };
  const auto data = pattern(1000);
  int sent = 0;
  while (sent < 100 && sys_sendto(a, c, data, 0, addr4("10.0.0.2", 7))) ++sent;
  EXPECT_LT(sent, 10);
  EXPECT_EQ(sys_sendto(a, c, data, 0, addr4("10.0.0.2", 7)).error(), errc::again);
  EXPECT_EQ(sys_poll(a, c) & pollout, 0u);
  EXPECT_GE(lab.a.mib(mib::udp_sndbuf_errors), 1u);
  lab.advance(seconds(5));  // the neighbour fails, the packets end, there is room
  EXPECT_EQ(sys_poll(a, c) & pollout, pollout);
}

TEST_F(udp, corking) {
  const int s = server();
  const int c = socket_on(a);
  ASSERT_TRUE(sys_sendto(a, c, bytes_of("one "sv), msg_more, addr4("10.0.0.2", 7)));
  ASSERT_TRUE(sys_send(a, c, bytes_of("two "sv), msg_more));
  lab.settle();
  EXPECT_EQ(text(b, s), "EAGAIN");
  ASSERT_TRUE(sys_send(a, c, bytes_of("three"sv)));
  lab.settle();
  EXPECT_EQ(text(b, s), "one two three");
  ASSERT_TRUE(sys_connect(a, c, addr4("10.0.0.2", 7)));
  ASSERT_TRUE(sys_setsockopt_int(a, c, sol_udp, udp_cork, 1));
  ASSERT_TRUE(sys_send(a, c, bytes_of("a"sv)));
  ASSERT_TRUE(sys_send(a, c, bytes_of("b"sv)));
  ASSERT_TRUE(sys_setsockopt_int(a, c, sol_udp, udp_cork, 0));
  lab.settle();
  EXPECT_EQ(text(b, s), "ab");
}

TEST_F(udp, control_messages) {
  const int s = server(7, "0.0.0.0");
  for (const int option : {ip_pktinfo, ip_recvttl, ip_recvtos}) {
    ASSERT_TRUE(sys_setsockopt_int(b, s, sol_ip, option, 1));
  }
  const int c = socket_on(a);
  ASSERT_TRUE(sys_setsockopt_int(a, c, sol_ip, ip_ttl, 9));
  ASSERT_TRUE(sys_setsockopt_int(a, c, sol_ip, ip_tos, 0x10));
  ASSERT_TRUE(sys_sendto(a, c, bytes_of("x"sv), 0, addr4("10.0.0.2", 7)));
  lab.settle();
  std::array<u8, 8> data;
  std::vector<u8> control(256);
  const byte_span room(data);
  recv_msg msg;
  msg.iov = {&room, 1};
  msg.control = control;
  ASSERT_TRUE(sys_recvmsg(b, s, msg));
  int seen = 0;
  const auto each = [&](int level, int type, byte_view value) -> result<void> {
    EXPECT_EQ(level, sol_ip);
    ++seen;
    if (type == ip_ttl) {
      EXPECT_EQ(value[0], 9);
    }
    if (type == ip_tos) {
      EXPECT_EQ(value[0], 0x10);
    }
    if (type == ip_pktinfo) {
      const auto info = byte_reader(value).take<in_pktinfo>();
      EXPECT_EQ(info.ipi_ifindex, static_cast<int>(lab.b.dev().index().value));
      EXPECT_EQ(info.ipi_addr, ipv4_addr(10, 0, 0, 2).raw);
    }
    return {};
  };
  ASSERT_TRUE(for_each_cmsg(byte_view(control).first(msg.control_len), each));
  EXPECT_EQ(seen, 3);
}

TEST_F(udp, what_comes_after_the_end_of_reading_is_read) {
  const int s = server(), c = socket_on(a);
  EXPECT_EQ(sys_shutdown(b, s, shut_rd).error(), errc::notconn);
  ASSERT_TRUE(sys_sendto(a, c, bytes_of("late"sv), 0, addr4("10.0.0.2", 7)));
  lab.settle();
  EXPECT_EQ(text(b, s), "late");
  EXPECT_EQ(text(b, s, nullptr, msg_dontwait), "EAGAIN");
  EXPECT_EQ(text(b, s), "");  // who would wait sees the end
}

/// MSG_PROBE tells what a send would say, and sends nothing. As Linux, it does not look at sizes.
TEST_F(udp, a_probe_is_not_sent) {
  constexpr u32 probe = 0x10;
  const int s = server();
  const int c = socket_on(a);
  const std::vector<u8> large(65515), larger(65536);
  EXPECT_EQ(*sys_sendto(a, c, bytes_of("abc"sv), probe, addr4("10.0.0.2", 7)), 3u);
  EXPECT_EQ(*sys_sendto(a, c, large, probe, addr4("10.0.0.2", 7)), large.size());
  EXPECT_EQ(sys_sendto(a, c, larger, probe, addr4("10.0.0.2", 7)).error(), errc::msgsize);
  EXPECT_EQ(sys_sendto(a, c, bytes_of("x"sv), probe, addr4("9.9.9.9", 7)).error(),
            errc::netunreach);
  EXPECT_EQ(sys_sendto(a, c, bytes_of("x"sv), probe, addr4("10.0.0.255", 7)).error(), errc::acces);
  const int raw = *sys_socket(a, af_inet, sock_raw, 99);
  EXPECT_EQ(*sys_sendto(a, raw, bytes_of("abc"sv), probe, addr4("10.0.0.2", 0)), 3u);
  const int ping = *sys_socket(a, af_inet, sock_dgram, ipproto_icmp);
  const std::array<u8, 8> echo{icmp_echo};
  EXPECT_EQ(*sys_sendto(a, ping, echo, probe, addr4("10.0.0.2", 0)), 8u);
  EXPECT_EQ(sys_sendto(a, ping, large, probe, addr4("10.0.0.2", 0)).error(), errc::inval);
  lab.settle();
  EXPECT_EQ(text(b, s), "EAGAIN");
  EXPECT_EQ(lab.a.mib(mib::ip_out_requests), 0u);
}

/// IP_BIND_ADDRESS_NO_PORT: bind() chooses the address alone, as often as it likes; who sends or
/// connects first has a port.
TEST_F(udp, an_address_may_be_bound_before_there_is_a_port) {
  std::vector<int> clients;
  for (int i = 0; i < 40; ++i) {
    const int c = clients.emplace_back(socket_on(b));
    ASSERT_TRUE(sys_setsockopt_int(b, c, sol_ip, ip_bind_address_no_port, 1));
    ASSERT_TRUE(sys_setsockopt_int(b, c, sol_socket, so_reuseport, i % 2));
    ASSERT_TRUE(sys_bind(b, c, addr4("10.0.0.2", 0)));
    ASSERT_TRUE(sys_bind(b, c, addr4("127.0.0.9", 0)));
    EXPECT_EQ(addr_of(*sys_getsockname(b, c)), ipv4_addr(127, 0, 0, 9));
    EXPECT_EQ(port_of(*sys_getsockname(b, c)), 0);
  }
  ASSERT_TRUE(sys_close(b, clients[39]));
  ASSERT_TRUE(sys_close(b, clients[38]));
  clients.resize(38);
  const int s = server(7, "127.0.0.1");
  for (const int c : clients) {
    ASSERT_TRUE(sys_sendto(b, c, bytes_of("there"sv), 0, addr4("127.0.0.1", 7)));
    lab.settle();
    sockaddr_buf from;
    EXPECT_EQ(text(b, s, &from), "there");
    EXPECT_EQ(addr_of(from), ipv4_addr(127, 0, 0, 9));
    EXPECT_EQ(port_of(from), port_of(*sys_getsockname(b, c)));
    EXPECT_EQ(sys_bind(b, c, addr4("127.0.0.9", 0)).error(), errc::inval);
    ASSERT_TRUE(sys_sendto(b, s, bytes_of("back"sv), 0, from.view()));
    lab.settle();
    EXPECT_EQ(text(b, c), "back");
    ASSERT_TRUE(sys_connect(b, c, addr4("127.0.0.1", 7)));
    ASSERT_TRUE(sys_connect(b, c, bytes_of(sockaddr_in{})));
    EXPECT_EQ(port_of(*sys_getsockname(b, c)), 0) << "the port was not asked for by name";
    ASSERT_TRUE(sys_bind(b, c, addr4("127.0.0.9", 0)));
    ASSERT_TRUE(sys_connect(b, c, addr4("127.0.0.1", 7)));
  }
  for (const int c : clients) ASSERT_TRUE(sys_close(b, c));
  ASSERT_TRUE(sys_sendto(b, s, bytes_of("x"sv), 0, addr4("127.0.0.9", 40000)));
  lab.settle();
  EXPECT_EQ(lab.b.mib(mib::udp_no_ports), 1u);
}

TEST_F(udp, errors_of_sending) {
  const int c = socket_on(a);
  EXPECT_EQ(sys_send(a, c, bytes_of("x"sv)).error(), errc::destaddrreq);
  EXPECT_EQ(sys_sendto(a, c, bytes_of("x"sv), 0, addr4("10.0.0.2", 0)).error(), errc::inval);
  EXPECT_EQ(sys_sendto(a, c, bytes_of("x"sv), 0, addr4("9.9.9.9", 1)).error(), errc::netunreach);
  EXPECT_EQ(sys_sendto(a, c, bytes_of("x"sv), msg_oob, addr4("10.0.0.2", 1)).error(),
            errc::opnotsupp);
  EXPECT_EQ(sys_shutdown(a, c, shut_wr).error(), errc::notconn);
  EXPECT_EQ(sys_sendto(a, c, bytes_of("x"sv), 0, addr4("10.0.0.2", 1)).error(), errc::pipe);
  EXPECT_EQ(sys_listen(a, c, 1).error(), errc::opnotsupp);
  EXPECT_EQ(sys_accept4(a, c, nullptr, 0).error(), errc::opnotsupp);
  EXPECT_EQ(sys_setsockopt_int(a, c, sol_udp, udp_gro, 1).error(), errc::noprotoopt);
}

}  // namespace
}  // namespace ph
