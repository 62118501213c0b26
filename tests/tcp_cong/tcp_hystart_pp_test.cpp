// HyStart++: when slow start ends, and when it does not (RFC 9406 §4).
#include "net/tcp/tcp_hystart_pp.h"

#include <gtest/gtest.h>

#include "net/tcp/tcp_cubic.h"
#include "tests/tcp_cong/driver.h"
#include "tests/tcp_cong/path_model.h"

namespace ph {
namespace {

constexpr u32 no_ssthresh = congestion_state{}.ssthresh;

struct slow_start_pp : ack_driver {
  tcp_cubic_pp cubic;
  slow_start_pp() : ack_driver(cubic) {}
};

TEST(tcp_hystart_pp, doubles_while_the_round_trip_stays) {
  slow_start_pp run;
  for (int i = 0; i < 6; ++i) run.round(milliseconds(40));
  EXPECT_EQ(run.state.cwnd, 640u);
  EXPECT_EQ(run.state.ssthresh, no_ssthresh);
}

TEST(tcp_hystart_pp, a_rise_slows_the_growth_to_a_quarter_and_five_rounds_end_it) {
  slow_start_pp run;
  for (int i = 0; i < 2; ++i) run.round(milliseconds(40));
  ASSERT_EQ(run.state.cwnd, 40u);
  run.round(milliseconds(46));  // 40 / 8 = 5 ms is the threshold
  // The eighth sample shows it: seven segments doubled, the others grow by a quarter.
  EXPECT_NEAR(run.state.cwnd, 40 + 7 + 33 / 4, 1);
  for (int i = 0; i < 4; ++i) {
    const u32 before = run.state.cwnd;
    run.round(milliseconds(46));
    EXPECT_NEAR(run.state.cwnd, before * 5 / 4, 1);
    EXPECT_EQ(run.state.ssthresh, no_ssthresh);
  }
  run.round(milliseconds(46));
  EXPECT_LE(run.state.ssthresh, run.state.cwnd);
  EXPECT_GT(run.state.ssthresh, 110u);
}

TEST(tcp_hystart_pp, a_fall_afterwards_resumes_slow_start) {
  slow_start_pp run;
  for (int i = 0; i < 2; ++i) run.round(milliseconds(40));
  run.round(milliseconds(46));
  ASSERT_LT(run.state.cwnd, 60u);
  run.round(milliseconds(40));  // chance, no queue
  const u32 before = run.state.cwnd;
  run.round(milliseconds(40));
  EXPECT_EQ(run.state.cwnd, 2 * before);
  EXPECT_EQ(run.state.ssthresh, no_ssthresh);
}

TEST(tcp_hystart_pp, the_threshold_is_an_eighth_between_4_and_16_ms) {
  struct row {
    s64 rtt_ms, rise_us;
    bool slows;
  };
  for (const row& r : {row{8, 3'900, false}, row{8, 4'000, true}, row{80, 9'900, false},
                       row{80, 10'000, true}, row{400, 15'900, false}, row{400, 16'000, true}}) {
    slow_start_pp run;
    for (int i = 0; i < 2; ++i) run.round(milliseconds(r.rtt_ms));
    run.round(milliseconds(r.rtt_ms) + microseconds(r.rise_us));
    EXPECT_EQ(run.state.cwnd < 80, r.slows) << r.rtt_ms << " ms + " << r.rise_us << " us";
  }
}

TEST(tcp_hystart_pp, a_few_samples_prove_nothing) {
  slow_start_pp run;
  run.state.cwnd = 2;
  run.round(milliseconds(40));
  ASSERT_EQ(run.state.cwnd, 4u);
  run.round(milliseconds(80));  // four samples
  EXPECT_EQ(run.state.cwnd, 8u);
}

TEST(tcp_hystart_pp, leaves_slow_start_before_a_deep_queue_overflows) {
  // 100 Mbit/s, 50 ms: 417 segments in flight, and a queue of ten times that, which the ninth
  // doubling (5,120) would overflow. The eighth shows the queue; five rounds by a quarter follow.
  tcp_cubic_pp cubic;
  path_model path(cubic, {.bytes_per_second = 12'500'000,
                          .rtt = milliseconds(50),
                          .queue_segs = 4000});
  path.run_for(milliseconds(2500));
  EXPECT_EQ(path.lost, 0u);
  EXPECT_LT(path.cong.ssthresh, 4000u);  // 1,280 * 1.25⁵ = 3,906
  EXPECT_GT(path.cong.ssthresh, 1280u);
}

TEST(tcp_hystart_pp, only_the_first_slow_start_looks_at_round_trips) {
  slow_start_pp run;
  run.state.cwnd = 100;
  run.timeout();
  run.state.ssthresh = 1000;
  for (int i = 0; i < 5; ++i) run.round(milliseconds(40));
  ASSERT_EQ(run.state.cwnd, 32u);
  run.round(milliseconds(80));
  EXPECT_EQ(run.state.cwnd, 64u);
}

}  // namespace
}  // namespace ph
