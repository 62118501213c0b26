// DCTCP's sender (RFC 8257 §3.3 to §3.5). The receiver's part, echoing each change of the mark at
// once (§3.2), belongs to whoever builds acknowledgements.
#include "net/tcp/tcp_dctcp.h"

#include <algorithm>

#include "uapi/tcp_cc_info.h"

namespace ph {

void tcp_dctcp::estimate(const ack_sample& sample) {
  // RFC 8257 §3.3: once per window of data, which is a round trip.
  if (rounds_.on_ack(sample) && acked_segs_ != 0) {
    const double marked = static_cast<double>(marked_segs_) / acked_segs_;
    alpha_ = (1 - g) * alpha_ + g * marked;
    acked_segs_ = marked_segs_ = 0;
  }
  acked_segs_ += sample.acked_segs;
  marked_segs_ += std::min(sample.ce_segs, sample.acked_segs);
}

void tcp_dctcp::on_ack(cpu&, const ack_sample& sample, congestion_state& state) {
  estimate(sample);
  if (sample.in_recovery || !sample.cwnd_limited) return;
  u32 acked = sample.acked_segs;
  if (state.in_slow_start()) acked = tcp_slow_start(state, acked);
  if (acked != 0) tcp_cong_avoid_ai(state, state.cwnd, acked);
}

void tcp_dctcp::on_loss(cpu&, const loss_event&, congestion_state& state) {
  // RFC 8257 §3.5: as any TCP.
  state.ssthresh = std::max(state.cwnd / 2, 2u);
  state.cwnd = std::min(state.cwnd, state.ssthresh);
  state.cwnd_cnt = 0;
}

void tcp_dctcp::on_ecn(cpu&, const loss_event&, congestion_state& state) {
  // RFC 8257 §3.3: cwnd = cwnd * (1 - DCTCP.Alpha / 2)
  const double cwnd = state.cwnd * (1 - alpha_ / 2);
  state.ssthresh = std::max(static_cast<u32>(cwnd), 2u);
  state.cwnd = std::min(state.cwnd, state.ssthresh);
  state.cwnd_cnt = 0;
}

std::size_t tcp_dctcp::info(byte_span out) const {
  uapi::tcp_dctcp_info value;
  value.dctcp_enabled = 1;
  value.dctcp_alpha = static_cast<u32>(alpha_ * 1024);
  value.dctcp_ab_ecn = marked_segs_;
  value.dctcp_ab_tot = acked_segs_;
  const std::size_t len = std::min(out.size(), sizeof(value));
  copy_bytes(out.first(len), bytes_of(value).first(len));
  return len;
}

}  // namespace ph
