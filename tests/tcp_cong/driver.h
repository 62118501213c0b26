// Acknowledgements made by hand, round trip by round trip.
#pragma once

#include "net/tcp/tcp_cong.h"
#include "tests/kernel/machine.h"

namespace ph {

/// Each round trip acknowledges one window, segment by segment, evenly over the round-trip time.
struct ack_driver {
  explicit ack_driver(tcp_congestion& algorithm) : ca(algorithm) { machine.cx().enter(now); }

  void ack(duration rtt, u32 segs = 1, u32 ce = 0) {
    ack_sample sample;
    sample.acked_segs = segs;
    sample.acked_bytes = u64{segs} * 1000;
    sample.mss_bytes = 1000;
    sample.rtt = sample.srtt = sample.min_rtt = rtt;
    sample.in_flight_segs = state.cwnd;
    sample.in_flight_now_segs = state.cwnd - std::min(segs, state.cwnd);
    sample.cwnd_limited = cwnd_limited;
    sample.delivered = delivered += segs;
    sample.prior_delivered = static_cast<s64>(round_begun_at);
    sample.ce_segs = ce;
    machine.cx().enter(now);
    ca.on_ack(machine.cx(), sample, state);
  }
  /// One round trip; `marked` of its segments carry an ECN echo. The first acknowledgement is for
  /// what left when the last round trip ended.
  void round(duration rtt, u32 marked = 0) {
    const u32 window = state.cwnd;
    const u64 next = delivered;
    for (u32 i = 0; i < window; ++i) {
      now += rtt / window;
      ack(rtt, 1, i < marked ? 1 : 0);
    }
    round_begun_at = next + window;
  }
  void loss() {
    machine.cx().enter(now);
    ca.on_loss(machine.cx(), {loss_kind::fast_retransmit, state.cwnd, 1000}, state);
  }
  void timeout() {
    machine.cx().enter(now);
    ca.on_rto(machine.cx(), {loss_kind::timeout, state.cwnd, 1000}, state);
    state.cwnd = 1;
  }

  test_machine machine;
  tcp_congestion& ca;
  congestion_state state;
  instant now{seconds(1).ns};
  u64 delivered = 0;
  u64 round_begun_at = 0;
  bool cwnd_limited = true;
};

}  // namespace ph
