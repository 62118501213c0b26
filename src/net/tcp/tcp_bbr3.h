// BBR version 3 (draft-ietf-ccwg-bbr, the editors' copy of August 2026; section titles below are
// its own).
//
// Differs from reno: as BBR version 1 it models the path by its bandwidth and its smallest round
// trip, and paces. Unlike version 1 it heeds losses: more than 2 % of what was in flight while it
// probed set a long-term bound of the volume in flight; losses at other times lower a short-term
// bound of rate and volume to what is delivered, at most by 0.7 in a round trip. ProbeBW goes
// through DOWN, CRUISE, REFILL and UP, as seldom as Reno flows of the same window could bear;
// ProbeRTT comes every 5 seconds and keeps half a bandwidth-delay product in flight. It owns cwnd.
//
// The draft leaves ECN open, save that marks are congestion: here a marked segment counts as a lost
// one. DIFFERS: where the draft counts discontiguous ranges lost in Startup, this counts the
// acknowledgements that showed losses; bandwidth samples are kept for two cycles, and acknowledged
// excess for two halves of the window, instead of in a list.
#pragma once

#include <array>

#include "net/tcp/tcp_cong.h"

namespace ph {

class tcp_bbr3 final : public tcp_congestion {
 public:
  enum class mode : u8 { startup, drain, down, cruise, refill, up, probe_rtt };
  // Gains in units of 1/256.
  static constexpr u32 unit = 256;
  static constexpr u32 startup_pacing_gain = 709;  ///< 2.77, 4 ln 2
  static constexpr u32 drain_pacing_gain = 128;
  static constexpr u32 down_pacing_gain = 230;     ///< 0.9
  static constexpr u32 up_pacing_gain = 320;       ///< 1.25
  static constexpr u32 default_cwnd_gain = 512;
  static constexpr u32 up_cwnd_gain = 576;         ///< 2.25
  static constexpr u32 probe_rtt_cwnd_gain = 128;  ///< 0.5
  static constexpr u32 loss_thresh_percent = 2;
  static constexpr u32 min_pipe_cwnd = 4;
  static constexpr duration min_rtt_window = seconds(10);
  static constexpr duration probe_rtt_interval = seconds(5);
  static constexpr duration probe_rtt_time = milliseconds(200);
  static constexpr u32 infinite = ~u32{0};

  [[nodiscard]] std::string_view name() const override { return "bbr3"; }
  [[nodiscard]] bool owns_cwnd() const override { return true; }
  void on_init(cpu& cx, const ack_sample& sample, congestion_state& state) override;
  void on_ack(cpu& cx, const ack_sample& sample, congestion_state& state) override;
  void on_loss(cpu& cx, const loss_event& event, congestion_state& state) override;
  void on_lost(cpu& cx, const lost_sample& lost, congestion_state& state) override;
  void on_ecn(cpu&, const loss_event&, congestion_state& state) override { note_loss(state); }
  void on_undo(cpu& cx, congestion_state& state) override;
  void on_tx_start(cpu& cx, duration idle, bool app_limited, congestion_state& state) override;
  std::size_t info(byte_span out) const override;

  [[nodiscard]] mode current_mode() const { return mode_; }
  [[nodiscard]] bool full_bw_reached() const { return full_bw_reached_; }
  /// Bytes per second: the most seen in two cycles, bounded by recent losses.
  [[nodiscard]] u64 bandwidth() const;
  /// Segments; infinite: no such bound.
  [[nodiscard]] u32 inflight_longterm() const { return inflight_longterm_; }
  [[nodiscard]] u32 inflight_shortterm() const { return inflight_shortterm_; }
  [[nodiscard]] u32 min_rtt_us() const { return min_rtt_us_; }

 private:
  enum class ack_phase : u8 { init, refilling, probe_starting, probe_feedback, probe_stopping };

