// Vegas' congestion avoidance and slow start. The smallest round-trip time of a round is compared,
// so that delayed acknowledgements do not look like queues.
#include "net/tcp/tcp_vegas.h"

#include <algorithm>

#include "uapi/tcp_cc_info.h"

namespace ph {
namespace {

/// Fewer may all stem from delayed acknowledgements.
constexpr u32 enough_samples = 3;

}  // namespace

void tcp_vegas::adjust(congestion_state& state) {
  const double share = static_cast<double>(base_rtt_.ns) / static_cast<double>(round_rtt_.ns);
  const double expected = state.cwnd;        // in flight, over base_rtt_
  const double actual = state.cwnd * share;  // what base_rtt_ holds of it
  const double diff = expected - actual;     // waits in queues
  if (state.in_slow_start()) {
    if (diff > gamma) {
      // §3.4: linear from here; what waits is taken out at once.
      state.cwnd = std::max(std::min(state.cwnd, static_cast<u32>(actual) + 1), 2u);
      state.ssthresh = std::min(state.ssthresh, state.cwnd);
    }
    growing_ = !growing_;
    return;
  }
  if (diff > beta) {
    state.cwnd = std::max(state.cwnd - 1, 2u);
    state.ssthresh = std::min(state.ssthresh, state.cwnd);
  } else if (diff < alpha) {
    state.cwnd = std::min(state.cwnd + 1, state.cwnd_clamp);
  }
}

void tcp_vegas::on_ack(cpu&, const ack_sample& sample, congestion_state& state) {
  if (sample.rtt.ns > 0) {
    if (base_rtt_.ns == 0 || sample.rtt < base_rtt_) base_rtt_ = sample.rtt;
    if (round_rtt_.ns == 0 || sample.rtt < round_rtt_) round_rtt_ = sample.rtt;
    ++samples_;
  }
  const bool round = rounds_.on_ack(sample);
  if (sample.in_recovery) {
    enabled_ = false;
    return;
  }
  if (round) {
    const bool measured = enabled_ && samples_ >= enough_samples;
    if (measured && sample.cwnd_limited) adjust(state);
    if (!measured) growing_ = true;
    samples_ = 0;
    round_rtt_ = duration{};
    enabled_ = true;
    if (measured) return;
    // Too little is known: as reno, for one round trip.
    if (!state.in_slow_start() && sample.cwnd_limited) {
      tcp_cong_avoid_ai(state, 1, 1);
      return;
    }
  }
  if (state.in_slow_start() && growing_ && sample.cwnd_limited) {
    static_cast<void>(tcp_slow_start(state, sample.acked_segs));
  }
}

void tcp_vegas::on_loss(cpu&, const loss_event&, congestion_state& state) {
  state.ssthresh = std::max(state.cwnd / 2, 2u);
  state.cwnd = std::min(state.cwnd, state.ssthresh);
  state.cwnd_cnt = 0;
  enabled_ = false;
}

void tcp_vegas::on_tx_start(cpu&, duration, bool, congestion_state&) {
  enabled_ = false;
  growing_ = true;
}

std::size_t tcp_vegas::info(byte_span out) const {
  uapi::tcpvegas_info value;
  value.tcpv_enabled = enabled_ ? 1 : 0;
  value.tcpv_rttcnt = samples_;
  value.tcpv_rtt = static_cast<u32>(round_rtt_.us());
  value.tcpv_minrtt = static_cast<u32>(base_rtt_.us());
  const std::size_t len = std::min(out.size(), sizeof(value));
  copy_bytes(out.first(len), bytes_of(value).first(len));
  return len;
}

}  // namespace ph
