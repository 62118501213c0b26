// Peers that lie: S. Savage et al., "TCP Congestion Control with a Misbehaving Receiver" (1999),
// RFC 5961, RFC 7323 §5 and the attacks on small segments and selective acknowledgements. In each
// case: the congestion window does not grow beyond what honest acknowledgements would have earned,
// memory stays bounded, and the connection lives on.
#include <gtest/gtest.h>

#include <set>

#include "segment_peer.h"

namespace ph {
namespace {

using namespace uapi;

constexpr u32 mss = 1000;

/// A connection whose host has a lot to send; initial window of ten segments, Reno.
struct hostile_peer : segment_peer {
  int fd = -1;
  void open_connection(const tcp_out_options& options, u16 window) {
    EXPECT_TRUE(a.net().sysctls().set("net.ipv4.tcp_congestion_control", "reno"));
    fd = connected(options, window);
    set(fd, sol_socket, so_sndbuf, 400'000);
  }
  void open(const tcp_out_options& options = plain(), u16 window = 65535) {
    open_connection(options, window);
    write(fd, std::string(300'000, 'x'));
  }
  void open_with_sack() { open(with_sack()); }
  /// Highest relative number that the host has sent, and forgets what it sent.
  s64 take_all() {
    while (!sent.empty()) highest = std::max(highest, seq_of(sent.front()) + take_len());
    return highest;
  }
  s64 take_len() { return static_cast<s64>(take().payload.size()); }
  u32 cwnd() { return info(fd).tcpi_snd_cwnd; }
  void ack(s64 n, const extra& more = {}) { send(A, 0, n, {}, more); }
  void ack_with_blocks(s64 n, std::initializer_list<std::pair<s64, s64>> blocks) {
    tcp_out_options o;
    for (const auto& [from, to] : blocks) {
      o.sacks[o.num_sacks++] = {host_isn + static_cast<u32>(1 + from),
                                host_isn + static_cast<u32>(1 + to)};
    }
    ack(n, {65535, syn_options(o)});
  }
  /// The connection still does its work: an honest peer gets the rest of the data.
  void expect_alive() {
    ASSERT_EQ(state(fd), tcp_state::established);
    for (int i = 0; i < 3000 && highest < 300'000; ++i) {
      take_all();
      ack(highest);
      advance(milliseconds(5));
    }
    EXPECT_EQ(take_all(), 300'000);
  }
  s64 highest = 0;
};

/// Savage §2.1: one segment acknowledged in many pieces. RFC 3465 and byte counting: the window
/// grows by what was delivered, not by how often it is said.
TEST(tcp_hostile, divided_acknowledgements_earn_no_more_than_whole_ones) {
  hostile_peer p;
  p.open();
  EXPECT_EQ(p.take_all(), 10 * mss);
  for (s64 at = 10; at <= 2 * mss; at += 10) p.ack(at);
  EXPECT_LE(p.cwnd(), 12u) << "two segments were delivered, in two hundred acknowledgements";
  EXPECT_LE(p.take_all(), 14 * mss);
  p.expect_alive();
}

/// Savage §2.2: duplicate acknowledgements that no segment caused. RFC 5681 §3.2 lets each release
/// one segment during a recovery; the window stays reduced, and the peer's own window is the end.
TEST(tcp_hostile, invented_duplicate_acknowledgements_release_no_flood) {
  hostile_peer p;
  p.open();
  EXPECT_EQ(p.take_all(), 10 * mss);
  std::size_t segments = 0;
  for (int i = 0; i < 1000; ++i) {
    p.ack(0);
    EXPECT_LE(p.sent.size(), 2u) << "the lost segment and one more";
    segments += p.sent.size();
    p.take_all();
  }
  EXPECT_LE(segments, 65535u / mss);
  EXPECT_LE(p.cwnd(), 10u);
  EXPECT_LE(p.info(p.fd).tcpi_snd_ssthresh, 10u);
  p.expect_alive();
}

/// Savage §2.3: data acknowledged before they can have arrived. What was never sent cannot be
/// acknowledged (RFC 9293 §3.10.7.4, RFC 5961 §5); what was sent can, and costs the peer the data.
TEST(tcp_hostile, acknowledgements_of_unsent_data_are_only_answered) {
  hostile_peer p;
  p.open();
  EXPECT_EQ(p.take_all(), 10 * mss);
  for (s64 ahead = 1; ahead < 40'000'000; ahead *= 3) {
    p.ack(10 * mss + ahead);
    while (!p.sent.empty()) EXPECT_EQ(p.take().payload.size(), 0u);
  }
  EXPECT_EQ(p.cwnd(), 10u);
  EXPECT_EQ(p.info(p.fd).tcpi_unacked, 10u);
  p.expect_alive();
}

TEST(tcp_hostile, early_acknowledgements_of_sent_data_keep_within_slow_start) {
  hostile_peer p;
  p.open();
  u32 rounds = 0;
  for (s64 before = p.take_all(); before < 200'000; before = p.take_all(), ++rounds) {
    p.ack(before);  // at once: the round trip is what the peer pretends it to be
    EXPECT_LE(p.cwnd(), 10u << (rounds + 1)) << "twice as much each round, RFC 5681 §3.1";
  }
  p.expect_alive();
}

TEST(tcp_hostile, selective_acknowledgements_beyond_what_was_sent_mean_nothing) {
  hostile_peer p;
  p.open_with_sack();
  EXPECT_EQ(p.take_all(), 10 * mss);
  for (int i = 0; i < 50; ++i) {
    p.ack_with_blocks(0, {{20'000 + i * 100, 21'000 + i * 100}, {9'000, 400'000}});
  }
  EXPECT_EQ(p.info(p.fd).tcpi_sacked, 0u);
  EXPECT_EQ(p.info(p.fd).tcpi_lost, 0u);
  EXPECT_EQ(p.info(p.fd).tcpi_retrans, 0u);
  EXPECT_LE(p.cwnd(), 10u);
  p.expect_alive();
}

TEST(tcp_hostile, selective_acknowledgements_below_the_window_mean_nothing) {
  hostile_peer p;
  p.open_with_sack();
  p.take_all();
  p.ack(5 * mss);
  const s64 out = p.take_all();
  const u32 before = p.cwnd();
  for (int i = 0; i < 50; ++i) {
    p.ack_with_blocks(5 * mss, {{0, 1000}, {-200'000, -100'000}});
    p.ack_with_blocks(5 * mss, {{3000, 2000}, {4000, 4000}});  // backward, empty
  }
  EXPECT_EQ(p.info(p.fd).tcpi_sacked, 0u);
  EXPECT_LE(p.cwnd(), before);
  EXPECT_LE(p.take_all(), out + 5 * mss) << "duplicates release nothing (RFC 6675 counts blocks)";
  p.expect_alive();
}

TEST(tcp_hostile, overlapping_blocks_are_counted_once) {
  hostile_peer p;
  p.open_with_sack();
  EXPECT_EQ(p.take_all(), 10 * mss);
  for (int i = 0; i < 100; ++i) {
    p.ack_with_blocks(0, {{1000, 3000}, {2000, 4000}, {1500, 3500}, {1000, 4000}});
  }
  EXPECT_EQ(p.info(p.fd).tcpi_sacked, 3u);
  EXPECT_LE(p.take_all(), 14 * mss);
  EXPECT_LE(p.cwnd(), 10u);
  p.expect_alive();
}

/// Blocks of single bytes cut the queue: their number must stay within what was sent.
TEST(tcp_hostile, crumbs_of_blocks_do_not_multiply_the_queue) {
  hostile_peer p;
  p.open_with_sack();
  EXPECT_EQ(p.take_all(), 10 * mss);
  const u64 before = p.memory.live_packets();
  for (s64 at = 1; at + 8 < 9 * mss; at += 8) {
    p.ack_with_blocks(0, {{at, at + 1}, {at + 2, at + 3}, {at + 4, at + 5}, {at + 6, at + 7}});
  }
  EXPECT_LE(p.memory.live_packets(), before + 40);
  EXPECT_EQ(p.info(p.fd).tcpi_sacked, 0u) << "no segment was covered whole";
  p.expect_alive();
}

/// RFC 2018 §8: a receiver may take selective acknowledgements back; data are kept until they are
/// acknowledged for good, and the timeout sends all of them.
/// All data of a packet of several segments, but not the FIN behind them.
TEST(tcp_hostile, a_block_that_leaves_out_only_the_fin_cuts_nothing) {
  hostile_peer p;
  p.open_connection(hostile_peer::with_sack(), 65535);
  p.write(p.fd, std::string(1000, 'x'));
  p.expect(A, 0, 0, 1000);
  p.ack(0, {1000});
  p.write(p.fd, std::string(2000, 'x'));
  p.shut(p.fd, shut_wr);
  p.expect_nothing();
  p.ack(0);  // the window is open again
  p.expect(A, 1000, 0, 1000);
  p.expect(F | A, 2000, 0, 1000);
  p.ack_with_blocks(0, {{1000, 3000}});
  p.ack(3000);
  p.sent.clear();
  p.advance(seconds(2));
  p.expect(F | A, 3000, 0);
  p.ack(3001);
  EXPECT_EQ(p.state(p.fd), tcp_state::fin_wait2);
}

TEST(tcp_hostile, reneging_loses_no_data) {
  hostile_peer p;
  p.open_with_sack();
  EXPECT_EQ(p.take_all(), 10 * mss);
  p.ack_with_blocks(0, {{1 * mss, 10 * mss}});
  EXPECT_EQ(p.info(p.fd).tcpi_sacked, 9u);
  p.take_all();
  p.ack(1 * mss);  // and not a word of the rest
  std::set<s64> again;
  for (int i = 0; i < 100 && again.size() < 9; ++i) {
    p.advance(milliseconds(100));
    while (!p.sent.empty()) {
      const seen_segment s = p.take();
      if (p.seq_of(s) < 10 * mss && !s.payload.empty()) again.insert(p.seq_of(s));
    }
    if (!again.empty()) {
      s64 contiguous = 1 * mss;
      while (again.contains(contiguous)) contiguous += mss;
      p.ack(contiguous);
    }
  }
  EXPECT_EQ(again.size(), 9u) << "each of the nine segments came again";
  p.highest = 10 * mss;
  p.expect_alive();
}

/// RFC 9293 §3.8.6: a window that closes below what is out, and opens again, over and over.
TEST(tcp_hostile, a_window_taken_back_and_given_again_is_survived) {
  hostile_peer p;
  p.open();
  EXPECT_EQ(p.take_all(), 10 * mss);
  const u64 before = p.memory.live_packets();
  for (int i = 0; i < 30; ++i) {
    p.ack(2 * mss, {0});
    p.advance(milliseconds(700));
    const s64 out = p.take_all();
    EXPECT_LE(out, 12 * mss) << "nothing new goes into a closed window";
    p.ack(2 * mss, {static_cast<u16>(i % 2 == 0 ? 100 : 8000)});
    p.advance(milliseconds(50));
    p.take_all();
  }
  EXPECT_LE(p.memory.live_packets(), before + 40);
  p.ack(2 * mss);
  p.expect_alive();
}

TEST(tcp_hostile, an_mss_of_nothing_is_raised_to_the_least) {
  for (const u16 offered : {0, 1, 10, 47}) {
    hostile_peer p;
    tcp_out_options o;
    o.mss = offered;
    std::vector<u8> options{tcpopt_mss, 4, 0, static_cast<u8>(offered)};
    p.fd = p.connecting();
    p.send_raw(S | A, p.peer_isn, p.host_isn + 1, {}, {65535, options});
    p.expect(A, 0, 0);
    p.write(p.fd, std::string(4000, 'x'));
    ASSERT_GE(p.sent.size(), 2u);
    // net.ipv4.tcp_min_snd_mss: 48 bytes with options; a zero MSS is none, which means 536.
    EXPECT_EQ(p.sent.front().payload.size(), offered == 0 ? 536u : 48u) << offered;
    const u64 before = p.memory.live_packets();
    for (int i = 0; i < 400 && p.highest < 4000; ++i) {
      p.ack(p.take_all());
      p.advance(milliseconds(5));
    }
    EXPECT_EQ(p.highest, 4000);
    EXPECT_LE(p.memory.live_packets(), before + 10);
  }
}

/// RFC 5961 §3: a reset counts only at RCV.NXT exactly; elsewhere in the window it is challenged.
TEST(tcp_hostile, resets_in_the_window_do_not_end_the_connection) {
  hostile_peer p;
  p.open();
  p.take_all();
  std::size_t answers = 0;
  for (s64 at = 1; at < 60'000; at += 100) {
    p.send(R, at, 0);
    p.send(R | A, at, 0);
    answers += p.sent.size();
    while (!p.sent.empty()) EXPECT_EQ(p.take().payload.size(), 0u);
  }
  EXPECT_GE(answers, 1u) << "the peer is asked (RFC 5961 §3.2)";
  EXPECT_LE(answers, 10u) << "but not each time (§7)";
  p.expect_alive();
}

/// tcp_challenge_ack_limit: RFC 5961 §7's is the host's; it does not touch what is merely old.
TEST(tcp_hostile, the_hosts_limit_of_challenges) {
  hostile_peer p;
  p.a.sysctl("net.ipv4.tcp_challenge_ack_limit", "1");
  p.a.sysctl("net.ipv4.tcp_invalid_ratelimit", "0");
  p.open();
  p.take_all();
  p.advance(seconds(2));
  p.take_all();
  std::size_t answers = 0;
  for (s64 at = 1; at < 1000; at += 100) {
    p.send(R, at, 0);
    answers += p.sent.size();
    p.sent.clear();
  }
  EXPECT_EQ(answers, 1u);
  for (int i = 0; i < 5; ++i) {
    p.send(A, -1, 0);  // as a keepalive probe
    EXPECT_EQ(p.sent.size(), 1u);
    p.sent.clear();
  }
  p.expect_alive();
}

/// RFC 5961 §4: a SYN, wherever it lies, is only challenged.
TEST(tcp_hostile, syns_in_the_window_do_not_end_the_connection) {
  hostile_peer p;
  p.open();
  p.take_all();
  std::size_t answers = 0;
  for (s64 at = -5; at < 60'000; at += 97) {
    p.send(S, at, 0);
    p.send(S | A, at, 0);
    answers += p.sent.size();
    while (!p.sent.empty()) EXPECT_EQ(p.take().flags & ~P, A);
  }
  EXPECT_LE(answers, 10u);
  p.expect_alive();
}

/// RFC 7323 §5: a segment with an older timestamp is answered, and its data are not taken, even if
/// its numbers fit; the window and the acknowledgement in it mean nothing either.
TEST(tcp_hostile, timestamps_wound_back_are_refused) {
  hostile_peer p;
  tcp_out_options o = p.plain();
  o.timestamps = true;
  o.tsval = 500'000;
  p.fd = p.connecting();
  const u32 echo = 0;
  o.tsecr = echo;
  p.send_raw(S | A, p.peer_isn, p.host_isn + 1, {}, {65535, p.syn_options(o)});
  p.take();
  const auto stamped = [&](u32 tsval) {
    tcp_out_options with;
    with.timestamps = true;
    with.tsval = tsval;
    return segment_peer::extra{65535, segment_peer::syn_options(with)};
  };
  p.send(A, 0, 0, "good", stamped(500'100));
  EXPECT_EQ(p.read(p.fd), "good");
  while (!p.sent.empty()) p.take();
  for (const u32 back : {1u, 1000u, 400'000u}) {
    p.send(A, 4, 0, "evil", stamped(500'100 - back));
    EXPECT_EQ(p.read(p.fd), "");
    const seen_segment answer = p.take();
    EXPECT_EQ(p.ack_of(answer), 4);
  }
  p.send(A, 4, 0, "more", stamped(500'200));
  EXPECT_EQ(p.read(p.fd), "more");
}

/// Data out of order in single bytes: each costs far more than a byte, so the buffer's limit has to
/// count what it costs.
TEST(tcp_hostile, crumbs_out_of_order_stay_within_the_receive_buffer) {
  hostile_peer p;
  p.open();
  p.take_all();
  p.set(p.fd, sol_socket, so_rcvbuf, 20'000);
  const u64 before = p.memory.live_packets();
  for (s64 at = 2; at < 60'000; at += 2) p.send(A, at, 0, "y");
  EXPECT_LE(p.memory.live_packets(), before + 100);
  EXPECT_EQ(p.state(p.fd), tcp_state::established);
  p.sent.clear();
  p.send(A, 0, 0, "ab");
  EXPECT_GE(p.read(p.fd).size(), 2u) << "data in order are still taken";
}

}  // namespace
}  // namespace ph
