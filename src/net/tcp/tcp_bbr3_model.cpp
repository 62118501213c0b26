// BBR version 3's model of the path (draft-ietf-ccwg-bbr, "Updating Network Path Model
// Parameters"): round trips, bandwidth, volume in flight, the smallest round trip, and what losses
// and marks say.
#include <algorithm>

#include "net/tcp/tcp_bbr3.h"

namespace ph {
namespace {

constexpr u32 bw_shift = 4;
constexpr u32 beta_percent = 70;
constexpr u32 extra_acked_rounds = 5;  ///< half the window of ten round trips
constexpr u32 extra_acked_most = 1u << 20;

u32 us_of(instant t) { return static_cast<u32>(t.us()); }
u32 ms_of(instant t) { return static_cast<u32>(t.ms()); }
u32 beta_of(u32 value) { return static_cast<u32>(u64{value} * beta_percent / 100); }
bool reached(const ack_sample& sample, u32 mark) {
  return sample.prior_delivered >= 0 &&
         static_cast<s32>(static_cast<u32>(sample.prior_delivered) - mark) >= 0;
}
bool too_high(u32 lost, u32 in_flight, bool selective_acks) {
  return u64{lost} * 100 > u64{in_flight} * tcp_bbr3::loss_thresh_percent ||
         (lost != 0 && !selective_acks);
}

}  // namespace

u64 tcp_bbr3::bandwidth() const { return u64{std::min(max_bw(), bw_shortterm_)} << bw_shift; }

void tcp_bbr3::update_round(const ack_sample& sample) {
  delivered_ = static_cast<u32>(sample.delivered);
  round_start_ = reached(sample, next_round_at_);
  if (round_start_) {
    start_round();
    rounds_since_probe_up_ = static_cast<u8>(std::min(rounds_since_probe_up_ + 1, 255));
  }
  if (sample.lost_segs == 0) return;
  losses_in_round_ = static_cast<u8>(std::min(losses_in_round_ + 1, 255));
}

void tcp_bbr3::update_latest(const ack_sample& sample) {
  loss_round_start_ = false;
  const u32 bw = static_cast<u32>(std::min<u64>(sample.delivery_rate >> bw_shift, infinite));
  bw_latest_ = std::max(bw_latest_, bw);
  if (sample.prior_delivered < 0) return;
  const u32 flight = delivered_ - static_cast<u32>(sample.prior_delivered);
  inflight_latest_ = std::max(inflight_latest_, flight);
  if (!reached(sample, loss_round_at_)) return;
  loss_round_at_ = delivered_;
  loss_round_start_ = true;
}

void tcp_bbr3::update_congestion(const ack_sample& sample, congestion_state& state) {
  const u32 bw = static_cast<u32>(std::min<u64>(sample.delivery_rate >> bw_shift, infinite));
  if (bw > 0 && (bw >= max_bw() || !sample.app_limited)) bw_[1] = std::max(bw_[1], bw);
  if (!loss_round_start_) return;
  adapt_lower_bounds(state);
  loss_in_round_ = false;
}

/// "When not Probing for Bandwidth": once a round trip with losses.
void tcp_bbr3::adapt_lower_bounds(const congestion_state& state) {
  const bool probing = mode_ == mode::startup || mode_ == mode::refill || mode_ == mode::up;
  if (probing || !loss_in_round_) return;
  if (bw_shortterm_ == infinite) bw_shortterm_ = max_bw();
  if (inflight_shortterm_ == infinite) inflight_shortterm_ = state.cwnd;
  bw_shortterm_ = std::max(bw_latest_, beta_of(bw_shortterm_));
  inflight_shortterm_ = std::max(inflight_latest_, beta_of(inflight_shortterm_));
}

void tcp_bbr3::update_ack_aggregation(cpu& cx, const ack_sample& sample,
                                      const congestion_state& state) {
  if (sample.acked_segs == 0 || mss_bytes_ == 0) return;
  const u32 window = full_bw_reached_ ? extra_acked_rounds : 1;
  if (round_start_ && ++extra_acked_rounds_ >= window) {
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

void tcp_bbr3::update_min_rtt(cpu& cx, const ack_sample& sample) {
  const u32 now = ms_of(cx.now());
  probe_rtt_expired_ =
      now - probe_rtt_min_stamp_ms_ > static_cast<u32>(probe_rtt_interval.ms());
  if (sample.rtt.ns >= 0) {
    const u32 rtt = static_cast<u32>(std::clamp<s64>(sample.rtt.us(), 1, infinite));
    if (probe_rtt_min_us_ == 0 || rtt < probe_rtt_min_us_ || probe_rtt_expired_) {
      probe_rtt_min_us_ = rtt;
      probe_rtt_min_stamp_ms_ = now;
    }
  }
  if (probe_rtt_min_us_ == 0) return;
  const bool expired = now - min_rtt_stamp_ms_ > static_cast<u32>(min_rtt_window.ms());
  if (min_rtt_us_ == 0 || probe_rtt_min_us_ < min_rtt_us_ || expired) {
    min_rtt_us_ = probe_rtt_min_us_;
    min_rtt_stamp_ms_ = probe_rtt_min_stamp_ms_;
  }
}

void tcp_bbr3::reset_full_bw() {
  full_bw_ = 0;
  full_bw_rounds_ = 0;
  full_bw_now_ = false;
}

// --- the long-term bound ------------------------------------------------------------------------

void tcp_bbr3::raise_slope(const congestion_state& state) {
  const u32 growth = u32{1} << probe_up_rounds_;
  probe_up_rounds_ = static_cast<u8>(std::min(probe_up_rounds_ + 1, 30));
  probe_up_acked_per_inc_ = std::max(state.cwnd / growth, 1u);
}

/// Grows the bound by 1, 2, 4 … segments a round trip, spread over it.
void tcp_bbr3::probe_upward(const ack_sample& sample, const congestion_state& state) {
  if (!sample.cwnd_limited || state.cwnd < inflight_longterm_) return;
  probe_up_acked_ += sample.acked_segs;
  if (probe_up_acked_ >= probe_up_acked_per_inc_) {
    const u32 delta = probe_up_acked_ / probe_up_acked_per_inc_;
    probe_up_acked_ -= delta * probe_up_acked_per_inc_;
    inflight_longterm_ += delta;
  }
  if (round_start_) raise_slope(state);
}

/// True: the state has changed.
bool tcp_bbr3::adapt_long_term(const ack_sample& sample, const congestion_state& state) {
  if (ack_phase_ == ack_phase::probe_starting && round_start_) {
    ack_phase_ = ack_phase::probe_feedback;
  }
  if (ack_phase_ == ack_phase::probe_stopping && round_start_) {
    probe_sample_ = false;
    ack_phase_ = ack_phase::init;
    // The best chance of this cycle to measure bandwidth is over.
    if (in_probe_bw() && !sample.app_limited && bw_[1] != 0) {
      bw_[0] = bw_[1];
      bw_[1] = 0;
    }
    if (in_probe_bw() && precautionary_ && !probe_too_high_) {
      start_refill();
      return true;
    }
  }
  const bool high = too_high(sample.lost_since_segs, sample.tx_in_flight_segs,
                             sample.selective_acks);
  if (high || inflight_longterm_ == infinite) return false;
  inflight_longterm_ = std::max(inflight_longterm_, sample.tx_in_flight_segs);
  if (mode_ == mode::up) probe_upward(sample, state);
  return false;
}

void tcp_bbr3::inflight_too_high(cpu& cx, u32 tx_in_flight, bool app_limited,
                                 congestion_state& state) {
  probe_too_high_ = true;
  probe_sample_ = false;
  if (!app_limited) {
    inflight_longterm_ = std::max(tx_in_flight, beta_of(target_inflight(state)));
  }
  if (mode_ != mode::up) return;
  undo_mode_ = mode::up;
  start_down(cx);
}

// --- losses and marks ---------------------------------------------------------------------------

void tcp_bbr3::save_cwnd(const congestion_state& state) {
  const bool modulated =
      prev_ca_state_ >= uapi::tcp_ca_state::recovery || mode_ == mode::probe_rtt;
  prior_cwnd_ = modulated ? std::max(prior_cwnd_, state.cwnd) : state.cwnd;
}

/// What a recovery that proves spurious brings back is what was before its first loss.
void tcp_bbr3::save_state(const congestion_state& state) {
  save_cwnd(state);
  if (saved_) return;
  saved_ = true;
  undo_mode_ = mode::drain;
  undo_bw_shortterm_ = bw_shortterm_;
  undo_inflight_shortterm_ = inflight_shortterm_;
  undo_inflight_longterm_ = inflight_longterm_;
}

void tcp_bbr3::note_loss(congestion_state& state) {
  if (!loss_in_round_) {
    loss_round_at_ = delivered_;
    save_state(state);
  }
  loss_in_round_ = true;
}

void tcp_bbr3::on_lost(cpu& cx, const lost_sample& lost, congestion_state& state) {
  note_loss(state);
  if (!probe_sample_) return;
  if (!too_high(lost.lost_since_segs, lost.tx_in_flight_segs, lost.selective_acks)) return;
  // InflightAtLoss(): how much of the burst that these belong to was still safe.
  const s64 before = s64{lost.tx_in_flight_segs} - lost.segs;
  const s64 lost_before = s64{lost.lost_since_segs} - lost.segs;
  const s64 prefix = (loss_thresh_percent * before - 100 * lost_before) /
                     s64{100 - loss_thresh_percent};
  const u32 safe = static_cast<u32>(std::max<s64>(before + prefix, 1));
  inflight_too_high(cx, safe, lost.app_limited, state);
}

void tcp_bbr3::heed_marks(cpu& cx, const ack_sample& sample, congestion_state& state) {
  if (sample.ce_segs == 0) return;
  note_loss(state);
  marked_in_round_ = static_cast<u16>(std::min<u32>(marked_in_round_ + sample.ce_segs, 0xffff));
  if (!probe_sample_) return;
  if (!too_high(marked_in_round_, sample.tx_in_flight_segs, true)) return;
  inflight_too_high(cx, sample.tx_in_flight_segs, sample.app_limited, state);
}

/// HandleSpuriousLossDetection().
void tcp_bbr3::on_undo(cpu&, congestion_state& state) {
  state.cwnd = std::max(state.cwnd, prior_cwnd_);
  loss_in_round_ = false;
  saved_ = false;
  reset_full_bw();
  bw_shortterm_ = std::max(bw_shortterm_, undo_bw_shortterm_);
  inflight_shortterm_ = std::max(inflight_shortterm_, undo_inflight_shortterm_);
  inflight_longterm_ = std::max(inflight_longterm_, undo_inflight_longterm_);
  const mode before = std::exchange(undo_mode_, mode::drain);
  if (before == mode::startup && mode_ != mode::startup) {
    full_bw_reached_ = false;
    if (mode_ != mode::probe_rtt) mode_ = mode::startup;
  } else if (before == mode::up && mode_ != mode::up && mode_ != mode::probe_rtt) {
    start_refill();
  }
}

}  // namespace ph
