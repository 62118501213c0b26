// HyStart: where slow start ends, and where it does not.
#include "net/tcp/tcp_hystart.h"

#include <gtest/gtest.h>

#include "net/tcp/tcp_cubic.h"
#include "tests/tcp_cong/path_model.h"

namespace ph {
namespace {

/// Acknowledgements of one segment each; a round's come `gap` apart.
struct rounds {
  tcp_hystart hystart;
  instant now{seconds(1).ns};
  u64 delivered = 0, round_begun_at = 0;
  u32 cwnd = 40;

  /// True: slow start ended. `at` tells with which acknowledgement, counted from 1.
  bool round(u32 acks, duration rtt, duration gap = milliseconds(3)) {
    const u64 next = delivered;
    now += rtt;
    for (u32 i = 1; i <= acks; ++i) {
      ack_sample sample;
      sample.acked_segs = 1;
      sample.rtt = rtt;
      sample.delivered = ++delivered;
      sample.prior_delivered = static_cast<s64>(round_begun_at);
      if (hystart.ends_here(now, sample, cwnd)) {
        at = i;
        return true;
      }
      now += gap;
    }
    round_begun_at = next + acks;
    return false;
  }
  u32 at = 0;
};

TEST(tcp_hystart, steady_round_trips_do_not_end_slow_start) {
  rounds run;
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(run.round(50, milliseconds(40))) << i;
}

TEST(tcp_hystart, a_rise_ends_it_with_the_ninth_sample) {
  rounds run;
  EXPECT_FALSE(run.round(40, milliseconds(40)));
  EXPECT_TRUE(run.round(40, milliseconds(46)));
  EXPECT_EQ(run.at, 9u);
}

TEST(tcp_hystart, one_fast_sample_among_the_first_shows_that_there_is_no_queue) {
  rounds run;
  EXPECT_FALSE(run.round(40, milliseconds(40)));
  // Seven slow samples, then one that is not: the round's smallest decides.
  ack_sample sample;
  sample.acked_segs = 1;
  const u64 begun = run.delivered;  // all but the first belong to the round it begins
  for (int i = 0; i < 30; ++i) {
    sample.rtt = i == 7 ? milliseconds(41) : milliseconds(60);
    sample.delivered = ++run.delivered;
    sample.prior_delivered = static_cast<s64>(begun);
    run.now += milliseconds(3);
    EXPECT_FALSE(run.hystart.ends_here(run.now, sample, 40)) << i;
  }
}

TEST(tcp_hystart, the_rise_is_an_eighth_between_4_and_16_ms) {
  struct row {
    s64 rtt_ms, rise_us;
    bool ends;
  };
  for (const row& r : {row{8, 4'000, false}, row{8, 4'001, true}, row{80, 10'000, false},
                       row{80, 10'001, true}, row{400, 16'000, false}, row{400, 16'001, true}}) {
    rounds run;
    EXPECT_FALSE(run.round(20, milliseconds(r.rtt_ms)));
    const bool ended = run.round(20, milliseconds(r.rtt_ms) + microseconds(r.rise_us));
    EXPECT_EQ(ended, r.ends) << r.rtt_ms << " ms + " << r.rise_us << " us";
  }
}

TEST(tcp_hystart, a_train_of_half_the_smallest_round_trip_ends_it) {
  rounds run;
  // 40 ms: acknowledgements 1 ms apart; the 22nd comes 21 ms after the round began.
  EXPECT_FALSE(run.round(21, milliseconds(40), milliseconds(1)));
  EXPECT_TRUE(run.round(40, milliseconds(40), milliseconds(1)));
  EXPECT_EQ(run.at, 22u);
}

TEST(tcp_hystart, a_gap_of_more_than_2_ms_ends_the_train_not_slow_start) {
  rounds run;
  EXPECT_FALSE(run.round(60, milliseconds(40), microseconds(2'001)));
  rounds close;
  EXPECT_TRUE(close.round(60, milliseconds(40), microseconds(2'000)));
}

TEST(tcp_hystart, windows_below_16_segments_are_not_judged) {
  rounds run;
  run.cwnd = 15;
  EXPECT_FALSE(run.round(15, milliseconds(40)));
  EXPECT_FALSE(run.round(15, milliseconds(80)));
  run.cwnd = 16;
  EXPECT_TRUE(run.round(16, milliseconds(80)));
}

TEST(tcp_hystart, a_few_samples_prove_nothing) {
  rounds run;
  EXPECT_FALSE(run.round(20, milliseconds(40)));
  EXPECT_FALSE(run.round(8, milliseconds(80)));
}

TEST(tcp_hystart, cubic_leaves_slow_start_before_a_deep_queue_overflows) {
  // 100 Mbit/s, 50 ms: 417 segments in flight, and a queue of ten times that, which the ninth
  // doubling (5,120) would overflow.
  tcp_cubic cubic;
  path_model path(cubic, {.bytes_per_second = 12'500'000,
                          .rtt = milliseconds(50),
                          .queue_segs = 4000});
  path.run_for(milliseconds(2500));
  EXPECT_EQ(path.lost, 0u);
  EXPECT_LT(path.cong.ssthresh, 1000u);
  EXPECT_GT(path.cong.ssthresh, 208u);  // half the pipe
}

}  // namespace
}  // namespace ph
