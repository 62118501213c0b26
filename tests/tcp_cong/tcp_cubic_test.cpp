// CUBIC against the formulas of RFC 9438.
#include "net/tcp/tcp_cubic.h"

#include <gtest/gtest.h>

#include <cmath>

#include "tests/tcp_cong/driver.h"
#include "tests/tcp_cong/path_model.h"

namespace ph {
namespace {

/// In congestion avoidance after a loss at `window`.
struct after_loss : ack_driver {
  tcp_cubic cubic;
  explicit after_loss(u32 window) : ack_driver(cubic) {
    state.cwnd = window;
    loss();
  }
};

double curve(double t, double w_max, double cwnd) {
  const double k = std::cbrt((w_max - cwnd) / 0.4);
  return 0.4 * std::pow(t - k, 3) + w_max;
}

TEST(tcp_cubic, the_cube_root_is_right_to_the_last_digits) {
  EXPECT_EQ(tcp_cubic_root(0), 0);
  EXPECT_EQ(tcp_cubic_root(-1), 0);
  for (double x = 1e-9; x < 1e15; x *= 1.37) {
    EXPECT_NEAR(tcp_cubic_root(x) / std::cbrt(x), 1, 1e-14) << x;
  }
}

TEST(tcp_cubic, a_loss_leaves_seven_tenths_but_two_segments) {
  after_loss run(100);
  EXPECT_EQ(run.state.cwnd, 70u);
  EXPECT_EQ(run.state.ssthresh, 70u);
  after_loss small(2);
  EXPECT_EQ(small.state.cwnd, 2u);
  EXPECT_EQ(small.state.ssthresh, 2u);
}

// Long enough that Reno would be slower than the curve everywhere.
constexpr duration long_rtt = milliseconds(250);

TEST(tcp_cubic, follows_the_curve_after_a_loss) {
  constexpr duration rtt = long_rtt;
  after_loss run(100);
  const instant begin = run.now;
  double largest_error = 0;
  while (run.now - begin < seconds(8)) {
    run.round(rtt);
    // The window moves towards the curve one round trip ahead of the epoch's clock, which began
    // with the first acknowledgement.
    const double t = (run.now - begin).seconds();
    largest_error = std::max(largest_error, std::abs(run.state.cwnd - curve(t, 100, 70)));
  }
  EXPECT_LT(largest_error, 2.5);
  EXPECT_GT(run.state.cwnd, 120u) << "well beyond the plateau";
}

TEST(tcp_cubic, is_flat_around_the_window_of_the_loss) {
  after_loss run(100);
  const double k = std::cbrt(30 / 0.4);
  const instant begin = run.now;
  while ((run.now - begin).seconds() < k - 1) run.round(long_rtt);
  const u32 before = run.state.cwnd;
  while ((run.now - begin).seconds() < k + 1) run.round(long_rtt);
  EXPECT_LE(run.state.cwnd - before, 2u);
  EXPECT_NEAR(run.state.cwnd, 100, 1);
}

TEST(tcp_cubic, on_short_paths_grows_as_fast_as_reno_would) {
  // RFC 9438 §4.3: alpha = 3(1-β)/(1+β) segments per round trip until the old window is reached,
  // then one.
  after_loss run(20);
  ASSERT_EQ(run.state.cwnd, 14u);
  for (int i = 0; i < 10; ++i) run.round(milliseconds(5));
  EXPECT_NEAR(run.state.cwnd, 14 + 10 * tcp_cubic::alpha, 1);
  while (run.state.cwnd < 20) run.round(milliseconds(5));
  const u32 from = run.state.cwnd;
  for (int i = 0; i < 10; ++i) run.round(milliseconds(5));
  EXPECT_NEAR(run.state.cwnd, from + 10, 1);
}

TEST(tcp_cubic, fast_convergence_gives_up_a_part_of_the_plateau) {
  after_loss run(100);
  run.state.cwnd = 80;
  run.loss();  // below the last plateau: the new one is at 80 * 1.7 / 2 = 68
  ASSERT_EQ(run.state.cwnd, 56u);
  const instant begin = run.now;
  while (run.now - begin < seconds(5)) run.round(long_rtt);
  EXPECT_NEAR(run.state.cwnd, curve(5, 68, 56), 2);
}

TEST(tcp_cubic, after_a_timeout_the_curve_begins_on_its_plateau) {
  after_loss run(143);
  ASSERT_EQ(run.state.cwnd, 100u);
  run.timeout();
  EXPECT_EQ(run.state.ssthresh, 70u);
  while (run.state.cwnd < 70) run.round(milliseconds(100));
  // RFC 9438 §4.8: K = 0 and W_max = cwnd, so W(t) = 0.4 t³ + 70.
  const instant begin = run.now;
  while (run.now - begin < seconds(5)) run.round(milliseconds(100));
  EXPECT_NEAR(run.state.cwnd, 70 + 0.4 * 125, 8);  // one round trip is 3 segments here
}

TEST(tcp_cubic, time_in_which_the_window_is_not_used_does_not_count) {
  after_loss busy(100), idle(100);
  for (int i = 0; i < 20; ++i) busy.round(milliseconds(100)), idle.round(milliseconds(100));
  ASSERT_EQ(busy.state.cwnd, idle.state.cwnd);
  idle.cwnd_limited = false;
  for (int i = 0; i < 50; ++i) idle.round(milliseconds(100));
  EXPECT_EQ(idle.state.cwnd, busy.state.cwnd);
  idle.cwnd_limited = true;
  for (int i = 0; i < 20; ++i) busy.round(milliseconds(100)), idle.round(milliseconds(100));
  EXPECT_NEAR(idle.state.cwnd, busy.state.cwnd, 1);
}

TEST(tcp_cubic, nor_does_a_pause_with_nothing_in_flight) {
  after_loss busy(100), idle(100);
  for (int i = 0; i < 20; ++i) busy.round(milliseconds(100)), idle.round(milliseconds(100));
  idle.now += seconds(60);
  idle.machine.cx().enter(idle.now);
  idle.ca.on_tx_start(idle.machine.cx(), seconds(60), true, idle.state);
  for (int i = 0; i < 20; ++i) busy.round(milliseconds(100)), idle.round(milliseconds(100));
  EXPECT_NEAR(idle.state.cwnd, busy.state.cwnd, 1);
}

TEST(tcp_cubic, a_spurious_loss_leaves_no_trace_on_the_curve) {
  // RFC 9438 §4.9.1: cwnd and ssthresh are given back by whoever found out; the rest is CUBIC's.
  after_loss calm(100), misled(100);
  for (int i = 0; i < 20; ++i) calm.round(long_rtt), misled.round(long_rtt);
  const congestion_state before = misled.state;
  misled.loss();
  ASSERT_LT(misled.state.cwnd, before.cwnd);
  misled.state = before;
  misled.ca.on_undo(misled.machine.cx(), misled.state);
  for (int i = 0; i < 20; ++i) {
    calm.round(long_rtt), misled.round(long_rtt);
    EXPECT_EQ(misled.state.cwnd, calm.state.cwnd) << i;
  }
  misled.timeout();
  misled.state = before;
  misled.ca.on_undo(misled.machine.cx(), misled.state);
  const instant begin = misled.now;
  while (misled.now - begin < seconds(3)) misled.round(long_rtt);
  EXPECT_GT(misled.state.cwnd, before.cwnd + 10) << "the convex part goes on";
}

TEST(tcp_cubic, fills_a_path_with_a_queue) {
  tcp_cubic cubic;
  path_model path(cubic, {.queue_segs = 66});
  path.run_for(seconds(5));
  const u64 before = path.delivered;
  path.run_for(seconds(20));
  EXPECT_GT(path.goodput_bps(before, seconds(20)), 19e6);
  EXPECT_GT(path.lost, 0u);
}

}  // namespace
}  // namespace ph
