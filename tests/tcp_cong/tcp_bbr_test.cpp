// BBR: its modes, its gain cycle, and that losses are not its signal.
#include "net/tcp/tcp_bbr.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/tcp_cong/path_model.h"
#include "uapi/tcp_cc_info.h"

namespace ph {
namespace {

using mode = tcp_bbr::mode;

uapi::tcp_bbr_info info_of(const tcp_bbr& bbr) {
  uapi::tcp_bbr_info out;
  EXPECT_EQ(bbr.info({reinterpret_cast<u8*>(&out), sizeof out}), sizeof out);
  return out;
}

struct bbr_holder {
  tcp_bbr bbr;  // made before the path, which calls it at once
};
struct bbr_path : bbr_holder, path_model {
  explicit bbr_path(path_config settings = {}) : path_model(bbr, settings) {}
  [[nodiscard]] double bw_share() const {
    return static_cast<double>(bbr.bandwidth()) / static_cast<double>(config.bytes_per_second);
  }
};

TEST(tcp_bbr, the_first_window_is_paced_over_the_first_round_trip) {
  bbr_path path;
  // 2.885 * 10 * 1500 bytes / 40 ms, less 1 %.
  EXPECT_NEAR(static_cast<double>(path.cong.pacing_rate), 2.885 * 15000 / 0.04 * 0.99, 2000);
}

TEST(tcp_bbr, startup_doubles_each_round_trip_and_stops_when_the_pipe_is_full) {
  bbr_path path({.bytes_per_second = 12'500'000, .queue_segs = 1000});
  std::vector<u64> rates;
  while (!path.bbr.full_pipe() && rates.size() < 50) {
    rates.push_back(path.bbr.bandwidth());
    path.run_for(milliseconds(40));
  }
  // From 10 segments to 333: five doublings, then three rounds without growth, and the round trips
  // that a queue of two bandwidth-delay products makes longer.
  EXPECT_GE(rates.size(), 8u);
  EXPECT_LE(rates.size(), 16u);
  EXPECT_NEAR(path.bw_share(), 1, 0.02);
  for (std::size_t i = 2; i < 5; ++i) EXPECT_GT(rates[i + 1], rates[i] * 3 / 2) << i;
}

TEST(tcp_bbr, drain_empties_what_startup_queued) {
  bbr_path path({.queue_segs = 1000});
  while (path.bbr.current_mode() == mode::startup) path.run_for(milliseconds(1));
  EXPECT_EQ(path.bbr.current_mode(), mode::drain);
  const u32 queue = path.queued_segs();
  EXPECT_GT(queue, 40u);
  EXPECT_EQ(info_of(path.bbr).bbr_pacing_gain, 88u);
  const instant begin = path.now;
  while (path.bbr.current_mode() == mode::drain) path.run_for(milliseconds(1));
  EXPECT_EQ(path.bbr.current_mode(), mode::probe_bw);
  EXPECT_LT(path.queued_segs(), queue / 3);
  EXPECT_LT(path.now - begin, seconds(1));
}

TEST(tcp_bbr, probe_bw_cycles_through_eight_gains_of_a_round_trip_each) {
  bbr_path path;
  path.run_for(seconds(3));
  ASSERT_EQ(path.bbr.current_mode(), mode::probe_bw);
  std::vector<std::pair<u32, instant>> phases;  // gain, beginning
  u32 last = 0;
  path.watch = [&](const ack_sample&) {
    const u32 gain = info_of(path.bbr).bbr_pacing_gain;
    if (gain != last) phases.emplace_back(gain, path.now);
    last = gain;
  };
  path.run_for(seconds(4));
  ASSERT_GT(phases.size(), 20u);
  for (std::size_t i = 1; i + 3 < phases.size(); ++i) {
    const duration length = phases[i + 1].second - phases[i].second;
    if (phases[i].first == 320) {
      EXPECT_EQ(phases[i + 1].first, 192u);
      EXPECT_GE(length, milliseconds(40));
      EXPECT_LT(length, milliseconds(100));
    } else if (phases[i].first == 192) {
      EXPECT_EQ(phases[i + 1].first, 256u);
      EXPECT_LT(length, milliseconds(60));
    } else {
      EXPECT_EQ(phases[i + 1].first, 320u);
      EXPECT_GE(length, milliseconds(240));  // six round trips
      EXPECT_LT(length, milliseconds(300));
    }
  }
  EXPECT_EQ(info_of(path.bbr).bbr_cwnd_gain, 512u);
  EXPECT_NEAR(info_of(path.bbr).bbr_min_rtt, 40'000, 700);
}

TEST(tcp_bbr, probe_rtt_holds_four_segments_for_200_ms_every_ten_seconds) {
  bbr_path path;
  struct episode {
    instant begin, end;
  };
  std::vector<episode> seen;
  bool in = false;
  path.watch = [&](const ack_sample&) {
    const bool now_in = path.bbr.current_mode() == mode::probe_rtt;
    if (now_in && !in) seen.push_back({path.now, {}});
    if (now_in) {
      EXPECT_LE(path.cong.cwnd, 4u);
    }
    if (!now_in && in) {
      seen.back().end = path.now;
      EXPECT_GT(path.cong.cwnd, 60u) << "the old window is restored";
    }
    in = now_in;
  };
  path.run_for(seconds(45));
  ASSERT_GE(seen.size(), 4u);
  for (std::size_t i = 0; i < 4; ++i) {
    const duration length = seen[i].end - seen[i].begin;
    EXPECT_GE(length, milliseconds(200));
    EXPECT_LE(length, milliseconds(360));
    if (i > 0) {
      const duration apart = seen[i].begin - seen[i - 1].end;
      EXPECT_GE(apart, milliseconds(9'900));
      EXPECT_LE(apart, milliseconds(11'000));
    }
  }
  EXPECT_NEAR(path.bw_share(), 1, 0.02) << "the low rates of those times are not believed";
}

TEST(tcp_bbr, losses_of_one_percent_cost_about_one_percent) {
  bbr_path path({.bytes_per_second = 12'500'000, .queue_segs = 333, .loss = 0.01});
  path.run_for(seconds(5));
  const u64 before = path.delivered;
  path.run_for(seconds(20));
  EXPECT_GT(path.goodput_bps(before, seconds(20)), 85e6);
}

TEST(tcp_bbr, keeps_the_queue_far_below_its_limit) {
  bbr_path path({.queue_segs = 1000});
  path.run_for(seconds(5));
  u32 longest = 0;
  path.watch = [&](const ack_sample&) { longest = std::max(longest, path.queued_segs()); };
  path.run_for(seconds(15));
  EXPECT_LT(longest, 80u);  // at most about one bandwidth-delay product (67)
  EXPECT_EQ(path.lost, 0u);
}

TEST(tcp_bbr, notices_more_bandwidth_and_forgets_what_is_gone) {
  bbr_path path({.queue_segs = 200});
  path.run_for(seconds(4));
  path.config.bytes_per_second *= 2;
  path.run_for(seconds(4));
  EXPECT_NEAR(path.bw_share(), 1, 0.05);
  path.config.bytes_per_second /= 4;
  path.run_for(seconds(6));
  EXPECT_NEAR(path.bw_share(), 1, 0.1);
}

TEST(tcp_bbr, after_a_pause_it_sends_at_the_rate_it_knew) {
  bbr_path path;
  path.run_for(seconds(3));
  path.paused = true;
  path.run_for(seconds(2));
  ASSERT_EQ(path.in_flight, 0u);
  path.paused = false;
  path.run_for(microseconds(1));
  EXPECT_NEAR(static_cast<double>(path.cong.pacing_rate), 2.5e6 * 0.99, 5e4);
  const u64 before = path.delivered;
  path.run_for(milliseconds(540));
  EXPECT_GT(path.goodput_bps(before, milliseconds(500)), 18e6);
}

TEST(tcp_bbr, after_a_timeout_the_window_comes_back_with_the_recovery) {
  bbr_path path;
  path.run_for(seconds(3));
  const u32 window = path.cong.cwnd;
  path.time_out();
  path.run_for(milliseconds(200));
  EXPECT_GE(path.cong.cwnd, window * 3 / 4);
}

TEST(tcp_bbr, forgets_a_policer_that_was_inferred_from_spurious_losses) {
  bbr_path path({.bytes_per_second = 12'500'000, .queue_segs = 400,
                 .policed_bytes_per_second = 1'000'000, .policer_bucket_bytes = 100'000});
  for (int i = 0; i < 30'000 && !path.bbr.policed(); ++i) path.run_for(milliseconds(1));
  ASSERT_TRUE(path.bbr.policed());
  path.ca.on_undo(path.machine.cx(), path.cong);
  EXPECT_FALSE(path.bbr.policed());
}

TEST(tcp_bbr, recognises_a_policer) {
  // A line of 100 Mbit/s behind a bucket that refills with 8 Mbit/s.
  bbr_path path({.bytes_per_second = 12'500'000, .queue_segs = 400,
                 .policed_bytes_per_second = 1'000'000, .policer_bucket_bytes = 100'000});
  int seen = 0;
  u64 lost = 0, delivered = 0;
  path.watch = [&](const ack_sample& s) {
    if (!path.bbr.policed()) return;
    ++seen;
    ++delivered;
    lost += s.lost_segs;
    EXPECT_NEAR(static_cast<double>(path.bbr.bandwidth()), 1e6, 2e5);
  };
  path.run_for(seconds(30));
  EXPECT_GT(seen, 5'000);
  EXPECT_LT(lost, delivered / 10) << "without it, a fifth and more is lost";
}

TEST(tcp_bbr_max_filter, forgets_after_its_window) {
  tcp_bbr_max_filter filter;
  EXPECT_EQ(filter.best(), 0u);
  filter.update(1, 10, 100);
  filter.update(3, 10, 80);
  filter.update(5, 10, 60);
  EXPECT_EQ(filter.best(), 100u);
  filter.update(11, 10, 10);
  EXPECT_EQ(filter.best(), 100u);
  filter.update(12, 10, 10);
  EXPECT_EQ(filter.best(), 80u);
  filter.update(13, 10, 200);
  EXPECT_EQ(filter.best(), 200u);
  filter.update(~u32{0} - 2, 10, 7);  // round numbers wrap
  filter.update(3, 10, 5);
  EXPECT_EQ(filter.best(), 7u);
  filter.update(9, 10, 5);
  EXPECT_EQ(filter.best(), 5u);
}

}  // namespace
}  // namespace ph
