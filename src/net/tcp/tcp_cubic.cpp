// CUBIC (RFC 9438 §4). The window is real-valued: cwnd holds its whole part, fraction_ the rest.
#include "net/tcp/tcp_cubic.h"

#include <algorithm>
#include <bit>

namespace ph {

double tcp_cubic_root(double x) {
  if (!(x > 0)) return 0;
  // A third of the exponent is a first guess; Newton's method doubles the right digits each time.
  const u64 bits = std::bit_cast<u64>(x);
  double r = std::bit_cast<double>(bits / 3 + (u64{1023} << 52) / 3 * 2);
  for (int i = 0; i < 6; ++i) r = (2 * r + x / (r * r)) / 3;
  return r;
}

void tcp_cubic::on_ack(cpu& cx, const ack_sample& sample, congestion_state& state) {
  const instant now = cx.now();
  u32 acked = sample.acked_segs;
  if (sample.in_recovery) return;
  if (state.in_slow_start() && cwnd_prior_ == 0) {
    // RFC 9406 §4.3: for the initial slow start only.
    acked = hystart_.on_ack(sample, state);
    if (acked == 0) return;
  }
  if (!sample.cwnd_limited) {
    // RFC 9438 §4.2, §5.8: time in which the program leaves the window unused does not count.
    if (paused_at_.ns < 0) paused_at_ = now;
    return;
  }
  if (paused_at_.ns >= 0) {
    epoch_ += now - paused_at_;
    paused_at_ = instant{-1};
  }
  if (state.in_slow_start()) {
    acked = tcp_slow_start(state, acked);
    if (acked == 0) return;
  }
  avoid_congestion(now, sample.srtt, acked, state);
}

void tcp_cubic::begin_epoch(instant now, const congestion_state& state) {
  in_epoch_ = true;
  epoch_ = now;
  paused_at_ = instant{-1};
  fraction_ = 0;
  const double cwnd = state.cwnd;
  w_est_ = cwnd;
  if (w_max_ > cwnd) {
    k_ = tcp_cubic_root((w_max_ - cwnd) / c);  // RFC 9438 §4.2 figure 2
  } else {
    // RFC 9438 §4.8, §4.10: after a timeout, or slow start that ended without loss.
    k_ = 0;
    w_max_ = cwnd;
  }
}

void tcp_cubic::avoid_congestion(instant now, duration rtt, u32 acked, congestion_state& state) {
  if (!in_epoch_) begin_epoch(now, state);
  const double t = (now - epoch_).seconds();
  const double cwnd = state.cwnd + fraction_;
  // RFC 9438 §4.3 figure 4; as reno once the old window is reached again.
  const double share = acked / cwnd;
  w_est_ += (w_est_ >= cwnd_prior_ ? 1.0 : alpha) * share;
  double grown = cwnd;
  if (w_cubic(t, k_, w_max_) < w_est_) {
    grown = std::max(cwnd, w_est_);
  } else {
    // RFC 9438 §4.4, §4.5: towards the curve one round trip ahead, by at most a half.
    const double target =
        std::clamp(w_cubic(t + rtt.seconds(), k_, w_max_), cwnd, 1.5 * cwnd);
    grown = cwnd + (target - cwnd) * share;
  }
  grown = std::min(grown, static_cast<double>(state.cwnd_clamp));
  state.cwnd = static_cast<u32>(grown);
  fraction_ = grown - state.cwnd;
}

void tcp_cubic::shrink(congestion_state& state) {
  const u32 cwnd = state.cwnd;
  // RFC 9438 §4.7, fast convergence: a flow that loses below its old plateau makes room.
  w_max_ = cwnd < w_max_ ? cwnd * (1 + beta) / 2 : cwnd;
  cwnd_prior_ = cwnd;
  state.ssthresh = std::max(static_cast<u32>(u64{cwnd} * 7 / 10), 2u);
  state.cwnd = std::min(cwnd, state.ssthresh);
  state.cwnd_cnt = 0;
  fraction_ = 0;
  in_epoch_ = false;
}

void tcp_cubic::on_loss(cpu&, const loss_event&, congestion_state& state) { shrink(state); }

void tcp_cubic::on_rto(cpu&, const loss_event&, congestion_state& state) {
  shrink(state);
  w_max_ = 0;  // RFC 9438 §4.8: the next epoch begins on its plateau
}

void tcp_cubic::on_tx_start(cpu& cx, duration idle, bool, congestion_state&) {
  if (in_epoch_ && paused_at_.ns < 0) paused_at_ = cx.now() - idle;
}

}  // namespace ph