  // The model.
  void update_round(const ack_sample& sample);
  void update_latest(const ack_sample& sample);
  void update_congestion(const ack_sample& sample, congestion_state& state);
  void adapt_lower_bounds(const congestion_state& state);
  void update_ack_aggregation(cpu& cx, const ack_sample& sample, const congestion_state& state);
  void update_min_rtt(cpu& cx, const ack_sample& sample);
  void heed_marks(cpu& cx, const ack_sample& sample, congestion_state& state);
  void note_loss(congestion_state& state);
  void save_state(const congestion_state& state);
  void save_cwnd(const congestion_state& state);
  void inflight_too_high(cpu& cx, u32 tx_in_flight, bool app_limited, congestion_state& state);
  bool adapt_long_term(const ack_sample& sample, const congestion_state& state);
  void probe_upward(const ack_sample& sample, const congestion_state& state);
  void raise_slope(const congestion_state& state);
  void reset_full_bw();
  void reset_short_term() { bw_shortterm_ = inflight_shortterm_ = infinite; }
  // States.
  void check_full_bw(const ack_sample& sample);
  void check_startup(const ack_sample& sample);
  void check_drain(cpu& cx, const ack_sample& sample, const congestion_state& state);
  void update_cycle(cpu& cx, const ack_sample& sample, congestion_state& state);
  void check_probe_rtt(cpu& cx, const ack_sample& sample, congestion_state& state);
  void leave_probe_rtt(cpu& cx, congestion_state& state);
  void start_down(cpu& cx);
  void start_refill();
  void start_up(const ack_sample& sample, const congestion_state& state);
  void start_round() { next_round_at_ = delivered_; }
  [[nodiscard]] bool time_to_probe(cpu& cx, const congestion_state& state) const;
  [[nodiscard]] bool time_to_cruise(const ack_sample& sample, const congestion_state& state) const;
  [[nodiscard]] bool time_to_go_down(const ack_sample& sample, const congestion_state& state);
  [[nodiscard]] bool in_probe_bw() const { return mode_ >= mode::down && mode_ <= mode::up; }
  // What follows from the model.
  [[nodiscard]] u32 max_bw() const { return bw_[0] > bw_[1] ? bw_[0] : bw_[1]; }
  [[nodiscard]] u32 pacing_gain() const;
  [[nodiscard]] u32 window_gain() const;
  [[nodiscard]] u64 paced(u32 gain) const;
  [[nodiscard]] u32 bdp_segs(u64 bytes_per_second, u32 gain) const;
  [[nodiscard]] u32 quantized(u64 segs, const congestion_state& state) const;
  [[nodiscard]] u32 inflight_with_headroom() const;
  [[nodiscard]] u32 probe_rtt_cwnd() const;
  [[nodiscard]] u32 target_inflight(const congestion_state& state) const;
  void pace_from_rtt(const ack_sample& sample, congestion_state& state);
  void set_pacing_rate(const ack_sample& sample, congestion_state& state);
  void set_cwnd(const ack_sample& sample, congestion_state& state);
  void bound_cwnd(congestion_state& state) const;

  // Bandwidths are in units of 16 bytes per second, volumes in segments; times of 32 bits wrap.
  std::array<u32, 2> bw_{};           ///< largest sample of the last and of this cycle
  u32 bw_shortterm_ = infinite;
  u32 bw_latest_ = 0;                 ///< largest sample of this round trip
  u32 full_bw_ = 0;                   ///< that a rise is measured against
  u32 inflight_longterm_ = infinite;
  u32 inflight_shortterm_ = infinite;
  u32 inflight_latest_ = 0;           ///< most delivered in a flight, of this round trip
  u32 undo_bw_shortterm_ = infinite;
  u32 undo_inflight_shortterm_ = infinite;
  u32 undo_inflight_longterm_ = infinite;
  u32 min_rtt_us_ = 0;                ///< 0: unknown
  u32 min_rtt_stamp_ms_ = 0;
  u32 probe_rtt_min_us_ = 0;          ///< smallest of the last 5 seconds; 0: unknown
  u32 probe_rtt_min_stamp_ms_ = 0;
  u32 probe_rtt_done_ms_ = 0;         ///< valid if probe_rtt_held_
  u32 delivered_ = 0;                 ///< segments by the last acknowledgement
  u32 next_round_at_ = 0;
  u32 loss_round_at_ = 0;
  u32 cycle_stamp_ms_ = 0;
  u32 probe_wait_ms_ = 0;
  u32 probe_up_acked_ = 0;
  u32 probe_up_acked_per_inc_ = infinite;
  u32 prior_cwnd_ = 0;
  u32 mss_bytes_ = 0;
  u32 ack_epoch_us_ = 0;              ///< beginning of the aggregation epoch
  u32 ack_epoch_acked_ = 0;
  std::array<u16, 2> extra_acked_{};  ///< largest excess of this and the last half window
  u16 marked_in_round_ = 0;
  u8 extra_acked_rounds_ = 0;
  u8 rounds_since_probe_up_ = 0;
  u8 probe_up_rounds_ = 0;
  u8 drain_rounds_ = 0;
  u8 full_bw_rounds_ = 0;
  u8 losses_in_round_ = 0;            ///< acknowledgements that showed some
  mode mode_ = mode::startup;
  mode undo_mode_ = mode::drain;      ///< startup or up: left for a loss; drain: neither
  ack_phase ack_phase_ = ack_phase::init;
  uapi::tcp_ca_state prev_ca_state_ = uapi::tcp_ca_state::open;
  bool round_start_ : 1 = false;
  bool loss_round_start_ : 1 = false;
  bool loss_in_round_ : 1 = false;
  bool saved_ : 1 = false;            ///< the undo state is this recovery's
  bool full_bw_reached_ : 1 = false;
  bool full_bw_now_ : 1 = false;
  bool probe_sample_ : 1 = false;     ///< what is acknowledged was sent to probe
  bool probe_too_high_ : 1 = false;   ///< the last probe was
  bool precautionary_ : 1 = false;    ///< the last probe ended early, for caution
  bool has_rtt_ : 1 = false;
  bool idle_restart_ : 1 = false;
  bool probe_rtt_expired_ : 1 = false;
  bool probe_rtt_held_ : 1 = false;   ///< little is in flight, the time runs
  bool probe_rtt_round_done_ : 1 = false;
  bool extra_acked_index_ : 1 = false;
};
static_assert(sizeof(tcp_bbr3) <= tcp_congestion_bytes + sizeof(void*));

}  // namespace ph
