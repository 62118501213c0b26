// A small fixed mix of the swarm's seeds, and the swarm itself: that it repeats, and that its
// checkers see what they should.
#include "sim/swarm.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "sim/rare_branches.h"

namespace ph::sim {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// Sanitizers and unoptimised code cost a factor of ten and more.
#ifdef NDEBUG
constexpr u64 seeds = 300;
#else
constexpr u64 seeds = 30;
#endif

std::string words(const swarm_result& r) {
  std::string out = "./ph sim swarm --seeds 1 --first " + std::to_string(r.seed);
  for (const violation& v : r.violations) {
    out += "\n  " + v.rule + ", " + v.where + ": " + v.what;
  }
  return out;
}

TEST(swarm, seeds_break_no_rule) {
  swarm all;
  for (u64 seed = 1; seed <= seeds; ++seed) {
    const swarm_result r = all.run(seed);
    EXPECT_THAT(r.violations, IsEmpty()) << words(r);
  }
}

TEST(swarm, a_seed_repeats_to_the_byte_and_two_seeds_differ) {
  swarm one, two;
  std::set<u64> digests;
  for (u64 seed = 1; seed <= 10; ++seed) {
    const swarm_result first = one.run(seed);
    EXPECT_EQ(first.digest, two.run(seed).digest) << words(first);
    EXPECT_EQ(first.frames, two.run(seed).frames);
    digests.insert(first.digest);
  }
  EXPECT_EQ(digests.size(), 10u);
}

TEST(swarm, only_known_rare_branches_are_reached) {
  swarm all;
  for (u64 seed = 1; seed <= 20; ++seed) {
    for (const auto& [name, count] : all.run(seed).branches) {
      EXPECT_THAT(rare_branches, testing::Contains(name));
    }
  }
}

// --- the checker of one end, fed by hand ---------------------------------------------------------

struct dialogue {
  tcp_end_checker end;
  std::vector<std::vector<u8>> kept;  ///< options that segments point to
  std::vector<std::string> broken;
  instant now{};

