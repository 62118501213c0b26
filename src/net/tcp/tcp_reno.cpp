// Reno, RFC 5681 §3.1 (increase, counted in segments as RFC 3465 allows) and §3.2 (decrease).
#include "net/tcp/tcp_reno.h"

#include <algorithm>

namespace ph {

void tcp_reno::on_ack(cpu&, const ack_sample& sample, congestion_state& state) {
  // RFC 7661 §4: a window that is not used does not grow.
  if (sample.in_recovery || !sample.cwnd_limited) return;
  u32 acked = sample.acked_segs;
  if (state.in_slow_start()) acked = tcp_slow_start(state, acked);
  if (acked != 0) tcp_cong_avoid_ai(state, state.cwnd, acked);
}

void tcp_reno::on_loss(cpu&, const loss_event& event, congestion_state& state) {
  // RFC 5681 §3.1 eqn. 4: ssthresh = max(FlightSize / 2, 2*SMSS). The window is used in place of
  // the flight, which a burst of selective acknowledgements makes meaninglessly small.
  const u32 base = event.kind == loss_kind::timeout ? std::max(event.in_flight_segs, state.cwnd)
                                                    : state.cwnd;
  state.ssthresh = std::max(base / 2, 2u);
  state.cwnd = std::min(state.cwnd, state.ssthresh);
  state.cwnd_cnt = 0;
}

}  // namespace ph
