// Memory of TCP: the limits of tcp_mem, buffers that overflow, orphans (tcp(7)), and what programs
// may say about windows: TCP_WINDOW_CLAMP, SO_RCVLOWAT.
#include <gtest/gtest.h>

#include "segment_peer.h"

namespace ph {
namespace {

using namespace uapi;

/// A host whose memory the test limits; the peer opens connections from many ports.
struct memory_case : segment_peer {
  memory_case() { listener = listening(); }
  tcp_net& tn() { return tcp_of(a.net()); }
  s64 pages() { return tn().memory.pages; }
  void limit(const char* pages) { a.sysctl("net.ipv4.tcp_mem", pages); }
  struct conn {
    u16 port;
    seq32 isn;
    int fd;
    s64 at = 0;  ///< bytes that the peer sent
  };
  conn open(u16 port) {
    use({port, seq32(0), -1});
    begin_passive(with_sack());
    send(A, 0, 0);
    const conn out{port, host_isn, sys_accept4(a.app(), listener, nullptr, 0).value_or(-1)};
    EXPECT_GE(out.fd, 0);
    return out;
  }
  void use(const conn& c) {
    peer_port = c.port;
    host_isn = c.isn;
  }
  /// The peer sends one segment in order; true: it was acknowledged.
  bool give(conn& c, std::size_t bytes = 1000) {
    use(c);
    sent.clear();
    send(A | P, c.at, 0, std::string(bytes, 'x'));
    advance(milliseconds(300));
    const s64 upto = c.at + static_cast<s64>(bytes);
    for (const seen_segment& s : sent) {
      if (s.dest == c.port && ack_of(s) == upto) c.at = upto;
    }
    return c.at == upto;
  }
};

TEST(tcp_memory, what_is_queued_is_counted_and_returns_to_nothing) {
  memory_case p;
  memory_case::conn c = p.open(1);
  EXPECT_EQ(p.pages(), 0);
  EXPECT_TRUE(p.give(c));
  EXPECT_GE(p.pages(), 1);
  const s64 one = p.pages();
  for (int i = 0; i < 20; ++i) EXPECT_TRUE(p.give(c));
  EXPECT_GT(p.pages(), 8 * one);
  p.read(c.fd);
  EXPECT_EQ(p.pages(), 0);
  p.write(c.fd, std::string(20'000, 'y'));
  EXPECT_GE(p.pages(), 5);
  p.send(A, c.at, 10'000);
  p.send(A, c.at, 20'000);
  EXPECT_EQ(p.pages(), 0);
  // What a dying connection leaves behind is given back, too.
  p.write(c.fd, std::string(20'000, 'y'));
  EXPECT_TRUE(p.give(c));
  p.send(A, c.at + 5000, 0, "out of order");
  EXPECT_GE(p.pages(), 5);
  p.close(c.fd);
  EXPECT_EQ(p.pages(), 0);
  EXPECT_EQ(p.tn().memory.sockets, 0u);
}

TEST(tcp_memory, a_reset_connection_keeps_only_what_can_still_be_read) {
  memory_case p;
  memory_case::conn c = p.open(1);
  EXPECT_TRUE(p.give(c));
  p.write(c.fd, std::string(20'000, 'y'));
  p.send(R, c.at, 0);
  EXPECT_EQ(p.pages(), 1);
  EXPECT_EQ(p.read(c.fd).size(), 1000u);
  EXPECT_EQ(p.pages(), 0);
}

TEST(tcp_memory, the_third_limit_holds_for_what_nobody_reads) {
  memory_case p;
  std::vector<memory_case::conn> all;
  for (u16 port = 1; port <= 8; ++port) all.push_back(p.open(port));
  p.limit("4 8 16");
  int refused = 0;
  for (int i = 0; i < 100; ++i) {
    for (auto& c : all) refused += p.give(c) ? 0 : 1;
    // Each connection may have what its program waits for.
    EXPECT_LE(p.pages(), 16 + 8);
  }
  EXPECT_GT(refused, 400);
  EXPECT_EQ(p.a.mib(mib::tcpext_tcp_memory_pressures), 1u);
  EXPECT_GT(p.a.mib(mib::tcpext_prune_called), 0u);
  EXPECT_EQ(p.a.mib(mib::tcpext_tcp_rcv_q_drop), static_cast<u64>(refused));
  EXPECT_TRUE(p.tn().memory.pressure);
  // Reading makes room; nothing of what was acknowledged is missing.
  for (auto& c : all) {
    EXPECT_EQ(p.read(c.fd).size(), static_cast<std::size_t>(c.at));
  }
  EXPECT_EQ(p.pages(), 0);
  EXPECT_FALSE(p.tn().memory.pressure);
  for (auto& c : all) EXPECT_TRUE(p.give(c));
}

TEST(tcp_memory, under_pressure_everybody_has_a_share) {
  memory_case p;
  memory_case::conn greedy = p.open(1), modest = p.open(2);
  p.limit("1 2 40");
  for (int i = 0; i < 100; ++i) p.give(greedy);
  // Half of forty pages for each of two.
  EXPECT_GE(p.pages(), 18);
  EXPECT_LE(p.pages(), 20);
  EXPECT_TRUE(p.give(modest));
  EXPECT_TRUE(p.give(modest));
  EXPECT_TRUE(p.give(modest));
}

TEST(tcp_memory, writers_wait_above_the_third_limit) {
  memory_case p;
  memory_case::conn c = p.open(1);
  p.limit("4 8 16");
  p.write(c.fd, std::string(1'000'000, 'x'));
  EXPECT_LE(p.pages(), 16 + 1);
  p.write(c.fd, std::string(1, 'x'));
  EXPECT_EQ(sys_send(p.a.app(), c.fd, bytes_of(std::string_view("x"))).error(), errc::again);
  const auto writable = [&] { return (sys_poll(p.a.app(), c.fd) & pollout) != 0; };
  EXPECT_FALSE(writable());
  for (int i = 0; i < 100 && !p.sent.empty(); ++i) {
    const seen_segment s = p.take();
    p.send(A, 0, p.seq_of(s) + static_cast<s64>(s.payload.size()));
  }
  EXPECT_TRUE(writable());
  EXPECT_EQ(p.write(c.fd, "x"), 1u);
}

TEST(tcp_memory, settings_are_three_numbers) {
  memory_case p;
  sysctl_table& table = p.a.net().sysctls();
  for (const char* bad : {"1 2", "1 2 3 4", "1 2 x", "-1 2 3", ""}) {
    EXPECT_EQ(table.set("net.ipv4.tcp_mem", bad).error(), errc::inval) << bad;
  }
  EXPECT_TRUE(table.set("net.ipv4.tcp_mem", "1 2 3"));
  EXPECT_EQ(table.get("net.ipv4.tcp_mem").value(), "1\t2\t3");
}

// --- one connection's buffer --------------------------------------------------------------------

TEST(tcp_prune, crumbs_are_packed) {
  memory_case p;
  p.set(p.listener, sol_socket, so_rcvbuf, 16384);
  memory_case::conn c = p.open(1);
  std::string all;
  p.use(c);
  // Out of order, where nothing is merged on arrival.
  for (int i = 39; i >= 1; --i) {
    p.send(A, i * 600, 0, std::string(600, static_cast<char>('a' + i % 26)));
  }
  EXPECT_GT(p.a.mib(mib::tcpext_prune_called), 0u);
  EXPECT_GT(p.a.mib(mib::tcpext_tcp_rcv_collapsed), 0u);
  p.send(A, 0, 0, std::string(600, 'a'));
  p.advance(milliseconds(300));
  c.at = p.ack_of(p.sent.back());
  for (int i = 0; i < 40; ++i) all += std::string(600, static_cast<char>('a' + i % 26));
  EXPECT_GE(c.at, 600);
  EXPECT_EQ(p.read(c.fd), all.substr(0, static_cast<std::size_t>(c.at)));
}

TEST(tcp_prune, what_is_out_of_order_goes_first_and_farthest) {
  memory_case p;
  memory_case::conn c = p.open(1);
  p.use(c);
  for (int i = 10; i < 26; i += 2) p.send(A, i * 1000, 0, std::string(1000, 'o'));
  // The buffer shrinks to what ten of these take.
  p.set(c.fd, sol_socket, so_rcvbuf, 6'000);
  for (int i = 0; i < 8; ++i) EXPECT_TRUE(p.give(c)) << i;
  EXPECT_GT(p.a.mib(mib::tcpext_ofo_pruned), 0u);
  EXPECT_GT(p.a.drops(drop_reason::tcp_rcv_pruned), 0u);
  // What is gone is no longer reported: the nearest may still be there, the farthest is not.
  const seen_segment last = p.sent.back();
  EXPECT_LT(last.options.num_sacks, 3);
  for (u8 i = 0; i < last.options.num_sacks; ++i) {
    EXPECT_LT(last.options.sacks[i].end_seq - (p.peer_isn + 1), 20'000);
  }
  EXPECT_EQ(p.read(c.fd), std::string(8000, 'x'));
  // The peer sends it again, since it was never acknowledged.
  EXPECT_TRUE(p.give(c));
}

TEST(tcp_prune, a_buffer_that_may_grow_grows) {
  memory_case p;
  p.a.sysctl("net.ipv4.tcp_rmem", "4096 16384 6291456");
  memory_case::conn c = p.open(1);
  for (int i = 0; i < 8; ++i) EXPECT_TRUE(p.give(c)) << i;
  EXPECT_EQ(p.a.mib(mib::tcpext_rcv_pruned), 0u);
  EXPECT_GE(p.opt(c.fd, sol_socket, so_rcvbuf), 16384);
}

TEST(tcp_window_clamp, bounds_what_is_offered) {
  segment_peer p;
  const int fd = p.accepted();
  p.set(fd, sol_tcp, tcp_window_clamp, 3000);
  EXPECT_EQ(p.opt(fd, sol_tcp, tcp_window_clamp), 3000);
  s64 at = 0;
  // What was offered is not taken back; when it is used up, the clamp holds.
  for (int i = 0; i < 80; ++i) {
    p.send(A, at, 0, std::string(1000, 'x'));
    at += 1000;
    p.read(fd);
    p.advance(milliseconds(50));
  }
  EXPECT_LE(p.sent.back().window, 3000);
  EXPECT_GE(p.sent.back().window, 2000);
}

TEST(tcp_window_clamp, has_a_minimum_and_can_only_be_removed_before) {
  segment_peer p;
  const int fd = p.accepted();
  p.set(fd, sol_tcp, tcp_window_clamp, 1);
  EXPECT_EQ(p.opt(fd, sol_tcp, tcp_window_clamp), 1152);
  p.a.machine.enter(p.now());
  EXPECT_EQ(sys_setsockopt_int(p.a.app(), fd, sol_tcp, tcp_window_clamp, 0).error(), errc::inval);
  const int fresh = *sys_socket(p.a.app(), af_inet, sock_stream, 0);
  p.set(fresh, sol_tcp, tcp_window_clamp, 5000);
  p.set(fresh, sol_tcp, tcp_window_clamp, 0);
}

TEST(tcp_window_clamp, of_a_listener_is_in_the_first_window) {
  segment_peer p;
  p.listener = p.listening();
  p.set(p.listener, sol_tcp, tcp_window_clamp, 5840);
  EXPECT_EQ(p.begin_passive(p.plain()).window, 5840);
}

TEST(tcp_rcvlowat, makes_the_buffer_large_enough) {
  segment_peer p;
  const int fd = p.accepted();
  p.set(fd, sol_socket, so_rcvlowat, 200'000);
  EXPECT_EQ(p.opt(fd, sol_socket, so_rcvlowat), 200'000);
  EXPECT_GE(p.opt(fd, sol_socket, so_rcvbuf), 400'000);
  EXPECT_GE(p.opt(fd, sol_tcp, tcp_window_clamp), 200'000);
  // No more than the buffer may ever hold.
  p.set(fd, sol_socket, so_rcvlowat, 2'000'000'000);
  EXPECT_EQ(p.opt(fd, sol_socket, so_rcvlowat), 33554432 / 2);
}

TEST(tcp_rcvlowat, respects_a_buffer_that_the_program_chose) {
  segment_peer p;
  const int fd = p.accepted();
  p.set(fd, sol_socket, so_rcvbuf, 10'000);
  p.set(fd, sol_socket, so_rcvlowat, 1'000'000);
  EXPECT_EQ(p.opt(fd, sol_socket, so_rcvlowat), 10'000);
  EXPECT_EQ(p.opt(fd, sol_socket, so_rcvbuf), 20'000);
}

// --- orphans ------------------------------------------------------------------------------------

/// The host closed while its data are not acknowledged.
void leave_unacknowledged(segment_peer& p) {
  const int fd = p.accepted();
  p.write(fd, "unheard");
  p.close(fd);
  p.sent.clear();
}

TEST(tcp_orphans, give_up_after_tcp_orphan_retries) {
  segment_peer p;
  p.a.sysctl("net.ipv4.tcp_orphan_retries", "3");
  leave_unacknowledged(p);
  EXPECT_EQ(tcp_of(p.a.net()).orphans, 1u);
  p.advance(seconds(60));
  EXPECT_EQ(tcp_of(p.a.net()).ehash.size(), 0u);
  EXPECT_EQ(tcp_of(p.a.net()).orphans, 0u);
  segment_peer q;
  q.a.sysctl("net.ipv4.tcp_orphan_retries", "20");
  leave_unacknowledged(q);
  q.advance(seconds(60));
  EXPECT_EQ(tcp_of(q.a.net()).orphans, 1u);
}

TEST(tcp_orphans, are_ended_by_their_timers_when_there_are_too_many) {
  segment_peer p;
  leave_unacknowledged(p);
  p.a.sysctl("net.ipv4.tcp_max_orphans", "0");
  p.advance(seconds(2));
  ASSERT_FALSE(p.sent.empty());
  EXPECT_EQ(p.sent.back().flags, R | A);
  EXPECT_EQ(p.a.mib(mib::tcpext_tcp_abort_on_memory), 1u);
  EXPECT_EQ(tcp_of(p.a.net()).ehash.size(), 0u);
  EXPECT_EQ(tcp_of(p.a.net()).memory.pages, 0);
}

TEST(tcp_orphans, may_not_hold_memory_that_others_need) {
  memory_case p;
  memory_case::conn c = p.open(1);
  p.write(c.fd, std::string(100'000, 'x'));
  p.limit("1 2 3");
  p.close(c.fd);
  EXPECT_EQ(p.sent.back().flags, R | A);
  EXPECT_EQ(p.a.mib(mib::tcpext_tcp_abort_on_memory), 1u);
  EXPECT_EQ(p.pages(), 0);
}

}  // namespace
}  // namespace ph
