// Vegas: one segment per round trip, by what waits in queues.
#include "net/tcp/tcp_vegas.h"

#include <gtest/gtest.h>

#include "tests/tcp_cong/driver.h"
#include "tests/tcp_cong/path_model.h"
#include "uapi/tcp_cc_info.h"

namespace ph {
namespace {

/// In congestion avoidance with a window of 40 and a smallest round-trip time of 100 ms.
struct vegas_run : ack_driver {
  tcp_vegas vegas;
  vegas_run() : ack_driver(vegas) {
    state.cwnd = state.ssthresh = 40;
    round(milliseconds(100));
    round(milliseconds(100));
    state.cwnd = 40;
  }
  /// Change of the window by one round trip at `rtt`, once it has been judged.
  int change(duration rtt) {
    state.cwnd = 40;
    round(rtt);
    state.cwnd = 40;
    round(rtt);
    return static_cast<int>(state.cwnd) - 40;
  }
};

TEST(tcp_vegas, keeps_two_to_four_segments_in_queues) {
  // Queued = 40 * (rtt - 100 ms) / rtt.
  struct row {
    s64 rtt_ms;
    int change;
  };
  for (const row& r : {row{100, 1}, row{104, 1}, row{106, 0}, row{110, 0}, row{113, -1},
                       row{200, -1}}) {
    vegas_run run;
    EXPECT_EQ(run.change(milliseconds(r.rtt_ms)), r.change) << r.rtt_ms << " ms";
  }
}

TEST(tcp_vegas, slow_start_doubles_in_every_other_round_trip) {
  tcp_vegas vegas;
  ack_driver run(vegas);
  std::vector<u32> windows;
  for (int i = 0; i < 7; ++i) {
    run.round(milliseconds(100));
    windows.push_back(run.state.cwnd);
  }
  int doubled = 0, kept = 0;
  for (std::size_t i = 1; i < windows.size(); ++i) {
    if (windows[i] == windows[i - 1]) ++kept;
    if (windows[i] >= 2 * windows[i - 1] - 1 && windows[i] != windows[i - 1]) ++doubled;
  }
  EXPECT_EQ(doubled, 3);
  EXPECT_EQ(kept, 3);
}

TEST(tcp_vegas, slow_start_ends_when_a_segment_waits) {
  tcp_vegas vegas;
  ack_driver run(vegas);
  for (int i = 0; i < 3; ++i) run.round(milliseconds(100));
  run.state.cwnd = 40;
  for (int i = 0; i < 3; ++i) run.round(milliseconds(110));  // 40 * 10 / 110 = 3.6
  EXPECT_FALSE(run.state.in_slow_start());
  EXPECT_LE(run.state.cwnd, 40u);
}

TEST(tcp_vegas, fills_the_path_with_a_short_queue_and_no_loss) {
  tcp_vegas vegas;
  path_model path(vegas);
  path.run_for(seconds(20));
  u32 longest = 0;
  path.watch = [&](const ack_sample&) { longest = std::max(longest, path.queued_segs()); };
  const u64 before = path.delivered, lost_before = path.lost;
  path.run_for(seconds(10));
  EXPECT_GT(path.goodput_bps(before, seconds(10)), 19.5e6);
  EXPECT_EQ(path.lost, lost_before);
  EXPECT_LE(longest, 7u);
}

TEST(tcp_vegas, a_loss_halves) {
  vegas_run run;
  run.loss();
  EXPECT_EQ(run.state.cwnd, 20u);
}

TEST(tcp_vegas, tells_its_round_trips) {
  vegas_run run;
  uapi::tcpvegas_info info;
  ASSERT_EQ(run.vegas.info({reinterpret_cast<u8*>(&info), sizeof info}), sizeof info);
  EXPECT_EQ(info.tcpv_minrtt, 100'000u);
}

}  // namespace
}  // namespace ph
