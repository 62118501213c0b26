// TIME-WAIT: how long, what it answers, what may end it (RFC 9293 §3.6.1, §3.10.7.4; RFC 6191;
// RFC 1337).
#include <gtest/gtest.h>
#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "net/tcp/tcp.h"
#include "segment_peer.h"

namespace ph {
namespace {

using namespace uapi;

/// A connection that the host closed first; both FINs are acknowledged.
struct timewait_case : segment_peer {
  timewait_case() {
    advance(seconds(10));
    close(accepted());
    expect(F | A, 0, 0);
    send(F | A, 0, 1);
    expect(A, 1, 1);
    EXPECT_EQ(waiting(), 1u);
  }
  [[nodiscard]] std::size_t waiting() { return tcp_of(a.net()).timewaits.size(); }
};

TEST(tcp_timewait, lasts_a_minute) {
  timewait_case t;
  t.advance(seconds(59));
  EXPECT_EQ(t.waiting(), 1u);
  t.advance(seconds(2));
  EXPECT_EQ(t.waiting(), 0u);
  EXPECT_EQ(t.a.mib(mib::tcpext_tw), 1u);
  t.expect_nothing();
}

TEST(tcp_timewait, a_second_fin_is_acknowledged_and_starts_it_anew) {
  timewait_case t;
  t.advance(seconds(40));
  t.send(F | A, 0, 1);
  t.expect(A, 1, 1);
  t.advance(seconds(59));
  EXPECT_EQ(t.waiting(), 1u);
  t.advance(seconds(2));
  EXPECT_EQ(t.waiting(), 0u);
}

TEST(tcp_timewait, a_reset_ends_it) {
  timewait_case t;
  t.send(R, 1, 0);
  EXPECT_EQ(t.waiting(), 0u);
  t.expect_nothing();
}

TEST(tcp_timewait, no_assassination_with_rfc1337) {
  timewait_case t;
  t.a.sysctl("net.ipv4.tcp_rfc1337", "1");
  t.send(R, 1, 0);
  EXPECT_EQ(t.waiting(), 1u);
}

TEST(tcp_timewait, a_reset_elsewhere_is_ignored) {
  timewait_case t;
  t.send(R, 5, 0);
  t.send(R, 0, 0);
  EXPECT_EQ(t.waiting(), 1u);
  t.expect_nothing();
}

TEST(tcp_timewait, a_newer_syn_opens_a_new_connection) {
  timewait_case t;
  const seq32 old_end = t.host_isn + 2;
  t.send(S, 500, 0, {}, {65535, t.syn_options(t.plain())});
  const seen_segment answer = t.take();
  EXPECT_EQ(answer.flags, S | A);
  EXPECT_EQ(t.ack_of(answer), 501);
  // RFC 6191: its numbers lie beyond everything that the old one used.
  EXPECT_GT(answer.seq - old_end, 65535);
  EXPECT_EQ(t.waiting(), 0u);
}

TEST(tcp_timewait, an_older_syn_is_answered_with_where_we_are) {
  timewait_case t;
  t.send(S, -500, 0, {}, {65535, t.syn_options(t.plain())});
  t.expect(A, 1, 1);
  EXPECT_EQ(t.waiting(), 1u);
}

TEST(tcp_timewait, a_syn_with_fin_opens_nothing) {
  timewait_case t;
  t.send(S | F, 500, 0, {}, {65535, t.syn_options(t.plain())});
  t.expect(A, 1, 1);
  EXPECT_EQ(t.waiting(), 1u);
}

TEST(tcp_timewait, answers_are_limited) {
  timewait_case t;
  for (int i = 0; i < 5; ++i) t.send(A, -10, 1, "x");
  t.expect(A, 1, 1);
  t.expect_nothing();
  t.advance(milliseconds(501));
  t.send(A, -10, 1, "x");
  t.expect(A, 1, 1);
}

TEST(tcp_timewait, stray_acknowledgements_do_not_prolong_it) {
  timewait_case t;
  t.advance(seconds(40));
  t.send(A, -10, 1);
  t.expect(A, 1, 1);
  t.advance(seconds(1));
  t.send(F | A, 0, 1 << 20);  // like a FIN sent again, but by somebody who guesses
  t.expect(A, 1, 1);
  t.send(A, 1, 1 << 20);
  t.expect_nothing();
  t.advance(seconds(20));
  EXPECT_EQ(t.waiting(), 0u);
}

TEST(tcp_timewait, there_may_be_too_many) {
  segment_peer p;
  p.a.sysctl("net.ipv4.tcp_max_tw_buckets", "0");
  const int fd = p.accepted();
  p.close(fd);
  p.expect(F | A, 0, 0);
  p.send(F | A, 0, 1);
  p.expect(A, 1, 1);
  EXPECT_EQ(tcp_of(p.a.net()).ehash.size(), 0u);
  EXPECT_EQ(p.a.mib(mib::tcpext_tcp_time_wait_overflow), 1u);
}

TEST(tcp_timewait, the_passive_closer_does_not_wait) {
  segment_peer p;
  const int fd = p.accepted();
  p.send(F | A, 0, 0);
  p.advance(milliseconds(50));
  p.expect(A, 0, 1);
  p.close(fd);
  p.expect(F | A, 0, 1);
  p.send(A, 1, 1);
  EXPECT_EQ(tcp_of(p.a.net()).ehash.size(), 0u);
}

TEST(tcp_timewait, orphans_leave_fin_wait2_after_fin_timeout) {
  segment_peer p;
  const int fd = p.accepted();
  p.close(fd);
  p.expect(F | A, 0, 0);
  p.send(A, 0, 1);
  p.advance(seconds(59));
  EXPECT_EQ(tcp_of(p.a.net()).ehash.size(), 1u);
  p.advance(seconds(2));
  EXPECT_EQ(tcp_of(p.a.net()).ehash.size(), 0u);
  p.expect_nothing();
}

TEST(tcp_timewait, data_for_an_orphan_are_answered_with_reset) {
  segment_peer p;
  const int fd = p.accepted();
  p.close(fd);
  p.expect(F | A, 0, 0);
  p.send(A, 0, 1);
  p.send(A, 0, 1, "too late");
  p.expect(R, 1, 0);
  EXPECT_EQ(p.a.drops(drop_reason::tcp_fin_wait_data), 1u);
  EXPECT_EQ(tcp_of(p.a.net()).ehash.size(), 0u);
}

TEST(tcp_timewait, limits_follow_from_memory_as_on_linux) {
  segment_peer p;
  const auto limits = [&](u64 mib_bytes) {
    tcp_set_limits(p.a.net(), mib_bytes << 20);
    const tcp_sysctls& s = tcp_of(p.a.net()).sysctl;
    EXPECT_EQ(s.max_orphans, s.max_tw_buckets);
    return std::pair(s.max_tw_buckets, s.max_syn_backlog);
  };
  EXPECT_EQ(limits(0), std::pair(0, 128));
  EXPECT_EQ(limits(512), std::pair(2048, 128));
  EXPECT_EQ(limits(24'105), std::pair(131'072, 2048));  // seen on Linux 6.18
  EXPECT_EQ(limits(1'000'000), std::pair(262'144, 4096));
}

TEST(tcp_timewait, never_more_than_tcp_max_tw_buckets) {
  segment_peer p;
  p.a.sysctl("net.ipv4.tcp_max_tw_buckets", "100");
  p.listener = p.listening(16);
  for (u16 port = 1; port <= 150; ++port) {
    p.peer_port = port;
    const int fd = p.accepted();
    p.close(fd);
    p.send(F | A, 0, 1);
    p.sent.clear();
  }
  EXPECT_EQ(tcp_of(p.a.net()).timewaits.size(), 100u);
  EXPECT_EQ(tcp_of(p.a.net()).ehash.size(), 100u);
  EXPECT_EQ(p.a.mib(mib::tcpext_tcp_time_wait_overflow), 50u);
  EXPECT_EQ(p.a.net().sockets, 1u);  // the listener's alone
  p.advance(seconds(61));
  EXPECT_EQ(tcp_of(p.a.net()).ehash.size(), 0u);
  EXPECT_EQ(p.a.mib(mib::tcpext_tw), 100u);
}

/// Both ends are in TIME-WAIT, with timestamps, and nothing limits their answers.
struct crossed_case : segment_peer {
  crossed_case() {
    a.sysctl("net.ipv4.tcp_invalid_ratelimit", "0");
    tcp_out_options options = plain();
    options.timestamps = true;
    options.tsval = 1000;
    listener = listening();
    begin_passive(options);
    send(A, 0, 0, {}, stamped(1000));
    const int fd = *sys_accept4(a.app(), listener, nullptr, 0);
    close(fd);
    expect(F | A, 0, 0);
    send(F | A, 0, 0, {}, stamped(1000));
    expect(A, 1, 1);
    send(A, 1, 1, {}, stamped(1000));
    EXPECT_EQ(waiting(), 1u);
  }
  extra stamped(u32 tsval) {
    tcp_out_options out;
    out.timestamps = true;
    out.tsval = tsval;
    return {65535, syn_options(out)};
  }
  [[nodiscard]] std::size_t waiting() { return tcp_of(a.net()).timewaits.size(); }
};

TEST(tcp_timewait, an_impossible_acknowledgement_does_not_set_the_timestamp) {
  crossed_case t;
  t.send(A, 1, 1'000'000, {}, t.stamped(1u << 30));
  t.send(A, 1, -1'000'000, {}, t.stamped(1u << 30));
  t.expect_nothing();
  EXPECT_EQ(t.a.drops(drop_reason::tcp_ack_unsent_data), 1u);
  EXPECT_EQ(t.a.drops(drop_reason::tcp_too_old_ack), 1u);
  t.send(A, 1, 1, {}, t.stamped(1001));
  t.expect_nothing();
  EXPECT_EQ(t.a.mib(mib::tcpext_paws_estab), 0u);
}

TEST(tcp_timewait, ends_though_the_peer_answers_each_answer) {
  crossed_case t;
  t.advance(seconds(10));
  t.send(A, 1, 1, {}, t.stamped(1u << 30));  // by somebody who heard all
  for (int second = 0; second < 59; ++second) {
    t.send(A, 1, 1, {}, t.stamped(2000));
    t.expect(A, 1, 1);
    t.advance(seconds(1));
  }
  EXPECT_EQ(t.waiting(), 1u);
  t.advance(seconds(2));
  EXPECT_EQ(t.waiting(), 0u);
}

// --- FIN-WAIT-2 without a program ---------------------------------------------------------------

/// The host closed, its FIN is acknowledged, the peer's is still to come.
struct orphan_case : segment_peer {
  explicit orphan_case(int linger2 = 0) {
    const int fd = accepted();
    if (linger2 != 0) set(fd, sol_tcp, tcp_linger2, linger2);
    close(fd);
    expect(F | A, 0, 0);
    send(A, 0, 1);
    expect_nothing();
  }
  [[nodiscard]] tcp_net& tn() { return tcp_of(a.net()); }
  [[nodiscard]] std::size_t sockets() { return a.net().sockets; }
};

TEST(tcp_fin_wait2, of_an_orphan_is_a_small_object) {
  orphan_case p;
  EXPECT_EQ(p.tn().timewaits.size(), 1u);
  EXPECT_EQ(p.tn().orphans, 0u);
  const std::size_t before = p.sockets();
  p.send(F | A, 0, 1);
  p.expect(A, 1, 1);
  EXPECT_EQ(p.tn().timewaits.size(), 1u);
  EXPECT_EQ(p.sockets(), before);
  // Now it is TIME-WAIT, and lasts as long.
  p.advance(seconds(59));
  EXPECT_EQ(p.tn().timewaits.size(), 1u);
  p.advance(seconds(2));
  EXPECT_EQ(p.tn().timewaits.size(), 0u);
}

TEST(tcp_fin_wait2, linger2_shortens_and_lengthens_it) {
  orphan_case p(10);
  p.advance(milliseconds(9900));
  EXPECT_EQ(p.tn().ehash.size(), 1u);
  p.advance(milliseconds(200));
  EXPECT_EQ(p.tn().ehash.size(), 0u);
  orphan_case q(100);
  EXPECT_EQ(q.tn().timewaits.size(), 0u);  // longer than a small object lives
  q.advance(seconds(41));
  EXPECT_EQ(q.tn().timewaits.size(), 1u);
  q.advance(milliseconds(58'900));
  EXPECT_EQ(q.tn().ehash.size(), 1u);
  q.advance(milliseconds(200));
  EXPECT_EQ(q.tn().ehash.size(), 0u);
}

TEST(tcp_fin_wait2, a_fin_behind_a_hole_is_not_waited_for_without_end) {
  segment_peer p;
  p.close(p.accepted());
  p.expect(F | A, 0, 0);
  p.send(F | A, 5, 1);
  p.expect(A, 1, 0);
  p.advance(seconds(59));
  EXPECT_EQ(tcp_of(p.a.net()).ehash.size(), 1u);
  p.expect_nothing();
  p.advance(seconds(2));
  p.expect(R | A, 1, 0);
  EXPECT_EQ(tcp_of(p.a.net()).ehash.size(), 0u);
  EXPECT_EQ(tcp_of(p.a.net()).orphans, 0u);
}

TEST(tcp_fin_wait2, linger2_has_bounds) {
  segment_peer p;
  const int fd = p.accepted();
  EXPECT_EQ(p.opt(fd, sol_tcp, tcp_linger2), 60);
  p.set(fd, sol_tcp, tcp_linger2, 1000);
  EXPECT_EQ(p.opt(fd, sol_tcp, tcp_linger2), 120);
  p.set(fd, sol_tcp, tcp_linger2, -7);
  EXPECT_EQ(p.opt(fd, sol_tcp, tcp_linger2), -1);
}

TEST(tcp_fin_wait2, negative_linger2_means_none) {
  segment_peer p;
  const int fd = p.accepted();
  p.set(fd, sol_tcp, tcp_linger2, -1);
  p.close(fd);
  p.expect(F | A, 0, 0);
  p.send(A, 0, 1);
  p.expect(R, 1, 0);
  EXPECT_EQ(tcp_of(p.a.net()).ehash.size(), 0u);
}

TEST(tcp_fin_wait2, tcp_fin_timeout_is_the_default) {
  segment_peer p;
  p.a.sysctl("net.ipv4.tcp_fin_timeout", "20");
  p.close(p.accepted());
  p.expect(F | A, 0, 0);
  p.send(A, 0, 1);
  p.advance(milliseconds(19'900));
  EXPECT_EQ(tcp_of(p.a.net()).ehash.size(), 1u);
  p.advance(milliseconds(200));
  EXPECT_EQ(tcp_of(p.a.net()).ehash.size(), 0u);
}

TEST(tcp_fin_wait2, a_syn_is_answered_with_reset) {
  orphan_case p;
  p.send(S, 5, 0, {}, {65535, p.syn_options(p.plain())});
  EXPECT_EQ(p.take().flags, R | A);
  EXPECT_EQ(p.tn().ehash.size(), 0u);
}

TEST(tcp_fin_wait2, what_is_outside_the_window_is_answered_with_where_we_are) {
  orphan_case p;
  p.send(A, -10, 1, "x");
  p.expect(A, 1, 0);
  p.send(R, -10, 1);
  p.expect_nothing();
  EXPECT_EQ(p.tn().ehash.size(), 1u);
  p.send(R, 0, 1);
  EXPECT_EQ(p.tn().ehash.size(), 0u);
}

TEST(tcp_fin_wait2, an_impossible_acknowledgement_ends_nothing) {
  orphan_case p;
  p.send(F | A, 0, 1'000'000);
  p.expect(A, 1, 0);
  p.advance(seconds(1));
  p.send(A, 0, -1'000'000, "x");
  p.expect(A, 1, 0);
  p.advance(seconds(1));
  p.send(F | A, 0, 1);
  p.expect(A, 1, 1);
}

// --- reuse by connect(): RFC 6191, net.ipv4.tcp_tw_reuse ----------------------------------------

/// The host has but one port for its connections, and closed one with timestamps.
struct reuse_case : segment_peer {
  explicit reuse_case(const char* tw_reuse, bool stamps = true, bool peer_closes = true) {
    a.sysctl("net.ipv4.tcp_tw_reuse", tw_reuse);
    a.sysctl("net.ipv4.ip_local_port_range", "5000 5000");
    tcp_out_options options = plain();
    options.timestamps = stamps;
    options.tsval = 1;
    const int fd = connected(options);
    set(fd, sol_socket, so_reuseaddr, 1);
    close(fd);
    expect(F | A, 0, 0);
    send(peer_closes ? F | A : A, 0, 1, {}, {65535, stamp(stamps)});
    sent.clear();
    EXPECT_EQ(tcp_of(a.net()).timewaits.size(), 1u);
    old_end = host_isn + 2;
  }
  std::vector<u8> stamp(bool stamps) {
    tcp_out_options out;
    out.timestamps = stamps;
    out.tsval = 2;
    return syn_options(out);
  }
  /// connect() to the same place again, from the same port; `bound`: by the program's own wish.
  errc again(bool bound = false) {
    a.machine.enter(now());
    const int fd = *sys_socket(a.app(), af_inet, sock_stream, 0);
    if (bound) {
      set(fd, sol_socket, so_reuseaddr, 1);
      EXPECT_TRUE(sys_bind(a.app(), fd, addr4(host, 5000)));
    }
    const errc why = sys_connect(a.app(), fd, addr4(peer, peer_port)).error();
    settle();
    return why;
  }
  seq32 old_end;
};

TEST(tcp_tw_reuse, after_a_second_with_timestamps) {
  reuse_case p("1");
  EXPECT_EQ(p.again(), errc::addrnotavail);
  p.advance(milliseconds(1100));
  EXPECT_EQ(p.again(), errc::inprogress);
  const seen_segment syn = p.take();
  EXPECT_EQ(syn.flags, S);
  EXPECT_EQ(syn.source, 5000);
  EXPECT_GT(syn.seq - p.old_end, 65535);
  EXPECT_EQ(p.a.mib(mib::tcpext_tw_recycled), 1u);
  EXPECT_EQ(tcp_of(p.a.net()).timewaits.size(), 0u);
}

TEST(tcp_tw_reuse, after_as_long_as_tcp_tw_reuse_delay_says) {
  reuse_case p("1");
  p.a.sysctl("net.ipv4.tcp_tw_reuse_delay", "200");
  p.advance(milliseconds(190));
  EXPECT_EQ(p.again(), errc::addrnotavail);
  p.advance(milliseconds(20));
  EXPECT_EQ(p.again(), errc::inprogress);
}

TEST(tcp_tw_reuse, not_without_timestamps) {
  reuse_case p("1", false);
  p.advance(seconds(5));
  EXPECT_EQ(p.again(), errc::addrnotavail);
}

TEST(tcp_tw_reuse, not_when_switched_off) {
  reuse_case p("0");
  p.advance(seconds(5));
  EXPECT_EQ(p.again(), errc::addrnotavail);
}

TEST(tcp_tw_reuse, two_means_on_the_loopback_only) {
  reuse_case p("2");
  p.advance(seconds(5));
  EXPECT_EQ(p.again(), errc::addrnotavail);
}

TEST(tcp_tw_reuse, two_allows_it_there) {
  two_hosts lab;
  test_host& host = lab.a;
  host.sysctl("net.ipv4.ip_local_port_range", "5000 5000");
  const int listener = *sys_socket(host.app(), af_inet, sock_stream, 0);
  ASSERT_TRUE(sys_bind(host.app(), listener, addr4("127.0.0.1", 80)));
  ASSERT_TRUE(sys_listen(host.app(), listener, 8));
  const auto connect = [&] {
    host.machine.enter(lab.now());
    const int fd = *sys_socket(host.app(), af_inet, sock_stream, 0);
    const errc why = sys_connect(host.app(), fd, addr4("127.0.0.1", 80)).error();
    lab.settle();
    return std::pair(fd, why);
  };
  const auto [client, begun] = connect();
  ASSERT_EQ(begun, errc::inprogress);
  const int server = *sys_accept4(host.app(), listener, nullptr, 0);
  ASSERT_TRUE(sys_close(host.app(), client));
  lab.settle();
  ASSERT_TRUE(sys_close(host.app(), server));
  lab.settle();
  ASSERT_EQ(tcp_of(host.net()).timewaits.size(), 1u);
  EXPECT_EQ(connect().second, errc::addrnotavail);
  lab.advance(seconds(2));
  EXPECT_EQ(connect().second, errc::inprogress);
  EXPECT_TRUE(sys_accept4(host.app(), listener, nullptr, 0));
}

TEST(tcp_tw_reuse, not_while_the_peers_fin_is_to_come) {
  reuse_case p("1", true, false);
  p.advance(seconds(5));
  EXPECT_EQ(p.again(), errc::addrnotavail);
}

TEST(tcp_tw_reuse, a_port_that_the_program_chose_is_taken_over_at_once) {
  for (const bool peer_closes : {true, false}) {
    reuse_case p("0", true, peer_closes);
    EXPECT_EQ(p.again(true), errc::inprogress);
    const seen_segment syn = p.take();
    EXPECT_EQ(syn.flags, S);
    EXPECT_GT(syn.seq - p.old_end, 65535);
    EXPECT_EQ(tcp_of(p.a.net()).timewaits.size(), 0u);
  }
}

TEST(tcp_tw_reuse, a_port_that_the_program_chose_is_not_taken_over_without_timestamps) {
  reuse_case p("1", false);
  EXPECT_EQ(p.again(true), errc::addrnotavail);
}

TEST(tcp_tw_reuse, has_three_values) {
  segment_peer p;
  for (const char* bad : {"-1", "3", "x"}) {
    EXPECT_EQ(p.a.net().sysctls().set("net.ipv4.tcp_tw_reuse", bad).error(), errc::inval);
  }
}

/// RFC 5961 §5.2, RFC 7323 §4.3: the peer acknowledged the FIN, so what acknowledges anything else
/// is not its. A timestamp from there must not make the genuine segments look old: two ends that
/// both believed one would refuse each other's answers for ever.
TEST(tcp_timewait, believes_no_timestamp_of_a_forged_acknowledgement) {
  segment_peer p;
  tcp_out_options options = p.plain();
  options.timestamps = true;
  options.tsval = 1000;
  const int fd = p.connected(options);
  options.mss = 0;
  p.close(fd);
  p.expect(F | A, 0, 0);
  p.send(F | A, 0, 1, {}, {65535, p.syn_options(options)});
  p.expect(A, 1, 1);
  const auto bare = [&](s64 ack, u32 tsval) {
    options.tsval = tsval;
    p.advance(seconds(1));
    p.send(A, 1, ack, {}, {65535, p.syn_options(options)});
    p.expect_nothing();
  };
  bare(1 + (1 << 30), 1u << 30);
  bare(1 - (1 << 30), 1u << 30);
  bare(1, 1001);  // the genuine one
  EXPECT_EQ(p.a.mib(mib::tcpext_paws_estab), 0u);
  bare(1, 2000);
  options.tsval = 1500;
  p.send(A, 1, 1, {}, {65535, p.syn_options(options)});
  p.expect(A, 1, 1);  // older than a genuine one
  EXPECT_EQ(p.a.mib(mib::tcpext_paws_estab), 1u);
}

/// An incoming SYN: a younger timestamp is enough, whatever its number (RFC 6191 §2).
TEST(tcp_timewait, a_younger_timestamp_opens_a_new_connection) {
  segment_peer p;
  tcp_out_options options = p.plain();
  options.timestamps = true;
  options.tsval = 1000;
  const int fd = *[&] {
    p.listener = p.listening();
    p.begin_passive(options);
    options.mss = 0;
    p.send(A, 0, 0, {}, {65535, p.syn_options(options)});
    return sys_accept4(p.a.app(), p.listener, nullptr, 0);
  }();
  p.close(fd);
  p.expect(F | A, 0, 0);
  p.send(F | A, 0, 1, {}, {65535, p.syn_options(options)});
  p.expect(A, 1, 1);
  options.mss = 1000;
  options.tsval = 1000;
  p.send(S, -500, 0, {}, {65535, p.syn_options(options)});
  p.expect(A, 1, 1);
  options.tsval = 999;
  p.advance(seconds(1));
  p.send(S, 500, 0, {}, {65535, p.syn_options(options)});
  p.expect(A, 1, 1);
  EXPECT_EQ(p.a.mib(mib::tcpext_paws_estab), 1u);
  options.tsval = 1001;
  p.send(S, -500, 0, {}, {65535, p.syn_options(options)});
  EXPECT_EQ(p.take().flags, S | A);
}

/// Bytes of memory that this process holds.
std::size_t resident() {
  std::ifstream file("/proc/self/statm");
  std::size_t all = 0, pages = 0;
  file >> all >> pages;
  return pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
}

/// What lies in TIME-WAIT for a minute lies together, not between what its connections leave.
TEST(tcp_timewait, memory_of_connections_goes_back_before_their_time_wait_is_over) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "these allocators keep what is freed";
#endif
  constexpr std::size_t count = 4000;
  two_hosts lab;
  test_host& host = lab.a;
  host.app().set_limit(2 * count + 10);
  host.sysctl("net.ipv4.tcp_max_tw_buckets", "100000");
  const int listener = *sys_socket(host.app(), af_inet, sock_stream, 0);
  ASSERT_TRUE(sys_bind(host.app(), listener, addr4("127.0.0.1", 80)));
  ASSERT_TRUE(sys_listen(host.app(), listener, 8));
  ::malloc_trim(0);
  const std::size_t before = resident();
  std::vector<std::pair<int, int>> ends;
  for (std::size_t i = 0; i < count; ++i) {
    host.machine.enter(lab.now());
    const int client = *sys_socket(host.app(), af_inet, sock_stream, 0);
    ASSERT_EQ(sys_connect(host.app(), client, addr4("127.0.0.1", 80)).error(), errc::inprogress);
    lab.settle();
    ends.emplace_back(client, *sys_accept4(host.app(), listener, nullptr, 0));
  }
  const std::size_t peak = resident() - before;
  for (const auto& [client, server] : ends) {
    ASSERT_TRUE(sys_close(host.app(), client));
    lab.settle();
    ASSERT_TRUE(sys_close(host.app(), server));
    lab.settle();
  }
  ASSERT_EQ(tcp_of(host.net()).timewaits.size(), count);
  lab.memory.trim();
  ::malloc_trim(0);
  const std::size_t left = std::max(resident(), before) - before;
  EXPECT_LT(left, peak / 4) << "of " << peak << " bytes";
}

}  // namespace
}  // namespace ph
