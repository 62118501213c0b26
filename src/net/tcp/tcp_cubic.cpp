// CUBIC (RFC 9438 §4): the curve is real-valued, the window follows it in whole segments.
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

template <class SlowStart>
void basic_cubic<SlowStart>::on_ack(cpu& cx, const ack_sample& sample, congestion_state& state) {
  const instant now = cx.now();
  if (sample.in_recovery) return;
  u32 acked = sample.acked_segs;
  if (state.in_slow_start()) acked = slow_start_.on_ack(now, sample, state);
  if (!sample.cwnd_limited) {
    // RFC 9438 §4.2, §5.8: time in which the program leaves the window unused does not count.
    if (paused_at_.ns < 0) paused_at_ = now;
    return;
  }
  if (paused_at_.ns >= 0) {
    now_.epoch += now - paused_at_;
    paused_at_ = instant{-1};
  }
  if (acked == 0) return;
  avoid_congestion(now, sample.min_rtt, acked, state);
}

template <class SlowStart>
void basic_cubic<SlowStart>::begin_epoch(instant now, const congestion_state& state) {
  now_.in_epoch = true;
  now_.epoch = now;
  paused_at_ = instant{-1};
  const double cwnd = state.cwnd;
  now_.w_est = cwnd;
  if (now_.w_max > cwnd) {
    now_.k = tcp_cubic_root((now_.w_max - cwnd) / c);  // RFC 9438 §4.2 figure 2
  } else {
    // RFC 9438 §4.8, §4.10: after a timeout, or slow start that ended without loss.
    now_.k = 0;
    now_.w_max = cwnd;
  }
}

template <class SlowStart>
void basic_cubic<SlowStart>::avoid_congestion(instant now, duration rtt, u32 acked,
                                              congestion_state& state) {
  if (!now_.in_epoch) begin_epoch(now, state);
  const double t = (now - now_.epoch).seconds();
  const u32 cwnd = state.cwnd;
  // RFC 9438 §4.3 figure 4; as reno once the old window is reached again.
  now_.w_est += (now_.w_est >= now_.cwnd_prior ? 1.0 : alpha) * acked / cwnd;
  // RFC 9438 §4.4, §4.5: towards the curve one round trip ahead, or where reno would be: one
  // segment for so many acknowledged ones that the difference is made up in a round trip.
  const double goal = std::max(w_cubic(t + rtt.seconds(), now_.k, now_.w_max), now_.w_est);
  const u32 target = static_cast<u32>(std::min(goal, 1.5 * cwnd));
  u32 segs = target > cwnd ? cwnd / (target - cwnd) : 100 * cwnd;
  if (now_.cwnd_prior == 0) segs = std::min(segs, 20u);
  tcp_cong_avoid_ai(state, std::max(segs, 2u), acked);
}

template <class SlowStart>
void basic_cubic<SlowStart>::shrink(congestion_state& state) {
  const u32 cwnd = state.cwnd;
  before_ = now_;
  // RFC 9438 §4.7, fast convergence: a flow that loses below its old plateau makes room.
  now_.w_max = cwnd < now_.w_max ? cwnd * (1 + beta) / 2 : cwnd;
  now_.cwnd_prior = cwnd;
  state.ssthresh = std::max(static_cast<u32>(u64{cwnd} * 7 / 10), 2u);
  state.cwnd = std::min(cwnd, state.ssthresh);
  state.cwnd_cnt = 0;
  now_.in_epoch = false;
}

template <class SlowStart>
void basic_cubic<SlowStart>::on_loss(cpu&, const loss_event&, congestion_state& state) {
  slow_start_.on_loss();
  shrink(state);
}

template <class SlowStart>
void basic_cubic<SlowStart>::on_rto(cpu&, const loss_event&, congestion_state& state) {
  shrink(state);
  now_.w_max = 0;  // RFC 9438 §4.8: the next epoch begins on its plateau
  slow_start_.on_rto();
}

template <class SlowStart>
void basic_cubic<SlowStart>::on_undo(cpu&, congestion_state&) {
  now_ = before_;  // RFC 9438 §4.9.1
}

template <class SlowStart>
void basic_cubic<SlowStart>::on_tx_start(cpu& cx, duration idle, bool, congestion_state&) {
  if (now_.in_epoch && paused_at_.ns < 0) paused_at_ = cx.now() - idle;
}

template class basic_cubic<tcp_hystart>;
template class basic_cubic<tcp_hystart_pp>;

}  // namespace ph
