// Which sockets may share a port (socket(7), RFC 9293 §3.4.2 on TIME-WAIT), and what happens when
// none is left.
#include <gtest/gtest.h>

#include "net/tcp/tcp_sock.h"
#include "tests/support/two_hosts.h"

namespace ph {
namespace {

using namespace uapi;

struct ports_lab : two_hosts {
  int tcp(test_host& host) { return *sys_socket(host.app(), af_inet, sock_stream, 0); }
  int with(int option, int fd) {
    EXPECT_TRUE(sys_setsockopt_int(a.app(), fd, sol_socket, option, 1));
    return fd;
  }
  errc bind(int fd, const char* addr, u16 port) {
    const auto done = sys_bind(a.app(), fd, addr4(addr, port));
    return done ? errc::ok : done.error();
  }
  errc listen(int fd) {
    const auto done = sys_listen(a.app(), fd, 8);
    return done ? errc::ok : done.error();
  }
  errc connect(int fd, u16 port) {
    a.machine.enter(now());
    const auto done = sys_connect(a.app(), fd, addr4("10.0.0.2", port));
    settle();
    return done ? errc::ok : done.error();
  }
  /// A server on b.
  int serve(u16 port) {
    const int fd = tcp(b);
    EXPECT_TRUE(sys_bind(b.app(), fd, addr4("0.0.0.0", port)));
    EXPECT_TRUE(sys_listen(b.app(), fd, 100));
    return fd;
  }
  /// A server on a with one connection, which a closes first: TIME_WAIT on its port.
  void make_timewait(u16 port, bool reuse) {
    const int server = tcp(a);
    if (reuse) with(so_reuseaddr, server);
    ASSERT_EQ(bind(server, "0.0.0.0", port), errc::ok);
    ASSERT_EQ(listen(server), errc::ok);
    const int client = tcp(b);
    b.machine.enter(now());
    ASSERT_EQ(sys_connect(b.app(), client, addr4("10.0.0.1", port)).error(), errc::inprogress);
    settle();
    const int fd = *sys_accept4(a.app(), server, nullptr, 0);
    ASSERT_TRUE(sys_close(a.app(), fd));
    settle();
    ASSERT_TRUE(sys_close(b.app(), client));
    settle();
    ASSERT_TRUE(sys_close(a.app(), server));
    ASSERT_EQ(tcp_of(a.net()).timewaits.size(), 1u);
  }
};

TEST(tcp_ports, a_port_belongs_to_one_socket) {
  ports_lab p;
  ASSERT_EQ(p.bind(p.tcp(p.a), "0.0.0.0", 5000), errc::ok);
  EXPECT_EQ(p.bind(p.tcp(p.a), "0.0.0.0", 5000), errc::addrinuse);
  EXPECT_EQ(p.bind(p.tcp(p.a), "10.0.0.1", 5000), errc::addrinuse);
  EXPECT_EQ(p.bind(p.tcp(p.a), "10.0.0.1", 5001), errc::ok);
}

TEST(tcp_ports, different_addresses_do_not_meet) {
  ports_lab p;
  ASSERT_EQ(p.bind(p.tcp(p.a), "10.0.0.1", 5000), errc::ok);
  EXPECT_EQ(p.bind(p.tcp(p.a), "127.0.0.1", 5000), errc::ok);
}

TEST(tcp_ports, an_address_must_be_ours) {
  ports_lab p;
  EXPECT_EQ(p.bind(p.tcp(p.a), "10.0.0.77", 5000), errc::addrnotavail);
  const int fd = p.tcp(p.a);
  ASSERT_EQ(p.bind(fd, "0.0.0.0", 5000), errc::ok);
  EXPECT_EQ(p.bind(fd, "0.0.0.0", 5001), errc::inval);  // bound already
}

TEST(tcp_ports, reuseaddr_lets_share_until_somebody_listens) {
  ports_lab p;
  const int one = p.with(so_reuseaddr, p.tcp(p.a));
  const int two = p.with(so_reuseaddr, p.tcp(p.a));
  ASSERT_EQ(p.bind(one, "0.0.0.0", 5000), errc::ok);
  ASSERT_EQ(p.bind(two, "0.0.0.0", 5000), errc::ok);
  ASSERT_EQ(p.listen(one), errc::ok);
  EXPECT_EQ(p.listen(two), errc::addrinuse);
  EXPECT_EQ(p.bind(p.with(so_reuseaddr, p.tcp(p.a)), "0.0.0.0", 5000), errc::addrinuse);
}

TEST(tcp_ports, reuseaddr_on_one_side_is_not_enough) {
  ports_lab p;
  ASSERT_EQ(p.bind(p.tcp(p.a), "0.0.0.0", 5000), errc::ok);
  EXPECT_EQ(p.bind(p.with(so_reuseaddr, p.tcp(p.a)), "0.0.0.0", 5000), errc::addrinuse);
}

TEST(tcp_ports, reuseport_lets_listeners_share) {
  ports_lab p;
  const int one = p.with(so_reuseport, p.tcp(p.a));
  const int two = p.with(so_reuseport, p.tcp(p.a));
  ASSERT_EQ(p.bind(one, "0.0.0.0", 5000), errc::ok);
  ASSERT_EQ(p.bind(two, "0.0.0.0", 5000), errc::ok);
  EXPECT_EQ(p.bind(p.tcp(p.a), "0.0.0.0", 5000), errc::addrinuse);
  ASSERT_EQ(p.listen(one), errc::ok);
  ASSERT_EQ(p.listen(two), errc::ok);
  // Connections are spread over the group.
  for (int i = 0; i < 32; ++i) {
    p.b.machine.enter(p.now());
    static_cast<void>(sys_connect(p.b.app(), p.tcp(p.b), addr4("10.0.0.1", 5000)));
    p.settle();
  }
  int counts[2] = {0, 0};
  while (sys_accept4(p.a.app(), one, nullptr, 0)) ++counts[0];
  while (sys_accept4(p.a.app(), two, nullptr, 0)) ++counts[1];
  // Each queue holds nine; what did not fit was dropped.
  EXPECT_GT(counts[0], 3);
  EXPECT_GT(counts[1], 3);
}

TEST(tcp_ports, a_listener_for_the_address_is_preferred) {
  ports_lab p;
  const int any = p.tcp(p.a), own = p.tcp(p.a);
  p.with(so_reuseport, any);
  p.with(so_reuseport, own);
  ASSERT_EQ(p.bind(any, "0.0.0.0", 5000), errc::ok);
  ASSERT_EQ(p.bind(own, "10.0.0.1", 5000), errc::ok);
  ASSERT_EQ(p.listen(any), errc::ok);
  ASSERT_EQ(p.listen(own), errc::ok);
  static_cast<void>(sys_connect(p.b.app(), p.tcp(p.b), addr4("10.0.0.1", 5000)));
  p.settle();
  EXPECT_FALSE(sys_accept4(p.a.app(), any, nullptr, 0));
  EXPECT_TRUE(sys_accept4(p.a.app(), own, nullptr, 0));
}

TEST(tcp_ports, a_listener_for_the_address_is_preferred_to_one_for_the_device) {
  ports_lab p;
  const int device = p.with(so_reuseport, p.tcp(p.a));
  const int own = p.with(so_reuseport, p.tcp(p.a));
  const int index = static_cast<int>(p.a.dev().index().value);
  ASSERT_TRUE(sys_setsockopt_int(p.a.app(), device, sol_socket, so_bindtoifindex, index));
  ASSERT_EQ(p.bind(device, "0.0.0.0", 5000), errc::ok);
  ASSERT_EQ(p.bind(own, "10.0.0.1", 5000), errc::ok);
  ASSERT_EQ(p.listen(device), errc::ok);
  ASSERT_EQ(p.listen(own), errc::ok);
  static_cast<void>(sys_connect(p.b.app(), p.tcp(p.b), addr4("10.0.0.1", 5000)));
  p.settle();
  EXPECT_FALSE(sys_accept4(p.a.app(), device, nullptr, 0));
  EXPECT_TRUE(sys_accept4(p.a.app(), own, nullptr, 0));
}

TEST(tcp_ports, every_port_of_the_range_is_reached) {
  ports_lab p;
  p.a.sysctl("net.ipv4.ip_local_port_range", "40000 40999");
  p.serve(80);
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(p.connect(p.tcp(p.a), 80), errc::inprogress) << i;
  EXPECT_EQ(p.connect(p.tcp(p.a), 80), errc::addrnotavail);
}

TEST(tcp_ports, a_port_that_bind_chose_is_not_shared_by_connections) {
  ports_lab p;
  p.a.sysctl("net.ipv4.ip_local_port_range", "40000 40000");
  p.serve(80);
  p.serve(81);
  const int fd = p.tcp(p.a);
  ASSERT_EQ(p.bind(fd, "0.0.0.0", 0), errc::ok);
  ASSERT_EQ(p.connect(fd, 80), errc::inprogress);
  EXPECT_EQ(p.connect(p.tcp(p.a), 81), errc::addrnotavail);
}

/// What getsockname() tells after a connection that failed, and who has that port.
TEST(tcp_ports, a_connection_that_cannot_begin_leaves_what_getsockname_told) {
  ports_lab p;
  const addr4 nowhere("203.0.113.9", 9);
  const auto told = [&](int fd) { return port_of(*sys_getsockname(p.a.app(), fd)); };
  const int fd = p.tcp(p.a);
  ASSERT_EQ(p.connect(fd, 9), errc::inprogress);  // refused
  ASSERT_EQ(p.connect(fd, 9), errc::connrefused);
  const u16 first = told(fd);
  EXPECT_NE(first, 0);
  EXPECT_EQ(sys_connect(p.a.app(), fd, nowhere).error(), errc::netunreach);
  EXPECT_EQ(told(fd), first);
  EXPECT_EQ(p.bind(p.tcp(p.a), "0.0.0.0", first), errc::ok);  // though it is anybody's
}

TEST(tcp_ports, af_unspec_gives_back_no_port_that_waits_for_a_peer) {
  ports_lab p;
  sockaddr_in nobody;
  const auto told = [&](int fd) { return port_of(*sys_getsockname(p.a.app(), fd)); };
  const int fd = p.tcp(p.a);
  ASSERT_EQ(p.bind(fd, "0.0.0.0", 0), errc::ok);
  const u16 own = told(fd);
  ASSERT_TRUE(sys_connect(p.a.app(), fd, bytes_of(nobody)));
  EXPECT_EQ(p.bind(p.tcp(p.a), "0.0.0.0", own), errc::addrinuse);
  EXPECT_EQ(p.bind(fd, "0.0.0.0", 0), errc::inval);
  ASSERT_EQ(p.listen(fd), errc::ok);
  EXPECT_EQ(told(fd), own);
  ASSERT_TRUE(sys_connect(p.a.app(), fd, bytes_of(nobody)));
  EXPECT_EQ(p.bind(p.tcp(p.a), "0.0.0.0", own), errc::ok);  // that listened, and is over
}

TEST(tcp_ports, a_full_destination_is_full_whatever_port_a_socket_had_before) {
  inet_full_destinations full;
  const inet_tuple ends{inet_addr::of(ipv4_addr(1)), inet_addr::of(ipv4_addr(2)), port_no(5000),
                        port_no(80)};
  full.note({ends, 40'000, 40'009, 0}, never);
  inet_tuple other = ends;
  other.lport = port_no(5001);
  EXPECT_TRUE(full.knows({other, 40'000, 40'009, 0}, instant{}));
  other.rport = port_no(81);
  EXPECT_FALSE(full.knows({other, 40'000, 40'009, 0}, instant{}));
}

TEST(tcp_ports, ephemeral_ports_run_out_per_destination) {
  ports_lab p;
  p.a.sysctl("net.ipv4.ip_local_port_range", "40000 40003");
  p.serve(80);
  p.serve(81);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(p.connect(p.tcp(p.a), 80), errc::inprogress) << i;
  EXPECT_EQ(p.connect(p.tcp(p.a), 80), errc::addrnotavail);
  EXPECT_EQ(p.connect(p.tcp(p.a), 81), errc::inprogress);  // another peer, the same port
  EXPECT_EQ(p.bind(p.tcp(p.a), "0.0.0.0", 0), errc::addrinuse);
}

TEST(tcp_ports, a_closed_connection_gives_its_port_back) {
  ports_lab p;
  p.a.sysctl("net.ipv4.ip_local_port_range", "40000 40000");
  p.serve(80);
  const int fd = p.tcp(p.a);
  ASSERT_EQ(p.connect(fd, 80), errc::inprogress);
  std::array<u8, 8> linger{1};
  ASSERT_TRUE(sys_setsockopt(p.a.app(), fd, sol_socket, so_linger, linger));
  ASSERT_TRUE(sys_close(p.a.app(), fd));  // with a reset: no TIME_WAIT
  p.settle();
  EXPECT_EQ(p.connect(p.tcp(p.a), 80), errc::inprogress);
}

/// A refusal is remembered only as long as nothing has changed.
TEST(tcp_ports, who_was_refused_gets_the_next_port_that_is_free) {
  ports_lab p;
  p.a.sysctl("net.ipv4.ip_local_port_range", "40000 40002");
  p.serve(80);
  const int bound = p.tcp(p.a);
  ASSERT_EQ(p.bind(bound, "0.0.0.0", 40001), errc::ok);
  const int one = p.tcp(p.a), two = p.tcp(p.a), asking = p.tcp(p.a);
  ASSERT_EQ(p.connect(one, 80), errc::inprogress);
  ASSERT_EQ(p.connect(two, 80), errc::inprogress);
  for (int i = 0; i < 3; ++i) ASSERT_EQ(p.connect(asking, 80), errc::addrnotavail);
  // By a reset.
  std::array<u8, 8> linger{1};
  ASSERT_TRUE(sys_setsockopt(p.a.app(), one, sol_socket, so_linger, linger));
  ASSERT_TRUE(sys_close(p.a.app(), one));
  p.settle();
  const int three = p.tcp(p.a);
  ASSERT_EQ(p.connect(three, 80), errc::inprogress);
  ASSERT_EQ(p.connect(asking, 80), errc::addrnotavail);
  // One that was bound; who is bound in the range meanwhile takes nothing from the others.
  ASSERT_TRUE(sys_close(p.a.app(), bound));
  const int four = p.tcp(p.a);
  ASSERT_EQ(p.connect(four, 80), errc::inprogress);
  ASSERT_EQ(p.connect(asking, 80), errc::addrnotavail);
  // TIME-WAIT takes the place of its connection.
  ASSERT_TRUE(sys_close(p.a.app(), two));
  p.settle();
  ASSERT_EQ(p.connect(asking, 80), errc::addrnotavail);
  // Another range.
  p.a.sysctl("net.ipv4.ip_local_port_range", "40000 40003");
  EXPECT_EQ(p.connect(asking, 80), errc::inprogress);
}

TEST(tcp_ports, who_was_refused_may_take_over_from_timewait_later) {
  ports_lab p;
  p.a.sysctl("net.ipv4.ip_local_port_range", "40000 40000");
  p.a.sysctl("net.ipv4.tcp_tw_reuse", "1");
  const int server = p.serve(80);
  const int one = p.tcp(p.a), asking = p.tcp(p.a);
  ASSERT_EQ(p.connect(one, 80), errc::inprogress);
  ASSERT_EQ(p.connect(asking, 80), errc::addrnotavail);
  ASSERT_TRUE(sys_close(p.a.app(), one));
  p.settle();
  ASSERT_TRUE(sys_close(p.b.app(), *sys_accept4(p.b.app(), server, nullptr, 0)));
  p.settle();
  ASSERT_EQ(p.connect(asking, 80), errc::addrnotavail);
  p.advance(seconds(2));
  EXPECT_EQ(p.connect(asking, 80), errc::inprogress);
}

TEST(tcp_ports, an_explicit_port_is_not_given_to_connections) {
  ports_lab p;
  p.a.sysctl("net.ipv4.ip_local_port_range", "40000 40000");
  p.serve(80);
  ASSERT_EQ(p.bind(p.tcp(p.a), "0.0.0.0", 40000), errc::ok);
  EXPECT_EQ(p.connect(p.tcp(p.a), 80), errc::addrnotavail);
}

TEST(tcp_ports, the_same_two_ends_cannot_connect_twice) {
  ports_lab p;
  p.serve(80);
  const int one = p.with(so_reuseaddr, p.tcp(p.a)), two = p.with(so_reuseaddr, p.tcp(p.a));
  ASSERT_EQ(p.bind(one, "10.0.0.1", 5000), errc::ok);
  ASSERT_EQ(p.bind(two, "10.0.0.1", 5000), errc::ok);
  ASSERT_EQ(p.connect(one, 80), errc::inprogress);
  EXPECT_EQ(p.connect(two, 80), errc::addrnotavail);
}

TEST(tcp_ports, timewait_holds_the_port) {
  ports_lab p;
  p.make_timewait(5000, false);
  EXPECT_EQ(p.bind(p.tcp(p.a), "0.0.0.0", 5000), errc::addrinuse);
  p.advance(seconds(61));
  EXPECT_EQ(p.bind(p.tcp(p.a), "0.0.0.0", 5000), errc::ok);
}

TEST(tcp_ports, timewait_lets_a_server_restart_with_reuseaddr) {
  ports_lab p;
  p.make_timewait(5000, true);
  EXPECT_EQ(p.bind(p.tcp(p.a), "0.0.0.0", 5000), errc::addrinuse);
  const int fd = p.with(so_reuseaddr, p.tcp(p.a));
  EXPECT_EQ(p.bind(fd, "0.0.0.0", 5000), errc::ok);
  EXPECT_EQ(p.listen(fd), errc::ok);
}

/// As on Linux: by SO_REUSEPORT a socket follows the last who took the port, whoever else has it.
TEST(tcp_ports, who_shares_with_the_last_by_reuseport_is_not_compared_with_the_first) {
  for (const char* addr : {"0.0.0.0", "127.0.0.1"}) {
    ports_lab p;
    const int first = p.with(so_reuseaddr, p.tcp(p.a));
    const int second = p.with(so_reuseport, p.with(so_reuseaddr, p.tcp(p.a)));
    ASSERT_EQ(p.bind(first, addr, 5000), errc::ok);
    EXPECT_EQ(p.bind(p.with(so_reuseport, p.tcp(p.a)), addr, 5000), errc::addrinuse);
    ASSERT_EQ(p.bind(second, addr, 5000), errc::ok);
    EXPECT_EQ(p.bind(p.with(so_reuseport, p.tcp(p.a)), addr, 5000), errc::ok);
    EXPECT_EQ(p.listen(first), errc::addrinuse) << "with the third it shares by no option";
    EXPECT_EQ(p.bind(p.with(so_reuseaddr, p.tcp(p.a)), addr, 5000), errc::addrinuse);
  }
}

TEST(tcp_ports, listening_again_asks_all_who_have_the_port_by_now) {
  ports_lab p;
  const int one = p.with(so_reuseaddr, p.tcp(p.a)), two = p.with(so_reuseaddr, p.tcp(p.a));
  ASSERT_EQ(p.bind(one, "10.0.0.1", 5000), errc::ok);
  ASSERT_EQ(p.bind(two, "10.0.0.1", 5000), errc::ok);
  ASSERT_TRUE(sys_setsockopt_int(p.a.app(), two, sol_socket, so_reuseaddr, 0));
  EXPECT_EQ(p.listen(one), errc::addrinuse);
  EXPECT_EQ(p.bind(p.with(so_reuseaddr, p.tcp(p.a)), "10.0.0.1", 5000), errc::addrinuse);
  ASSERT_TRUE(sys_setsockopt_int(p.a.app(), two, sol_socket, so_reuseaddr, 1));
  EXPECT_EQ(p.listen(one), errc::ok);
  // A listener that stops is one who shares again.
  ASSERT_TRUE(sys_shutdown(p.a.app(), one, shut_rdwr));
  EXPECT_EQ(p.listen(two), errc::ok);
}

/// Linux looks for others where the socket is, and a child shares by what its listener had.
TEST(tcp_ports, connections_of_a_listener_that_does_not_share_keep_it_from_listening_again) {
  ports_lab p;
  const int server = p.tcp(p.a), client = p.tcp(p.b);
  ASSERT_EQ(p.bind(server, "0.0.0.0", 5000), errc::ok);
  ASSERT_EQ(p.listen(server), errc::ok);
  p.b.machine.enter(p.now());
  static_cast<void>(sys_connect(p.b.app(), client, addr4("10.0.0.1", 5000)));
  p.settle();
  const int child = *sys_accept4(p.a.app(), server, nullptr, 0);
  ASSERT_TRUE(sys_shutdown(p.a.app(), server, shut_rdwr));
  EXPECT_EQ(p.listen(server), errc::addrinuse);
  ASSERT_TRUE(sys_setsockopt_int(p.a.app(), child, sol_socket, so_reuseaddr, 1));
  ASSERT_TRUE(sys_setsockopt_int(p.a.app(), server, sol_socket, so_reuseaddr, 1));
  EXPECT_EQ(p.listen(server), errc::ok);
}

TEST(tcp_ports, a_connection_leaves_the_other_addresses_of_its_port) {
  ports_lab p;
  p.serve(80);
  const int fd = p.tcp(p.a);
  ASSERT_EQ(p.bind(fd, "0.0.0.0", 5000), errc::ok);
  EXPECT_EQ(p.bind(p.tcp(p.a), "127.0.0.2", 5000), errc::addrinuse);
  ASSERT_EQ(p.connect(fd, 80), errc::inprogress);
  EXPECT_EQ(p.bind(p.tcp(p.a), "10.0.0.1", 5000), errc::addrinuse);
  EXPECT_EQ(p.bind(p.tcp(p.a), "0.0.0.0", 5000), errc::addrinuse);
  const int other = p.tcp(p.a);
  EXPECT_EQ(p.bind(other, "127.0.0.2", 5000), errc::ok);
  ASSERT_TRUE(sys_close(p.a.app(), other));
  // Without its peer it is on all again.
  const std::array<u8, 16> unspec{};
  ASSERT_TRUE(sys_connect(p.a.app(), fd, unspec));
  EXPECT_EQ(p.bind(p.tcp(p.a), "127.0.0.2", 5000), errc::addrinuse);
}

TEST(tcp_ports, timewaits_are_counted_by_what_they_share) {
  tcp_timewait_ports held;
  const inet_addr any, one = inet_addr::of(ipv4_addr(10, 0, 0, 1));
  const inet_addr two = inet_addr::of(ipv4_addr(10, 0, 0, 2));
  const tcp_timewait_ports::place shy{port_no(80), one}, open{port_no(80), one, true, false};
  held.add(open);
  held.add(open);
  EXPECT_EQ(held.size(), 2u);
  EXPECT_TRUE(held.blocks({port_no(80), one}));
  EXPECT_TRUE(held.blocks({port_no(80), any}));
  EXPECT_TRUE(held.blocks({port_no(80), inet_addr::of(ipv4_addr()), false, true}));
  EXPECT_FALSE(held.blocks({port_no(80), any, true, false}));
  EXPECT_FALSE(held.blocks({port_no(80), two}));
  EXPECT_FALSE(held.blocks({port_no(81), any}));
  held.add(shy);
  EXPECT_TRUE(held.blocks({port_no(80), any, true, true}));
  held.remove(shy);
  held.remove(open);
  EXPECT_TRUE(held.blocks({port_no(80), any}));
  held.remove(open);
  EXPECT_FALSE(held.blocks({port_no(80), any}));
  EXPECT_TRUE(held.empty());
}

TEST(tcp_ports, who_shares_a_port_may_leave_in_any_order) {
  ports_lab lab;
  std::vector<int> fds;
  for (int i = 0; i < 5; ++i) {
    fds.push_back(lab.with(so_reuseaddr, lab.tcp(lab.a)));
    ASSERT_EQ(lab.bind(fds.back(), "0.0.0.0", 80), errc::ok);
  }
  for (const std::size_t i : {1u, 4u, 0u, 2u}) {
    ASSERT_TRUE(sys_close(lab.a.app(), fds[i]));
    EXPECT_EQ(lab.bind(lab.tcp(lab.a), "0.0.0.0", 80), errc::addrinuse);
  }
  ASSERT_TRUE(sys_close(lab.a.app(), fds[3]));
  EXPECT_EQ(lab.bind(lab.tcp(lab.a), "0.0.0.0", 80), errc::ok);
}

TEST(tcp_ports, listening_without_a_port_takes_one) {
  ports_lab p;
  const int fd = p.tcp(p.a);
  ASSERT_EQ(p.listen(fd), errc::ok);
  const u16 port = port_of(*sys_getsockname(p.a.app(), fd));
  EXPECT_GE(port, 32768);
  EXPECT_LE(port, 60999);
}

}  // namespace
}  // namespace ph
