// HyStart's two signs: the length of a train of acknowledgements, and the rise of the delay.
#include "net/tcp/tcp_hystart.h"

#include <algorithm>

namespace ph {

bool tcp_hystart::ends_here(instant now, const ack_sample& sample, u32 cwnd) {
  if (sample.rtt.ns >= 0) {
    const s64 us = std::clamp<s64>(sample.rtt.us(), 1, unknown / 2);
    least_us_ = std::min(least_us_, static_cast<u32>(us));
  }
  if (rounds_.on_ack(sample)) {
    round_began_ = train_end_ = now;
    round_min_us_ = unknown;
    samples_ = 0;
  }
  if (cwnd < low_window || least_us_ == unknown) return false;
  if (now - train_end_ <= microseconds(train_gap_us)) {
    train_end_ = now;
    if (now - round_began_ > microseconds(least_us_ / 2)) return true;
  }
  if (sample.rtt.ns < 0) return false;
  round_min_us_ = std::min(round_min_us_, static_cast<u32>(std::max<s64>(sample.rtt.us(), 1)));
  if (samples_ < min_samples) {
    ++samples_;
    return false;
  }
  const u32 rise = std::clamp(least_us_ / rise_divisor, least_rise_us, greatest_rise_us);
  return round_min_us_ > least_us_ + rise;
}

u32 tcp_hystart::on_ack(instant now, const ack_sample& sample, congestion_state& state) {
  if (ends_here(now, sample, state.cwnd)) state.ssthresh = state.cwnd;
  if (!sample.cwnd_limited) return 0;  // RFC 7661 §4.1: an unused window does not grow
  return tcp_slow_start(state, sample.acked_segs);
}

}  // namespace ph
