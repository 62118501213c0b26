// BBR version 1 (Cardwell, Cheng, Gunn, Yeganeh, Jacobson: "BBR: Congestion-Based Congestion
// Control", ACM Queue 14(5), 2016; draft-cardwell-iccrg-bbr-congestion-control-00; the policer
// detection and the allowance for aggregated acknowledgements by the authors' talks at ICCRG of
// IETF 97, 99 and 101).
//
// Differs from reno: losses do not shrink the window. It models the path by the largest delivery
// rate of ten round trips and the smallest round-trip time of ten seconds, sends at that rate
// (pacing is part of the algorithm) and keeps at most two bandwidth-delay products in flight. Four
// modes: Startup, Drain, ProbeBW, ProbeRTT. It owns cwnd, and needs delivery-rate samples.
#pragma once

#include <array>

#include "net/tcp/tcp_cong.h"

namespace ph {

/// The largest value (> 0) of the last so many rounds: a queue of falling values, cut at three. The
/// cut may let the maximum fall early, to a value that lies in between.
class tcp_bbr_max_filter {
 public:
  void update(u32 round, u32 window, u32 value);
  [[nodiscard]] u32 best() const { return kept_[0].value; }

 private:
  struct entry {
    u32 round, value;
  };
  std::array<entry, 3> kept_{};  ///< unused ones at the end, of value 0
};

class tcp_bbr final : public tcp_congestion {
 public:
  enum class mode : u8 { startup, drain, probe_bw, probe_rtt };
  // Gains in units of 1/256.
  static constexpr u32 unit = 256;
  static constexpr u32 high_gain = 739;   ///< 2/ln 2: doubles the delivery rate each round trip
  static constexpr u32 drain_gain = 88;   ///< its inverse: empties in one round trip
  static constexpr u32 cwnd_gain = 2 * unit;
  static constexpr std::array<u16, 8> cycle = {320, 192, 256, 256, 256, 256, 256, 256};
  static constexpr u32 bw_window_rounds = 10;
  static constexpr duration min_rtt_window = seconds(10);
  static constexpr duration probe_rtt_time = milliseconds(200);
  static constexpr u32 min_cwnd = 4;

  [[nodiscard]] std::string_view name() const override { return "bbr"; }
  [[nodiscard]] bool owns_cwnd() const override { return true; }
  void on_init(cpu& cx, const ack_sample& sample, congestion_state& state) override;
  void on_ack(cpu& cx, const ack_sample& sample, congestion_state& state) override;
  void on_loss(cpu& cx, const loss_event& event, congestion_state& state) override;
  void on_rto(cpu& cx, const loss_event& event, congestion_state& state) override;
  void on_ecn(cpu&, const loss_event&, congestion_state&) override {}  ///< version 1 ignores it
  void on_undo(cpu& cx, congestion_state& state) override;
  void on_tx_start(cpu& cx, duration idle, bool app_limited, congestion_state& state) override;
  std::size_t info(byte_span out) const override;

  [[nodiscard]] mode current_mode() const { return mode_; }
  [[nodiscard]] bool full_pipe() const { return full_pipe_; }
  /// The estimate in use, bytes per second.
  [[nodiscard]] u64 bandwidth() const;
  [[nodiscard]] bool policed() const { return lt_use_; }

 private:
  // The model.
  void update_bandwidth(cpu& cx, const ack_sample& sample);
  void update_ack_aggregation(cpu& cx, const ack_sample& sample, const congestion_state& state);
  void check_full_pipe(const ack_sample& sample);
  void update_min_rtt(cpu& cx, const ack_sample& sample, congestion_state& state);
  // Long-term bandwidth: a policer behind the bottleneck (tcp_bbr_policer.cpp).
  void sample_policer(u32 now_us, u32 lost, const ack_sample& sample);
  void policer_interval_done(u32 now_us, u32 bw, const ack_sample& sample);
  void begin_policer_interval(u32 now_us, const ack_sample& sample);
  void reset_policer();
  // Modes.
  void enter_probe_bw(cpu& cx);
  void leave_probe_rtt(cpu& cx, congestion_state& state);
  void update_cycle(cpu& cx, const ack_sample& sample, const congestion_state& state);
  void check_drain(cpu& cx, const ack_sample& sample, const congestion_state& state);
  void handle_probe_rtt(cpu& cx, const ack_sample& sample, congestion_state& state);
  // What follows from the model.
  [[nodiscard]] u32 pacing_gain() const;
  [[nodiscard]] u32 window_gain() const;
  [[nodiscard]] u64 paced(u32 gain) const;
  void set_pacing_rate(const ack_sample& sample, congestion_state& state);
  void pace_from_rtt(const ack_sample& sample, congestion_state& state);
  [[nodiscard]] u64 bdp_segs(u64 bytes_per_second, u32 gain) const;
  [[nodiscard]] u32 inflight(u64 bytes_per_second, u32 gain, const congestion_state& state) const;
  [[nodiscard]] u32 quantized(u64 segs, const congestion_state& state) const;
  void save_cwnd(const congestion_state& state);
  bool modulate_for_recovery(const ack_sample& sample, congestion_state& state);
  void set_cwnd(const ack_sample& sample, congestion_state& state);

  // Bandwidths are in units of 16 bytes per second; times of 32 bits wrap.
  tcp_bbr_max_filter bw_;
  u32 min_rtt_us_ = 0;          ///< 0: unknown
  u32 min_rtt_stamp_ms_ = 0;
  u32 probe_rtt_done_ms_ = 0;   ///< valid if probe_rtt_held_
  u32 round_count_ = 0;
  round_counter rounds_;
  u32 cycle_stamp_us_ = 0;
  u32 prior_cwnd_ = 0;          ///< before the recovery or ProbeRTT
  u32 full_bw_ = 0;             ///< that a rise is measured against
  u32 mss_bytes_ = 0;
  u32 lt_bw_ = 0;
  u32 lt_delivered_ = 0;        ///< at the interval's beginning
  u32 lt_stamp_us_ = 0;
  u32 lt_lost_ = 0;             ///< segments lost in the interval
  u32 ack_epoch_us_ = 0;        ///< beginning of the aggregation epoch
  u32 ack_epoch_acked_ = 0;
  std::array<u16, 2> extra_acked_{};  ///< largest excess, of this and the last five round trips
  u8 extra_acked_rounds_ = 0;
  u8 lt_rounds_ = 0;
  mode mode_ = mode::startup;
  u8 cycle_index_ = 0;
  u8 full_bw_rounds_ = 0;
  uapi::tcp_ca_state prev_ca_state_ = uapi::tcp_ca_state::open;
  bool extra_acked_index_ : 1 = false;
  bool round_start_ : 1 = false;
  bool full_pipe_ : 1 = false;
  bool has_rtt_ : 1 = false;
  bool idle_restart_ : 1 = false;
  bool packet_conservation_ : 1 = false;
  bool probe_rtt_held_ : 1 = false;       ///< the window is down, its time runs
  bool probe_rtt_round_done_ : 1 = false;
  bool lt_sampling_ : 1 = false;
  bool lt_use_ : 1 = false;
};
static_assert(sizeof(tcp_bbr) <= tcp_congestion_bytes + sizeof(void*));

}  // namespace ph
