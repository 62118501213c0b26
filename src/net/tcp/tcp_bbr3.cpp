// BBR version 3: its states (draft-ietf-ccwg-bbr, "State Machine Operation") and its controls
// ("Updating Control Parameters"). The model is in tcp_bbr3_model.cpp.
#include "net/tcp/tcp_bbr3.h"

#include <algorithm>

#include "uapi/tcp_cc_info.h"

namespace ph {
namespace {

constexpr u32 bw_shift = 4;             ///< bandwidths are kept in units of 16 bytes per second
constexpr u32 initial_cwnd = 10;
constexpr u32 startup_full_losses = 6;  ///< "Exiting Startup Based on Packet Loss"
constexpr u32 reno_rounds_most = 63;
constexpr u32 probe_wait_least_ms = 2000, probe_wait_range_ms = 1001;

u32 us_of(instant t) { return static_cast<u32>(t.us()); }
u32 ms_of(instant t) { return static_cast<u32>(t.ms()); }

}  // namespace

// --- Startup and Drain --------------------------------------------------------------------------

void tcp_bbr3::check_full_bw(const ack_sample& sample) {
  if (full_bw_now_ || !round_start_ || sample.app_limited) return;
  const u64 bw = sample.delivery_rate >> bw_shift;
  if (bw >= u64{full_bw_} * 5 / 4) {
    reset_full_bw();
    full_bw_ = static_cast<u32>(std::min<u64>(bw, infinite));
    return;
  }
  full_bw_now_ = ++full_bw_rounds_ >= 3;
  if (full_bw_now_) full_bw_reached_ = true;
}

void tcp_bbr3::check_startup(const ack_sample& sample) {
  if (mode_ != mode::startup) return;
  // A round trip of fast recovery is over, and it lost much and often.
  const bool recovering = sample.ca_state == uapi::tcp_ca_state::recovery;
  const bool much = sample.lost_since_segs * 100 > sample.tx_in_flight_segs * loss_thresh_percent;
  const bool often = losses_in_round_ >= startup_full_losses;
  if (loss_round_start_ && recovering && ((much && often) || !sample.selective_acks)) {
    undo_mode_ = mode::startup;
    full_bw_reached_ = true;
    inflight_longterm_ = std::max(bdp_segs(bandwidth(), unit), inflight_latest_);
  }
  if (!full_bw_reached_) return;
  mode_ = mode::drain;
  drain_rounds_ = 0;
}

void tcp_bbr3::check_drain(cpu& cx, const ack_sample& sample, const congestion_state& state) {
  if (mode_ != mode::drain) return;
  if (round_start_) ++drain_rounds_;
  const u32 target = quantized(bdp_segs(bandwidth(), unit), state);
  if (sample.in_flight_now_segs <= target || drain_rounds_ > 3) start_down(cx);
}

// --- ProbeBW ------------------------------------------------------------------------------------

void tcp_bbr3::start_down(cpu& cx) {
  loss_in_round_ = false;
  bw_latest_ = inflight_latest_ = 0;
  probe_up_acked_per_inc_ = infinite;
  // "Time Scale for Bandwidth Probing": chance mixes the flows.
  rounds_since_probe_up_ = static_cast<u8>(cx.random().below(2));
  probe_wait_ms_ =
      probe_wait_least_ms + static_cast<u32>(cx.random().below(probe_wait_range_ms));
  cycle_stamp_ms_ = ms_of(cx.now());
  ack_phase_ = ack_phase::probe_stopping;
  start_round();
  mode_ = mode::down;
}

void tcp_bbr3::start_refill() {
  reset_short_term();
  probe_up_rounds_ = 0;
  probe_up_acked_ = 0;
  precautionary_ = false;
  ack_phase_ = ack_phase::refilling;
  start_round();
  mode_ = mode::refill;
}

void tcp_bbr3::start_up(const ack_sample& sample, const congestion_state& state) {
  probe_sample_ = true;
  ack_phase_ = ack_phase::probe_starting;
  start_round();
  reset_full_bw();
  full_bw_ = static_cast<u32>(std::min<u64>(sample.delivery_rate >> bw_shift, infinite));
  mode_ = mode::up;
  raise_slope(state);
}

bool tcp_bbr3::time_to_probe(cpu& cx, const congestion_state& state) const {
  if (ms_of(cx.now()) - cycle_stamp_ms_ > probe_wait_ms_) return true;
  // As long as a Reno flow needs to come back to this window.
  return rounds_since_probe_up_ >= std::min(target_inflight(state), reno_rounds_most);
}

bool tcp_bbr3::time_to_cruise(const ack_sample& sample, const congestion_state& state) const {
  if (sample.in_flight_now_segs > inflight_with_headroom()) return false;
  const u64 bw = u64{max_bw()} << bw_shift;
  return sample.in_flight_now_segs <= quantized(bdp_segs(bw, unit), state);
}

bool tcp_bbr3::time_to_go_down(const ack_sample& sample, const congestion_state& state) {
  if (probe_too_high_ && sample.in_flight_now_segs >= inflight_longterm_) {
    precautionary_ = true;
    return true;
  }
  if (sample.cwnd_limited && state.cwnd >= inflight_longterm_) {
    // The bound, not the path, keeps the rate from rising.
    reset_full_bw();
    full_bw_ = static_cast<u32>(std::min<u64>(sample.delivery_rate >> bw_shift, infinite));
    return false;
  }
  return full_bw_now_;
}

void tcp_bbr3::update_cycle(cpu& cx, const ack_sample& sample, congestion_state& state) {
  if (!full_bw_reached_ || adapt_long_term(sample, state) || !in_probe_bw()) return;
  switch (mode_) {
    case mode::down:
      if (time_to_probe(cx, state)) return start_refill();
      if (time_to_cruise(sample, state)) mode_ = mode::cruise;
      return;
    case mode::cruise:
      if (time_to_probe(cx, state)) start_refill();
      return;
    case mode::refill:
      if (round_start_) start_up(sample, state);
      return;
    default:
      if (!time_to_go_down(sample, state)) return;
      probe_too_high_ = false;
      start_down(cx);
  }
}

// --- ProbeRTT -----------------------------------------------------------------------------------

void tcp_bbr3::check_probe_rtt(cpu& cx, const ack_sample& sample, congestion_state& state) {
  if (mode_ != mode::probe_rtt && probe_rtt_expired_ && !idle_restart_) {
    save_cwnd(state);
    mode_ = mode::probe_rtt;
    probe_rtt_held_ = false;
    ack_phase_ = ack_phase::probe_stopping;
    start_round();
  }
  if (sample.acked_segs != 0) idle_restart_ = false;
  if (mode_ != mode::probe_rtt) return;
  state.app_limited = true;  // the low rates of this time say nothing about the path
  const u32 now = ms_of(cx.now());
  if (!probe_rtt_held_) {
    if (sample.in_flight_now_segs > probe_rtt_cwnd()) return;
    probe_rtt_held_ = true;
    probe_rtt_round_done_ = false;
    probe_rtt_done_ms_ = now + static_cast<u32>(probe_rtt_time.ms());
    start_round();
    return;
  }
  if (round_start_) probe_rtt_round_done_ = true;
  if (probe_rtt_round_done_ && static_cast<s32>(now - probe_rtt_done_ms_) > 0) {
    leave_probe_rtt(cx, state);
  }
}

void tcp_bbr3::leave_probe_rtt(cpu& cx, congestion_state& state) {
  probe_rtt_min_stamp_ms_ = ms_of(cx.now());
  probe_rtt_held_ = false;
  state.app_limited = false;
  state.cwnd = std::max(state.cwnd, prior_cwnd_);
  reset_short_term();
  if (full_bw_reached_) {
    start_down(cx);
    mode_ = mode::cruise;  // there is no queue to drain
  } else {
    mode_ = mode::startup;
  }
}

// --- what follows from the model ----------------------------------------------------------------

u32 tcp_bbr3::pacing_gain() const {
  switch (mode_) {
    case mode::startup: return startup_pacing_gain;
    case mode::drain: return drain_pacing_gain;
    case mode::down: return down_pacing_gain;
    case mode::up: return up_pacing_gain;
    case mode::cruise:
    case mode::refill:
    case mode::probe_rtt: return unit;
  }
  ph_unreachable("every mode has a gain");
}

u32 tcp_bbr3::window_gain() const {
  if (mode_ == mode::up) return up_cwnd_gain;
  return mode_ == mode::probe_rtt ? probe_rtt_cwnd_gain : default_cwnd_gain;
}

u64 tcp_bbr3::paced(u32 gain) const { return bandwidth() * gain / unit * 99 / 100; }

void tcp_bbr3::pace_from_rtt(const ack_sample& sample, congestion_state& state) {
  const u64 rtt_us =
      sample.srtt.ns > 0 ? static_cast<u64>(std::max<s64>(sample.srtt.us(), 1)) : 1000;
  has_rtt_ = sample.srtt.ns > 0;
  const u64 bytes = u64{state.cwnd} * std::max(sample.mss_bytes, 1u);
  state.pacing_rate = bytes * 1'000'000 / rtt_us * startup_pacing_gain / unit;
}

void tcp_bbr3::set_pacing_rate(const ack_sample& sample, congestion_state& state) {
  if (!has_rtt_ && sample.srtt.ns > 0) pace_from_rtt(sample, state);
  if (bandwidth() == 0) return;
  const u64 rate = paced(pacing_gain());
  // Until the pipe is full, the first samples must not slow it down.
  if (full_bw_reached_ || rate > state.pacing_rate) state.pacing_rate = rate;
}

u32 tcp_bbr3::bdp_segs(u64 bytes_per_second, u32 gain) const {
  if (min_rtt_us_ == 0 || mss_bytes_ == 0) return initial_cwnd;
  const double bytes = static_cast<double>(bytes_per_second) * min_rtt_us_ / 1e6 * gain / unit;
  return static_cast<u32>(std::min(bytes / mss_bytes_ + 1, 1e9));
}

/// "BBR.offload_budget", "Computing BBR.max_inflight".
u32 tcp_bbr3::quantized(u64 segs, const congestion_state& state) const {
  const u64 quantum = std::min<u64>(state.pacing_rate / 1000, 65536) / std::max(mss_bytes_, 1u);
  segs = std::max<u64>({segs, 3 * std::max<u64>(quantum, 2), min_pipe_cwnd});
  if (mode_ == mode::up) segs += 2;
  return static_cast<u32>(std::min<u64>(segs, infinite / 2));
}

u32 tcp_bbr3::inflight_with_headroom() const {
  if (inflight_longterm_ == infinite) return infinite;
  const u32 headroom = std::max(static_cast<u32>(u64{inflight_longterm_} * 15 / 100), 1u);
  return std::max(inflight_longterm_ - std::min(headroom, inflight_longterm_), min_pipe_cwnd);
}

u32 tcp_bbr3::probe_rtt_cwnd() const {
  return std::max(bdp_segs(bandwidth(), probe_rtt_cwnd_gain), min_pipe_cwnd);
}

u32 tcp_bbr3::target_inflight(const congestion_state& state) const {
  return std::min(bdp_segs(bandwidth(), unit), state.cwnd);
}

void tcp_bbr3::set_cwnd(const ack_sample& sample, congestion_state& state) {
  const uapi::tcp_ca_state before = std::exchange(prev_ca_state_, sample.ca_state);
  if (before >= uapi::tcp_ca_state::recovery && sample.ca_state < uapi::tcp_ca_state::recovery) {
    state.cwnd = std::max(state.cwnd, prior_cwnd_);
  }
  if (sample.ca_state < uapi::tcp_ca_state::recovery) saved_ = false;
  const u32 extra = std::max(extra_acked_[0], extra_acked_[1]);
  const u32 most = quantized(u64{bdp_segs(bandwidth(), window_gain())} + extra, state);
  if (full_bw_reached_) {
    state.cwnd = std::min(state.cwnd + sample.acked_segs, most);
  } else if (state.cwnd < most || sample.delivered < initial_cwnd) {
    state.cwnd += sample.acked_segs;
  }
  state.cwnd = std::max(state.cwnd, min_pipe_cwnd);
  if (mode_ == mode::probe_rtt) state.cwnd = std::min(state.cwnd, probe_rtt_cwnd());
  bound_cwnd(state);
}

/// "Bounding cwnd Based on Recent Congestion".
void tcp_bbr3::bound_cwnd(congestion_state& state) const {
  u32 cap = infinite;
  if (mode_ == mode::probe_rtt || mode_ == mode::cruise) {
    cap = inflight_with_headroom();
  } else if (in_probe_bw()) {
    cap = inflight_longterm_;
  }
  cap = std::max(std::min(cap, inflight_shortterm_), min_pipe_cwnd);
  state.cwnd = std::min({state.cwnd, cap, state.cwnd_clamp});
}

// --- events -------------------------------------------------------------------------------------

void tcp_bbr3::on_init(cpu& cx, const ack_sample& sample, congestion_state& state) {
  mss_bytes_ = sample.mss_bytes;
  prev_ca_state_ = sample.ca_state;
  delivered_ = next_round_at_ = loss_round_at_ = static_cast<u32>(sample.delivered);
  if (sample.min_rtt.ns > 0) {
    min_rtt_us_ = static_cast<u32>(std::clamp<s64>(sample.min_rtt.us(), 1, infinite));
    probe_rtt_min_us_ = min_rtt_us_;
  }
  min_rtt_stamp_ms_ = probe_rtt_min_stamp_ms_ = cycle_stamp_ms_ = ms_of(cx.now());
  ack_epoch_us_ = us_of(cx.now());
  pace_from_rtt(sample, state);
}

void tcp_bbr3::on_ack(cpu& cx, const ack_sample& sample, congestion_state& state) {
  mss_bytes_ = sample.mss_bytes;
  update_round(sample);
  update_latest(sample);
  heed_marks(cx, sample, state);
  update_congestion(sample, state);
  update_ack_aggregation(cx, sample, state);
  check_full_bw(sample);
  check_startup(sample);
  check_drain(cx, sample, state);
  update_cycle(cx, sample, state);
  update_min_rtt(cx, sample);
  check_probe_rtt(cx, sample, state);
  if (loss_round_start_) {
    bw_latest_ = static_cast<u32>(std::min<u64>(sample.delivery_rate >> bw_shift, infinite));
    inflight_latest_ = sample.prior_delivered < 0
                           ? 0
                           : delivered_ - static_cast<u32>(sample.prior_delivered);
    losses_in_round_ = 0;
    marked_in_round_ = 0;
  }
  set_pacing_rate(sample, state);
  set_cwnd(sample, state);
}

void tcp_bbr3::on_loss(cpu&, const loss_event&, congestion_state& state) { save_state(state); }

void tcp_bbr3::on_tx_start(cpu& cx, duration, bool app_limited, congestion_state& state) {
  if (!app_limited) return;
  idle_restart_ = true;
  ack_epoch_us_ = us_of(cx.now());
  ack_epoch_acked_ = 0;
  if (in_probe_bw()) {
    if (bandwidth() != 0) state.pacing_rate = paced(unit);
  } else if (mode_ == mode::probe_rtt && probe_rtt_held_ &&
             static_cast<s32>(ms_of(cx.now()) - probe_rtt_done_ms_) > 0) {
    leave_probe_rtt(cx, state);
  }
}

std::size_t tcp_bbr3::info(byte_span out) const {
  uapi::tcp_bbr_info value;
  const u64 bw = bandwidth();
  value.bbr_bw_lo = static_cast<u32>(bw);
  value.bbr_bw_hi = static_cast<u32>(bw >> 32);
  value.bbr_min_rtt = min_rtt_us_;
  value.bbr_pacing_gain = pacing_gain();
  value.bbr_cwnd_gain = window_gain();
  const std::size_t len = std::min(out.size(), sizeof(value));
  copy_bytes(out.first(len), bytes_of(value).first(len));
  return len;
}

}  // namespace ph
