// DCTCP: the estimate of marks and what it does to the window (RFC 8257 §3.3).
#include "net/tcp/tcp_dctcp.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/tcp_cong/driver.h"
#include "tests/tcp_cong/path_model.h"
#include "uapi/tcp_cc_info.h"

namespace ph {
namespace {

struct dctcp_run : ack_driver {
  tcp_dctcp dctcp;
  dctcp_run() : ack_driver(dctcp) {
    state.cwnd = state.ssthresh = 40;
    round(milliseconds(1));  // the first round trip begins to measure
  }
  /// What the estimate is once the round trip that just ended has been judged.
  double alpha_after_next_ack() {
    now += microseconds(1);
    ack(milliseconds(1));
    return dctcp.alpha();
  }
};

TEST(tcp_dctcp, alpha_falls_by_a_sixteenth_each_round_trip_without_marks) {
  dctcp_run run;
  const double first = run.dctcp.alpha();
  for (int i = 0; i < 10; ++i) run.round(milliseconds(1));
  EXPECT_NEAR(run.dctcp.alpha(), first * std::pow(15.0 / 16, 10), 1e-9);
}

TEST(tcp_dctcp, alpha_becomes_the_fraction_of_marked_segments) {
  dctcp_run run;
  for (int i = 0; i < 150; ++i) {
    run.state.cwnd = 40;
    run.round(milliseconds(1), 10);
  }
  EXPECT_NEAR(run.dctcp.alpha(), 0.25, 0.01);
}

TEST(tcp_dctcp, one_step_of_the_average) {
  dctcp_run run;
  for (int i = 0; i < 10; ++i) run.round(milliseconds(1));
  run.state.cwnd = 40;
  run.round(milliseconds(1));
  const double before = run.dctcp.alpha();
  run.state.cwnd = 40;
  run.round(milliseconds(1), 39);
  // Its first acknowledgement judged the round before; the next judges this one: 39 of 40.
  const double between = before * 15 / 16;
  EXPECT_NEAR(run.dctcp.alpha(), between, 1e-9);
  EXPECT_NEAR(run.alpha_after_next_ack(), between * 15 / 16 + 39.0 / 40 / 16, 1e-9);
}

TEST(tcp_dctcp, an_echo_takes_half_of_alpha_off_the_window) {
  dctcp_run run;
  for (int i = 0; i < 11; ++i) run.round(milliseconds(1));
  const double alpha = run.dctcp.alpha();
  ASSERT_LT(alpha, 0.6);
  run.state.cwnd = 200;
  run.dctcp.on_ecn(run.machine.cx(), {}, run.state);
  EXPECT_EQ(run.state.cwnd, static_cast<u32>(200 * (1 - alpha / 2)));
  EXPECT_EQ(run.state.ssthresh, run.state.cwnd);
}

TEST(tcp_dctcp, a_loss_halves) {
  dctcp_run run;
  run.state.cwnd = 200;
  run.loss();
  EXPECT_EQ(run.state.cwnd, 100u);
}

TEST(tcp_dctcp, keeps_the_queue_at_the_threshold_and_the_path_full) {
  tcp_dctcp dctcp;
  // 1 Gbit/s, 1 ms: 83 segments in flight; marks above 20.
  path_model path(dctcp, {.bytes_per_second = 125'000'000,
                          .rtt = milliseconds(1),
                          .queue_segs = 400,
                          .mark_above_segs = 20});
  path.run_for(seconds(1));
  u32 longest = 0;
  path.watch = [&](const ack_sample&) { longest = std::max(longest, path.queued_segs()); };
  const u64 before = path.delivered, lost_before = path.lost;
  path.run_for(seconds(1));
  EXPECT_GT(path.goodput_bps(before, seconds(1)), 0.97e9);
  EXPECT_EQ(path.lost, lost_before);
  EXPECT_LT(longest, 40u);
  EXPECT_LT(dctcp.alpha(), 0.5);
}

TEST(tcp_dctcp, tells_its_estimate) {
  dctcp_run run;
  uapi::tcp_dctcp_info info;
  ASSERT_EQ(run.dctcp.info({reinterpret_cast<u8*>(&info), sizeof info}), sizeof info);
  EXPECT_EQ(info.dctcp_enabled, 1);
  EXPECT_EQ(info.dctcp_alpha, static_cast<u32>(run.dctcp.alpha() * 1024));
  EXPECT_EQ(run.dctcp.info({reinterpret_cast<u8*>(&info), 4}), 4u);
}

}  // namespace
}  // namespace ph
