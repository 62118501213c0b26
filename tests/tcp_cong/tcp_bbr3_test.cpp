// BBR version 3: its states, what losses and marks do to its bounds, and what it leaves to others.
#include "net/tcp/tcp_bbr3.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/tcp_cong/path_model.h"
#include "uapi/tcp_cc_info.h"

namespace ph {
namespace {

using mode = tcp_bbr3::mode;

struct bbr3_holder {
  tcp_bbr3 bbr;  // made before the path, which calls it at once
};
struct bbr3_path : bbr3_holder, path_model {
  explicit bbr3_path(path_config settings = {}) : path_model(bbr, settings) {}
  [[nodiscard]] double bw_share() const {
    return static_cast<double>(bbr.bandwidth()) / static_cast<double>(config.bytes_per_second);
  }
  [[nodiscard]] u32 bdp() const {
    return static_cast<u32>(config.bytes_per_second * static_cast<u64>(config.rtt.us()) /
                            1'000'000 / mss);
  }
  void run_to(mode m) {
    for (int i = 0; i < 20'000 && bbr.current_mode() != m; ++i) run_for(milliseconds(1));
    ASSERT_EQ(bbr.current_mode(), m);
  }
  [[nodiscard]] u32 pacing_gain() const {
    uapi::tcp_bbr_info out;
    EXPECT_EQ(bbr.info({reinterpret_cast<u8*>(&out), sizeof out}), sizeof out);
    return out.bbr_pacing_gain;
  }
};

struct phase {
  mode what;
  instant begin;
  u32 gain;
};
std::vector<phase> phases_of(bbr3_path& path, duration over) {
  std::vector<phase> out;
  path.watch = [&](const ack_sample&) {
    if (out.empty() || out.back().what != path.bbr.current_mode()) {
      out.push_back({path.bbr.current_mode(), path.now, path.pacing_gain()});
    }
  };
  path.run_for(over);
  path.watch = {};
  return out;
}

TEST(tcp_bbr3, startup_finds_the_bandwidth_and_drain_empties_the_queue) {
  bbr3_path path({.queue_segs = 1000});
  EXPECT_EQ(path.pacing_gain(), 709u);
  path.run_to(mode::drain);
  EXPECT_NEAR(path.bw_share(), 1, 0.02);
  EXPECT_TRUE(path.bbr.full_bw_reached());
  EXPECT_LT(path.now - instant{seconds(1).ns}, seconds(2));
  EXPECT_GT(path.queued_segs(), 30u);
  EXPECT_EQ(path.pacing_gain(), 128u);
  const instant begin = path.now;
  while (path.bbr.current_mode() == mode::drain) path.run_for(milliseconds(1));
  EXPECT_LE(path.in_flight, path.bdp() + 4);
  EXPECT_LT(path.now - begin, milliseconds(200));
  EXPECT_EQ(path.bbr.inflight_longterm(), tcp_bbr3::infinite) << "nothing was lost";
}

TEST(tcp_bbr3, startup_ends_when_a_round_trip_loses_much) {
  bbr3_path path({.bytes_per_second = 12'500'000, .queue_segs = 20});
  path.run_to(mode::drain);
  EXPECT_GT(path.lost, 0u);
  EXPECT_NE(path.bbr.inflight_longterm(), tcp_bbr3::infinite);
  EXPECT_GE(path.bbr.inflight_longterm(), path.bdp() / 2);
  EXPECT_LE(path.bbr.inflight_longterm(), path.bdp() * 3 / 2);
}

TEST(tcp_bbr3, probe_bw_goes_down_cruises_refills_and_goes_up) {
  bbr3_path path({.queue_segs = 200});
  path.run_for(seconds(2));
  const std::vector<phase> seen = phases_of(path, seconds(20));
  int cycles = 0;
  for (std::size_t i = 2; i + 3 < seen.size(); ++i) {
    if (seen[i].what == mode::down) {
      EXPECT_EQ(seen[i].gain, 230u);
      EXPECT_EQ(seen[i + 1].what, mode::cruise);
    }
    if (seen[i].what != mode::refill) continue;
    ASSERT_EQ(seen[i - 1].what, mode::cruise);
    ASSERT_EQ(seen[i + 1].what, mode::up);
    ASSERT_EQ(seen[i + 2].what, mode::down);
    EXPECT_EQ(seen[i - 1].gain, 256u);
    EXPECT_EQ(seen[i].gain, 256u);
    EXPECT_EQ(seen[i + 1].gain, 320u);
    // Refilling takes one round trip; from one probe to the next it is as long as Reno would need,
    // or 2 to 3 s. (The cruise begins with the cycle, or after DOWN's few round trips.)
    const duration refill = seen[i + 1].begin - seen[i].begin;
    EXPECT_GE(refill, milliseconds(40));
    EXPECT_LT(refill, milliseconds(90));
    const duration cruise = seen[i].begin - seen[i - 1].begin;
    EXPECT_GE(cruise, milliseconds(1500));
    EXPECT_LT(cruise, milliseconds(3100));
    ++cycles;
  }
  EXPECT_GE(cycles, 3);
}

TEST(tcp_bbr3, flows_of_a_small_window_probe_as_often_as_reno_could_bear) {
  bbr3_path path({.bytes_per_second = 187'500, .queue_segs = 50});  // 5 segments in flight
  path.run_for(seconds(3));
  const std::vector<phase> seen = phases_of(path, seconds(4));
  int ups = 0;
  for (const phase& p : seen) ups += p.what == mode::up ? 1 : 0;
  EXPECT_GE(ups, 5) << "some 6 round trips between probes, not seconds";
}

TEST(tcp_bbr3, probe_rtt_holds_half_the_window_for_200_ms_every_five_seconds) {
  bbr3_path path({.queue_segs = 200});
  path.run_for(seconds(2));
  u32 most = 0;
  std::vector<instant> begins, ends;
  mode last = mode::startup;
  path.watch = [&](const ack_sample&) {
    const mode here = path.bbr.current_mode();
    if (here == mode::probe_rtt) {
      if (last != here) begins.push_back(path.now);
      most = std::max(most, path.cong.cwnd);
    } else if (last == mode::probe_rtt) {
      ends.push_back(path.now);
      EXPECT_EQ(here, mode::cruise);
    }
    last = here;
  };
  path.run_for(seconds(30));
  ASSERT_GE(ends.size(), 4u);
  EXPECT_NEAR(most, path.bdp() / 2, 4);
  for (std::size_t i = 0; i < ends.size(); ++i) {
    EXPECT_GE(ends[i] - begins[i], milliseconds(200));
    EXPECT_LT(ends[i] - begins[i], milliseconds(400));
    if (i == 0) continue;
    EXPECT_GE(begins[i] - ends[i - 1], seconds(5));
    EXPECT_LT(begins[i] - ends[i - 1], seconds(6));
  }
  EXPECT_NEAR(path.bbr.min_rtt_us(), 40'600, 700);
}

TEST(tcp_bbr3, one_percent_of_random_loss_is_borne) {
  bbr3_path path({.queue_segs = 66, .loss = 0.01});
  path.run_for(seconds(5));
  const u64 before = path.delivered;
  path.run_for(seconds(20));
  EXPECT_GT(path.goodput_bps(before, seconds(20)), 0.85 * 20e6);
}

TEST(tcp_bbr3, a_probe_that_loses_more_than_two_percent_sets_the_long_term_bound) {
  bbr3_path path({.queue_segs = 12});  // a fifth of a bandwidth-delay product
  path.run_for(seconds(15));
  ASSERT_NE(path.bbr.inflight_longterm(), tcp_bbr3::infinite);
  EXPECT_GE(path.bbr.inflight_longterm(), path.bdp() * 7 / 10);
  EXPECT_LE(path.bbr.inflight_longterm(), path.bdp() + 12 + 8);
  const u64 before = path.delivered, lost_before = path.lost;
  path.run_for(seconds(20));
  EXPECT_GT(path.goodput_bps(before, seconds(20)), 0.85 * 20e6);
  const double share = static_cast<double>(path.lost - lost_before) /
                       static_cast<double>(path.delivered - before);
  EXPECT_LT(share, 0.02) << "version 1 loses several times as much";
}

TEST(tcp_bbr3, cruising_leaves_headroom_below_the_long_term_bound) {
  bbr3_path path({.queue_segs = 12});
  path.run_for(seconds(15));
  path.run_to(mode::cruise);
  path.run_for(milliseconds(100));
  ASSERT_NE(path.bbr.inflight_longterm(), tcp_bbr3::infinite);
  EXPECT_LE(path.cong.cwnd, path.bbr.inflight_longterm() * 85 / 100 + 1);
}

TEST(tcp_bbr3, losses_while_cruising_lower_the_short_term_bounds_until_the_next_probe) {
  bbr3_path path({.queue_segs = 200});
  path.run_to(mode::drain);
  path.run_to(mode::cruise);
  const u64 calm = path.bbr.bandwidth();
  const u32 window = path.cong.cwnd;
  path.config.bytes_per_second /= 2;
  path.config.queue_segs = 4;
  path.run_for(milliseconds(200));
  ASSERT_EQ(path.bbr.current_mode(), mode::cruise);
  EXPECT_LT(path.bbr.bandwidth(), calm);
  EXPECT_GE(path.bbr.bandwidth(), calm * 45 / 100) << "not below what is delivered";
  EXPECT_LT(path.bbr.inflight_shortterm(), window);
  path.run_to(mode::refill);
  EXPECT_EQ(path.bbr.inflight_shortterm(), tcp_bbr3::infinite);
}

TEST(tcp_bbr3, follows_a_path_that_becomes_ten_times_slower_or_faster) {
  bbr3_path path({.queue_segs = 66});
  path.run_for(seconds(10));
  path.config.bytes_per_second /= 10;
  path.run_for(seconds(15));
  EXPECT_NEAR(path.bw_share(), 1, 0.3);
  path.config.bytes_per_second *= 10;
  path.run_for(seconds(20));
  EXPECT_GT(path.bw_share(), 0.9);
}

TEST(tcp_bbr3, marks_keep_the_queue_short) {
  bbr3_path plain({.queue_segs = 200}), marked({.queue_segs = 200, .mark_above_segs = 10});
  const auto mean_queue = [](bbr3_path& path) {
    path.run_for(seconds(5));
    u64 sum = 0;
    for (int i = 0; i < 10'000; ++i) {
      path.run_for(milliseconds(1));
      sum += path.queued_segs();
    }
    return static_cast<double>(sum) / 10'000;
  };
  const u64 before = marked.delivered;
  EXPECT_LT(mean_queue(marked), mean_queue(plain));
  EXPECT_GT(marked.marked, 0u);
  EXPECT_GT(marked.goodput_bps(before, seconds(15)), 0.8 * 20e6);
}

TEST(tcp_bbr3, a_spurious_loss_returns_the_bounds_and_startup) {
  bbr3_path path({.bytes_per_second = 12'500'000, .queue_segs = 20});
  path.run_to(mode::drain);
  ASSERT_NE(path.bbr.inflight_longterm(), tcp_bbr3::infinite);
  path.ca.on_undo(path.machine.cx(), path.cong);
  EXPECT_EQ(path.bbr.current_mode(), mode::startup);
  EXPECT_FALSE(path.bbr.full_bw_reached());
  EXPECT_EQ(path.bbr.inflight_longterm(), tcp_bbr3::infinite);
  EXPECT_EQ(path.bbr.inflight_shortterm(), tcp_bbr3::infinite);
}

TEST(tcp_bbr3, after_a_pause_it_sends_at_the_rate_it_knew) {
  bbr3_path path({.queue_segs = 66});
  path.run_for(seconds(4));
  path.paused = true;
  path.run_for(seconds(3));
  ASSERT_EQ(path.in_flight, 0u);
  path.paused = false;
  const u64 before = path.delivered;
  path.run_for(milliseconds(400));
  EXPECT_GT(path.goodput_bps(before, milliseconds(400)), 0.75 * 20e6);
}

TEST(tcp_bbr3, a_timeout_is_survived) {
  bbr3_path path({.queue_segs = 66});
  path.run_for(seconds(4));
  path.time_out();
  const u64 before = path.delivered;
  path.run_for(seconds(4));
  EXPECT_GT(path.goodput_bps(before, seconds(4)), 0.8 * 20e6);
}

}  // namespace
}  // namespace ph
