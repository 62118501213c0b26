// Reno as arithmetic, RFC 5681 §3.1, and the estimator of RFC 6298 as the sender shows it.
#include <gtest/gtest.h>

#include "net/tcp/tcp_reno.h"
#include "segment_peer.h"

namespace ph {
namespace {

struct reno_case : testing::Test {
  packet_memory memory;
  kernel machine{kernel_config{.memory = &memory}};
  tcp_reno reno;
  congestion_state state;
  void ack(u32 segs, bool limited = true, bool recovering = false) {
    ack_sample sample;
    sample.acked_segs = segs;
    sample.cwnd_limited = limited;
    sample.in_recovery = recovering;
    reno.on_ack(machine.boot_cpu(), sample, state);
  }
  void lose(loss_kind kind, u32 in_flight) {
    reno.on_loss(machine.boot_cpu(), {kind, in_flight, 1000}, state);
  }
};

TEST_F(reno_case, slow_start_adds_what_was_acknowledged) {
  ack(2);
  ack(3);
  EXPECT_EQ(state.cwnd, 15u);
}

TEST_F(reno_case, slow_start_ends_at_the_threshold_and_the_rest_counts_linearly) {
  state.ssthresh = 12;
  ack(4);  // two to the threshold, two of the twelve that earn one more
  EXPECT_EQ(state.cwnd, 12u);
  EXPECT_EQ(state.cwnd_cnt, 2u);
  ack(9);
  EXPECT_EQ(state.cwnd, 12u);
  ack(1);
  EXPECT_EQ(state.cwnd, 13u);
}

TEST_F(reno_case, congestion_avoidance_adds_one_segment_per_window) {
  state.cwnd = state.ssthresh = 20;
  for (int i = 0; i < 20; ++i) ack(1);
  EXPECT_EQ(state.cwnd, 21u);
  for (int i = 0; i < 21; ++i) ack(1);
  EXPECT_EQ(state.cwnd, 22u);
}

TEST_F(reno_case, an_unused_window_does_not_grow) {
  ack(10, false);
  EXPECT_EQ(state.cwnd, 10u);
}

TEST_F(reno_case, a_window_does_not_grow_in_recovery) {
  ack(10, true, true);
  EXPECT_EQ(state.cwnd, 10u);
}

TEST_F(reno_case, loss_halves_but_leaves_two) {
  state.cwnd = 17;
  lose(loss_kind::fast_retransmit, 17);
  EXPECT_EQ(state.ssthresh, 8u);
  EXPECT_EQ(state.cwnd, 8u);
  state.cwnd = 2;
  lose(loss_kind::fast_retransmit, 2);
  EXPECT_EQ(state.ssthresh, 2u);
}

TEST_F(reno_case, the_clamp_holds) {
  state.cwnd_clamp = 11;
  ack(5);
  EXPECT_EQ(state.cwnd, 11u);
}

/// RFC 6298 (2.2), (2.3) by hand, with the variance term at least 200 ms.
TEST(rtt, first_sample_and_smoothing) {
  segment_peer p;
  const int fd = p.connecting();
  p.advance(milliseconds(100));
  p.send_raw(S | A, p.peer_isn, p.host_isn + 1, {}, {65535, p.syn_options(p.plain())});
  p.expect(A, 0, 0);
  uapi::tcp_info info = p.info(fd);
  EXPECT_EQ(info.tcpi_rtt, 100'000u);
  EXPECT_EQ(info.tcpi_rttvar, 50'000u);
  EXPECT_EQ(info.tcpi_rto, 300'000u);
  p.write(fd, "x");
  p.expect(A, 0, 0, 1);
  p.advance(milliseconds(180));
  p.send(A, 0, 1);
  info = p.info(fd);
  EXPECT_EQ(info.tcpi_rtt, 110'000u);                // 7/8 of 100 and 1/8 of 180
  EXPECT_EQ(info.tcpi_rttvar, 57'500u);              // 3/4 of 50 and 1/4 of 80
  EXPECT_EQ(info.tcpi_rto, 110'000u + 230'000u);
  EXPECT_EQ(info.tcpi_min_rtt, 100'000u);
}

/// RFC 6298 §3: an acknowledgement of what was sent twice says nothing; the backed-off RTO stays
/// until a segment that was sent once is acknowledged.
TEST(rtt, karn) {
  segment_peer p;
  const int fd = p.connected();
  p.write(fd, "x");
  p.expect(A, 0, 0, 1);
  const u32 rto = p.info(fd).tcpi_rto;
  p.advance(microseconds(rto) + milliseconds(1));
  p.expect(A, 0, 0, 1);
  EXPECT_EQ(p.info(fd).tcpi_rto, 2 * rto);
  p.send(A, 0, 1);
  EXPECT_EQ(p.info(fd).tcpi_rto, 2 * rto);
  p.write(fd, "y");
  p.expect(A, 1, 0, 1);
  p.advance(milliseconds(10));
  p.send(A, 0, 2);
  EXPECT_LT(p.info(fd).tcpi_rto, 2 * rto);
}

}  // namespace
}  // namespace ph
