// BBR's model of the path and its four modes (draft-cardwell-iccrg-bbr-congestion-control-00 §4).
// Behaviour where the draft leaves a choice, as BBR version 1 is known on Linux: pacing 1 % below
// the model, windows rounded up to even, ProbeRTT also counts as limited by the program.
#include "net/tcp/tcp_bbr.h"

#include <algorithm>

#include "uapi/tcp_cc_info.h"

namespace ph {
namespace {

constexpr u32 bw_shift = 4;           ///< bandwidths are kept in units of 16 bytes per second
constexpr u32 initial_cwnd = 10;
constexpr u32 full_bw_rounds = 3;     ///< §4.3.2.2: three rounds without growth by a quarter
constexpr u32 extra_acked_rounds = 5;
constexpr u32 extra_acked_most = 1u << 20;

u32 us_of(instant t) { return static_cast<u32>(t.us()); }
u32 ms_of(instant t) { return static_cast<u32>(t.ms()); }

}  // namespace

void tcp_bbr_max_filter::update(u32 round, u32 window, u32 value) {
  const auto old = [&](const entry& e) { return round - e.round > window; };
  std::size_t n = 0;
  for (const entry& e : kept_) {
    // Whatever is not larger than a later value can never be the maximum again.
    if (e.value > value && !old(e)) kept_[n++] = e;
  }
  if (n == kept_.size()) --n;
  kept_[n++] = {round, value};
  while (n < kept_.size()) kept_[n++] = {};
}

u64 tcp_bbr::bandwidth() const { return u64{lt_use_ ? lt_bw_ : bw_.best()} << bw_shift; }

// --- the model ----------------------------------------------------------------------------------

void tcp_bbr::update_bandwidth(cpu& cx, const ack_sample& sample) {
  round_start_ = rounds_.on_ack(sample);
  if (round_start_) {
    ++round_count_;
    packet_conservation_ = false;
  }
  sample_policer(us_of(cx.now()), sample.lost_segs, sample);
  if (sample.delivery_rate == 0) return;
  const u32 bw = static_cast<u32>(std::min<u64>(sample.delivery_rate >> bw_shift, ~u32{0}));
  // §4.1.2.4: what the program held down says little, unless it is the most seen.
  if (!sample.app_limited || bw >= bw_.best()) {
    bw_.update(round_count_, bw_window_rounds, std::max(bw, 1u));
  }
}

/// IETF 101: links that gather acknowledgements (WiFi, cable) deliver more at once than the model
/// expects; the window must hold that excess too.
void tcp_bbr::update_ack_aggregation(cpu& cx, const ack_sample& sample,
                                     const congestion_state& state) {
  if (sample.acked_segs == 0 || sample.delivery_rate == 0 || mss_bytes_ == 0) return;
  if (round_start_ && ++extra_acked_rounds_ >= extra_acked_rounds) {
    extra_acked_rounds_ = 0;
    extra_acked_index_ = !extra_acked_index_;
    extra_acked_[extra_acked_index_] = 0;
  }
  const u32 now = us_of(cx.now());
  u64 expected = bandwidth() * (now - ack_epoch_us_) / 1'000'000 / mss_bytes_;
  if (ack_epoch_acked_ <= expected || ack_epoch_acked_ + sample.acked_segs >= extra_acked_most) {
    ack_epoch_acked_ = 0;
    ack_epoch_us_ = now;
    expected = 0;
  }
  ack_epoch_acked_ = std::min(ack_epoch_acked_ + sample.acked_segs, extra_acked_most);
  const u64 extra = std::min<u64>({ack_epoch_acked_ - expected, state.cwnd, 0xffff});
  u16& most = extra_acked_[extra_acked_index_];
  most = std::max(most, static_cast<u16>(extra));
}

void tcp_bbr::check_full_pipe(const ack_sample& sample) {
  if (full_pipe_ || !round_start_ || sample.app_limited) return;
  if (bw_.best() >= u64{full_bw_} * 5 / 4) {
    full_bw_ = bw_.best();
    full_bw_rounds_ = 0;
    return;
  }
  full_pipe_ = ++full_bw_rounds_ >= full_bw_rounds;
}

void tcp_bbr::update_min_rtt(cpu& cx, const ack_sample& sample, congestion_state& state) {
  const u32 now = ms_of(cx.now());
  const bool expired = now - min_rtt_stamp_ms_ > static_cast<u32>(min_rtt_window.ms());
  if (sample.rtt.ns >= 0) {
    const u32 rtt = static_cast<u32>(std::clamp<s64>(sample.rtt.us(), 1, ~u32{0}));
    if (min_rtt_us_ == 0 || rtt <= min_rtt_us_ || expired) {
      min_rtt_us_ = rtt;
      min_rtt_stamp_ms_ = now;
    }
  }
  if (expired && !idle_restart_ && mode_ != mode::probe_rtt) {
    mode_ = mode::probe_rtt;
    save_cwnd(state);
    probe_rtt_held_ = false;
  }
  if (mode_ == mode::probe_rtt) handle_probe_rtt(cx, sample, state);
  if (sample.acked_segs != 0) idle_restart_ = false;
}

// --- modes --------------------------------------------------------------------------------------

/// §4.3.4.3: a random phase, but not the one that drains.
void tcp_bbr::enter_probe_bw(cpu& cx) {
  mode_ = mode::probe_bw;
  cycle_index_ = static_cast<u8>((8 - cx.random().below(7)) % 8);
  cycle_stamp_us_ = us_of(cx.now());
}

void tcp_bbr::update_cycle(cpu& cx, const ack_sample& sample, const congestion_state& state) {
  if (mode_ != mode::probe_bw) return;
  const bool full_length = us_of(cx.now()) - cycle_stamp_us_ > min_rtt_us_;
  const u64 bw = u64{bw_.best()} << bw_shift;
  const u32 gain = pacing_gain();
  bool next = full_length;
  if (gain > unit) {
    // Long enough to fill what it tries, or until something is lost.
    next = full_length && (sample.lost_segs != 0 ||
                           sample.in_flight_segs >= inflight(bw, gain, state));
  } else if (gain < unit) {
    next = full_length || sample.in_flight_segs <= inflight(bw, unit, state);
  }
  if (!next) return;
  cycle_index_ = static_cast<u8>((cycle_index_ + 1) % cycle.size());
  cycle_stamp_us_ = us_of(cx.now());
}

void tcp_bbr::check_drain(cpu& cx, const ack_sample& sample, const congestion_state& state) {
  if (mode_ == mode::startup && full_pipe_) mode_ = mode::drain;
  const u64 bw = u64{bw_.best()} << bw_shift;
  if (mode_ == mode::drain && sample.in_flight_now_segs <= inflight(bw, unit, state)) {
    enter_probe_bw(cx);
  }
}

void tcp_bbr::handle_probe_rtt(cpu& cx, const ack_sample& sample, congestion_state& state) {
  state.app_limited = true;  // §4.3.5: the low rates of this time say nothing about the path
  const u32 now = ms_of(cx.now());
  if (!probe_rtt_held_) {
    if (sample.in_flight_now_segs > min_cwnd) return;
    probe_rtt_held_ = true;
    probe_rtt_round_done_ = false;
    probe_rtt_done_ms_ = now + static_cast<u32>(probe_rtt_time.ms());
    rounds_.restart(sample);
    return;
  }
  if (round_start_) probe_rtt_round_done_ = true;
  if (probe_rtt_round_done_ && static_cast<s32>(now - probe_rtt_done_ms_) > 0) {
    leave_probe_rtt(cx, state);
  }
}

void tcp_bbr::leave_probe_rtt(cpu& cx, congestion_state& state) {
  min_rtt_stamp_ms_ = ms_of(cx.now());
  probe_rtt_held_ = false;
  state.app_limited = false;
  state.cwnd = std::max(state.cwnd, prior_cwnd_);
  if (full_pipe_) {
    enter_probe_bw(cx);
  } else {
    mode_ = mode::startup;
  }
}

u32 tcp_bbr::pacing_gain() const {
  switch (mode_) {
    case mode::startup: return high_gain;
    case mode::drain: return drain_gain;
    case mode::probe_bw: return lt_use_ ? unit : cycle[cycle_index_];
    case mode::probe_rtt: return unit;
  }
  ph_unreachable("every mode has a gain");
}

u32 tcp_bbr::window_gain() const {
  switch (mode_) {
    case mode::startup:
    case mode::drain: return high_gain;
    case mode::probe_bw: return cwnd_gain;
    case mode::probe_rtt: return unit;
  }
  ph_unreachable("every mode has a gain");
}

// --- what follows from the model ---------------------------------------------------------------

u64 tcp_bbr::paced(u32 gain) const { return bandwidth() * gain / unit * 99 / 100; }

void tcp_bbr::pace_from_rtt(const ack_sample& sample, congestion_state& state) {
  // §4.2.1: the first guess; 1 ms while there is no round-trip time.
  const u64 rtt_us = sample.srtt.ns > 0 ? static_cast<u64>(std::max<s64>(sample.srtt.us(), 1))
                                        : 1000;
  has_rtt_ = sample.srtt.ns > 0;
  const u64 bytes = u64{state.cwnd} * std::max(sample.mss_bytes, 1u);
  state.pacing_rate = bytes * 1'000'000 / rtt_us * high_gain / unit * 99 / 100;
}

void tcp_bbr::set_pacing_rate(const ack_sample& sample, congestion_state& state) {
  if (!has_rtt_ && sample.srtt.ns > 0) pace_from_rtt(sample, state);
  if (bandwidth() == 0) return;
  const u64 rate = paced(pacing_gain());
  // §4.2.1: until the pipe is full, the first samples must not slow it down.
  if (full_pipe_ || rate > state.pacing_rate) state.pacing_rate = rate;
}

u64 tcp_bbr::bdp_segs(u64 bytes_per_second, u32 gain) const {
  if (min_rtt_us_ == 0 || mss_bytes_ == 0) return initial_cwnd;
  const double bytes = static_cast<double>(bytes_per_second) * min_rtt_us_ / 1e6 * gain / unit;
  return static_cast<u64>(bytes / mss_bytes_) + 1;
}

/// §4.2.3.1: room for the packets of several segments that wait in the hosts at both ends.
u32 tcp_bbr::quantized(u64 segs, const congestion_state& state) const {
  const u64 rate = std::min<u64>(state.pacing_rate, u64{1} << 40);
  const u64 least = rate < 1'200'000 / 8 ? 1 : 2;
  const u64 quantum = std::min<u64>(rate / 1024, 65535) / std::max(mss_bytes_, 1u);
  segs += 3 * std::max(quantum, least);
  segs = (segs + 1) & ~u64{1};
  // The phase that probes must be able to, however small the product.
  if (mode_ == mode::probe_bw && cycle_index_ == 0) segs += 2;
  return static_cast<u32>(std::min<u64>(segs, ~u32{0} >> 1));
}

u32 tcp_bbr::inflight(u64 bytes_per_second, u32 gain, const congestion_state& state) const {
  return quantized(bdp_segs(bytes_per_second, gain), state);
}

void tcp_bbr::save_cwnd(const congestion_state& state) {
  const bool steady = prev_ca_state_ < uapi::tcp_ca_state::recovery && mode_ != mode::probe_rtt;
  prior_cwnd_ = steady ? state.cwnd : std::max(prior_cwnd_, state.cwnd);
}

/// §4.2.3.4: the first round of a recovery sends a segment for each that was delivered. Returns
/// true when that sets the window.
bool tcp_bbr::modulate_for_recovery(const ack_sample& sample, congestion_state& state) {
  using enum uapi::tcp_ca_state;
  u32 cwnd = state.cwnd;
  if (sample.lost_segs != 0) cwnd = cwnd > sample.lost_segs ? cwnd - sample.lost_segs : 1;
  const uapi::tcp_ca_state before = std::exchange(prev_ca_state_, sample.ca_state);
  if (sample.ca_state == recovery && before != recovery) {
    packet_conservation_ = true;
    rounds_.restart(sample);
    cwnd = sample.in_flight_now_segs + sample.acked_segs;
  } else if (before >= recovery && sample.ca_state < recovery) {
    packet_conservation_ = false;
    cwnd = std::max(cwnd, prior_cwnd_);
  }
  if (packet_conservation_) {
    state.cwnd = std::max(cwnd, sample.in_flight_now_segs + sample.acked_segs);
    return true;
  }
  state.cwnd = cwnd;
  return false;
}

void tcp_bbr::set_cwnd(const ack_sample& sample, congestion_state& state) {
  if (sample.acked_segs != 0 && !modulate_for_recovery(sample, state)) {
    u64 target = bdp_segs(bandwidth(), window_gain());
    if (full_pipe_) {
      const u64 tenth_second = bandwidth() / 10 / std::max(mss_bytes_, 1u);
      target += std::min<u64>(std::max(extra_acked_[0], extra_acked_[1]), tenth_second);
    }
    const u32 most = quantized(target, state);
    if (full_pipe_) {
      state.cwnd = std::min(state.cwnd + sample.acked_segs, most);
    } else if (state.cwnd < most || sample.delivered < initial_cwnd) {
      state.cwnd += sample.acked_segs;
    }
    state.cwnd = std::max(state.cwnd, min_cwnd);
  }
  state.cwnd = std::min(state.cwnd, state.cwnd_clamp);
  if (mode_ == mode::probe_rtt) state.cwnd = std::min(state.cwnd, min_cwnd);
}

// --- events ------------------------------------------------------------------------------------

void tcp_bbr::on_init(cpu& cx, const ack_sample& sample, congestion_state& state) {
  mss_bytes_ = sample.mss_bytes;
  prev_ca_state_ = sample.ca_state;
  rounds_.restart(sample);
  if (sample.min_rtt.ns > 0) min_rtt_us_ = static_cast<u32>(std::max<s64>(sample.min_rtt.us(), 1));
  min_rtt_stamp_ms_ = ms_of(cx.now());
  ack_epoch_us_ = us_of(cx.now());
  pace_from_rtt(sample, state);
}

void tcp_bbr::on_ack(cpu& cx, const ack_sample& sample, congestion_state& state) {
  mss_bytes_ = sample.mss_bytes;
  update_bandwidth(cx, sample);
  update_ack_aggregation(cx, sample, state);
  update_cycle(cx, sample, state);
  check_full_pipe(sample);
  check_drain(cx, sample, state);
  update_min_rtt(cx, sample, state);
  set_pacing_rate(sample, state);
  set_cwnd(sample, state);
}

void tcp_bbr::on_loss(cpu&, const loss_event&, congestion_state& state) { save_cwnd(state); }

void tcp_bbr::on_rto(cpu&, const loss_event& event, congestion_state& state) {
  save_cwnd(state);
  prev_ca_state_ = uapi::tcp_ca_state::loss;
  packet_conservation_ = false;
  full_bw_ = 0;  // the path may have changed: let Startup, if it still is, look anew
  lt_lost_ += event.in_flight_segs;
}

/// What looked like losses was none: a full pipe and a policer are judged anew.
void tcp_bbr::on_undo(cpu&, congestion_state&) {
  full_bw_ = 0;
  full_bw_rounds_ = 0;
  reset_policer();
}

void tcp_bbr::on_tx_start(cpu& cx, duration, bool app_limited, congestion_state& state) {
  if (!app_limited) return;
  idle_restart_ = true;
  ack_epoch_us_ = us_of(cx.now());
  ack_epoch_acked_ = 0;
  if (mode_ == mode::probe_bw) {
    // §4.3.4.4: the pipe is empty: no phase may overfill it.
    if (bandwidth() != 0) state.pacing_rate = paced(unit);
  } else if (mode_ == mode::probe_rtt && probe_rtt_held_ &&
             static_cast<s32>(ms_of(cx.now()) - probe_rtt_done_ms_) > 0) {
    leave_probe_rtt(cx, state);
  }
}

std::size_t tcp_bbr::info(byte_span out) const {
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