  tcp_segment segment(u8 flags, u32 seq, u32 ack, u16 window, const tcp_out_options& options) {
    kept.emplace_back(tcp_options_size(options));
    tcp_options_write(kept.back(), options);
    tcp_segment s;
    s.flags = flags;
    s.seq = seq32(seq);
    s.ack_seq = seq32(ack);
    s.window = window;
    s.options = kept.back();
    return s;
  }
  void in(u8 flags, u32 seq, u32 ack, u32 len, u16 window = 1000,
          const tcp_out_options& options = {}) {
    end.received(now += milliseconds(2), segment(flags, seq, ack, window, options), len);
  }
  void out(u8 flags, u32 seq, u32 ack, u32 len, u16 window = 1000,
           const tcp_out_options& options = {}) {
    const auto bad = end.sent(now, segment(flags, seq, ack, window, options), len, true);
    if (bad) broken.emplace_back(bad->rule);
  }
  static constexpr u8 S = tcphdr_syn, A = tcphdr_ack, F = tcphdr_fin;
  static tcp_out_options offer(bool sack = true) {
    tcp_out_options o;
    o.mss = 500;
    o.sack_permitted = sack;
    return o;
  }
  /// Our numbers begin at 101, the peer's at 501 (first byte).
  void open(bool sack = true) {
    out(S, 100, 0, 0, 1000, offer(sack));
    in(S | A, 500, 101, 0, 1000, offer(sack));
    out(A, 101, 501, 0);
  }
};

TEST(wire_checker, an_honest_dialogue_breaks_nothing) {
  dialogue d;
  d.open();
  d.out(d.A, 101, 501, 500);
  d.out(d.A, 601, 501, 500);
  d.in(d.A, 501, 1101, 200);
  d.out(d.A, 1101, 701, 0, 800);
  d.in(d.A, 901, 1101, 50);
  tcp_out_options sack;
  sack.num_sacks = 1;
  sack.sacks[0] = {seq32(901), seq32(951)};
  d.out(d.A, 1101, 701, 0, 800, sack);
  d.out(d.A | d.F, 1101, 701, 0, 800);
  d.out(d.A, 101, 701, 500, 800);  // again
  EXPECT_THAT(d.broken, IsEmpty());
}

TEST(wire_checker, bare_segments_lie_in_the_window_and_probes_come_by_the_timer) {
  dialogue d;
  d.open();
  d.out(d.A, 101, 501, 500);
  d.out(d.A, 601, 501, 500);
  d.in(d.A, 501, 1101, 0, 0);  // closes the window
  d.out(d.A, 1101, 501, 0);
  EXPECT_THAT(d.broken, IsEmpty());
  d.now += milliseconds(200);
  d.out(d.A, 1100, 501, 0);  // a probe
  d.now += milliseconds(200);
  d.out(d.A, 1100, 501, 0);
  EXPECT_THAT(d.broken, IsEmpty());
  d.out(d.A, 1100, 501, 0);
  d.in(d.A, 501, 1101, 0, 0);
  d.out(d.A, 1100, 501, 0);
  EXPECT_THAT(d.broken, ElementsAre("probe", "probe"));
  d.broken.clear();
  d.out(d.A | d.F, 1101, 501, 0);
  d.out(d.A, 1102, 501, 0);  // behind a FIN that the window does not take
  EXPECT_THAT(d.broken, ElementsAre("bare"));
}

// Two ends with the same TCP_KEEPIDLE, the same distance apart each way: the peer's probe comes in
// at the instant of the own one.
TEST(wire_checker, a_keepalive_may_coincide_with_the_peers) {
  dialogue d;
  d.open();
  d.out(d.A, 101, 501, 10);
  d.in(d.A, 501, 111, 0);
  d.now += seconds(7) - milliseconds(2);
  d.in(d.A, 500, 111, 0);  // the peer's, seven seconds after its last segment
  d.out(d.A, 110, 501, 0);
  d.out(d.A, 111, 501, 0);  // the answer
  EXPECT_THAT(d.broken, IsEmpty());
  d.now += seconds(7);
  d.in(d.A, 500, 111, 0);  // two milliseconds after the timer
  d.out(d.A, 110, 501, 0);
  EXPECT_THAT(d.broken, ElementsAre("probe"));
}

// RFC 7413: no window was known when the SYN took data along.
TEST(wire_checker, data_of_a_syn_may_probe_a_closed_window) {
  dialogue d;
  d.out(d.S, 100, 0, 300, 1000, d.offer());
  d.in(d.S | d.A, 500, 101, 0, 200, d.offer());
  d.out(d.A, 101, 501, 200);
  d.in(d.A, 501, 301, 0, 0);
  d.out(d.A, 301, 501, 100);
  EXPECT_THAT(d.broken, IsEmpty());
  d.out(d.A, 301, 501, 101);  // a byte more than the SYN had
  d.out(d.A, 302, 501, 99);   // not the first one
  EXPECT_THAT(d.broken, ElementsAre("window", "window"));
}

// A SYN with data waits for ARP until the timer sends one without: both arrive before the answer.
TEST(wire_checker, a_syn_without_its_data_takes_nothing_back) {
  dialogue d;
  d.in(d.S, 500, 0, 300, 1000, d.offer());
  d.in(d.S, 500, 0, 0, 1000, d.offer());
  d.out(d.S | d.A, 100, 801, 0, 1000, d.offer());
  EXPECT_THAT(d.broken, IsEmpty());
}

// A host that answers a forged acknowledgement resets the number that it names.
TEST(wire_checker, a_reset_tells_nothing_of_what_was_sent_before) {
  dialogue d;
  d.open();
  d.end.forgive_gap_before(d.segment(tcphdr_rst, 101 + (1u << 30), 0, 0, {}));
  d.in(d.A, 501, 101, 10);
  d.out(d.A, 101, 511, 0);
  EXPECT_THAT(d.broken, IsEmpty());
  d.out(d.A, 102, 511, 10);
  EXPECT_THAT(d.broken, ElementsAre("sequence"));
}

// Segments of an attacker change nothing of what an end knows.
TEST(wire_checker, what_a_host_must_refuse_counts_for_nothing) {
  dialogue d;
  d.open();
  d.in(d.A, 501 + (1u << 30), 101, 10, 60000);  // far outside the window
  d.in(d.A, 501, 101 + (1u << 30), 10, 60000);  // acknowledges what was never sent
  d.in(d.A, 501, 101 - (1u << 30), 10, 60000);
  d.out(d.A, 101, 501, 500);
  d.out(d.A, 601, 501, 500);
  EXPECT_THAT(d.broken, IsEmpty());
  d.out(d.A, 1101, 511, 1);
  EXPECT_THAT(d.broken, ElementsAre("window"));
}

TEST(wire_checker, each_rule_is_seen_broken) {
  const auto after_open = [](auto&& say, bool sack = true) {
    dialogue d;
    d.open(sack);
    say(d);
    return d.broken;
  };
  EXPECT_THAT(after_open([](dialogue& d) { d.out(d.A, 101, 502, 0); }), ElementsAre("ack"));
  EXPECT_THAT(after_open([](dialogue& d) {
                d.in(d.A, 501, 101, 100);
                d.out(d.A, 101, 601, 0, 900);
                d.out(d.A, 101, 551, 0, 950);
              }),
              ElementsAre("ack"));
  EXPECT_THAT(after_open([](dialogue& d) {
                d.in(d.A, 701, 101, 100);  // not the bytes before it
                d.out(d.A, 101, 801, 0);
              }),
              ElementsAre("ack"));
  EXPECT_THAT(after_open([](dialogue& d) {
                d.out(d.A, 101, 501, 500);
                d.out(d.A, 601, 501, 500);
                d.out(d.A, 1101, 501, 1);
              }),
              ElementsAre("window"));
  EXPECT_THAT(after_open([](dialogue& d) { d.out(d.A, 101, 501, 0, 999); }),
              ElementsAre("shrink"));
  EXPECT_THAT(after_open([](dialogue& d) { d.out(d.A, 102, 501, 10); }),
              ElementsAre("sequence"));
  EXPECT_THAT(after_open([](dialogue& d) {
                d.out(d.A | d.F, 101, 501, 0);
                d.out(d.A, 102, 501, 1);
              }),
              ElementsAre("sequence"));
  EXPECT_THAT(after_open([](dialogue& d) { d.out(d.A, 101, 501, 501); }), ElementsAre("mss"));
  tcp_out_options stamps;
  stamps.timestamps = true;
  EXPECT_THAT(after_open([&](dialogue& d) { d.out(d.A, 101, 501, 0, 1000, stamps); }),
              ElementsAre("option"));
  tcp_out_options sack;
  sack.num_sacks = 1;
  sack.sacks[0] = {seq32(601), seq32(651)};
  EXPECT_THAT(after_open([&](dialogue& d) { d.out(d.A, 101, 501, 0, 1000, sack); }),
              ElementsAre("sack"));
  EXPECT_THAT(after_open([&](dialogue& d) { d.out(d.A, 101, 501, 0, 1000, sack); }, false),
              ElementsAre("option"));
}

TEST(arrived_bytes, pieces_join_in_any_order) {
  arrived_bytes a;
  a.add(0, 10);
  a.add(20, 30);
  a.add(40, 50);
  EXPECT_EQ(a.contiguous(), 10u);
  EXPECT_TRUE(a.covers(22, 30));
  EXPECT_FALSE(a.covers(22, 31));
  EXPECT_FALSE(a.covers(15, 25));
  EXPECT_FALSE(a.covers(30, 40));
  a.add(25, 45);
  EXPECT_TRUE(a.covers(20, 50));
  a.add(5, 20);
  EXPECT_EQ(a.contiguous(), 50u);
}

}  // namespace
}  // namespace ph::sim
