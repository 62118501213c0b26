// HyStart++ (RFC 9406 §4.2), with the RFC's recommended constants (§4.3).
#include "net/tcp/tcp_hystart_pp.h"

#include <algorithm>

namespace ph {

void tcp_hystart_pp::end_round() {
  last_round_min_us_ = current_round_min_us_;
  current_round_min_us_ = unknown;
  samples_ = 0;
  if (conservative_) ++rounds_in_css_;
}

void tcp_hystart_pp::judge() {
  if (samples_ < n_rtt_sample) return;
  if (conservative_) {
    // RFC 9406 §4.2: the path was not full after all: back to slow start.
    if (current_round_min_us_ >= css_baseline_us_) return;
    conservative_ = false;
    css_baseline_us_ = unknown;
    return;
  }
  if (last_round_min_us_ == unknown) return;
  const u32 thresh = std::clamp(last_round_min_us_ / min_rtt_divisor, min_rtt_thresh_us,
                                max_rtt_thresh_us);
  if (current_round_min_us_ < last_round_min_us_ + thresh) return;
  css_baseline_us_ = current_round_min_us_;
  conservative_ = true;
  rounds_in_css_ = 0;
}

u32 tcp_hystart_pp::on_ack(instant, const ack_sample& sample, congestion_state& state) {
  if (over_) return sample.cwnd_limited ? tcp_slow_start(state, sample.acked_segs) : 0;
  if (rounds_.on_ack(sample)) end_round();
  if (conservative_ && rounds_in_css_ >= css_rounds) {
    state.ssthresh = state.cwnd;
    state.cwnd_cnt = 0;
    return sample.acked_segs;
  }
  if (sample.rtt.ns >= 0) {
    const s64 us = std::clamp<s64>(sample.rtt.us(), 1, unknown / 2);
    current_round_min_us_ = std::min(current_round_min_us_, static_cast<u32>(us));
    if (samples_ < n_rtt_sample) ++samples_;
  }
  judge();
  if (!sample.cwnd_limited) return 0;  // RFC 7661 §4.1: an unused window does not grow
  if (!conservative_) return tcp_slow_start(state, sample.acked_segs);
  state.cwnd_cnt += sample.acked_segs;
  const u32 growth = state.cwnd_cnt / css_growth_divisor;
  state.cwnd_cnt %= css_growth_divisor;
  return tcp_slow_start(state, growth);
}

}  // namespace ph
