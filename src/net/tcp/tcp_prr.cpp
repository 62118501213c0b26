// RFC 9937 §6: names are the RFC's, in segments.
#include "net/tcp/tcp_prr.h"

#include <algorithm>

#include "net/tcp/tcp_ecn.h"

namespace ph {

void tcp_prr_begin(cpu& cx, tcp_sock& tp, loss_kind why) {
  tp.high_seq = tp.snd_nxt;
  tp.tlp.end_seq.reset();
  tp.prior_cwnd = tp.cong.cwnd;
  tp.prr_delivered = tp.prr_out = 0;
  const loss_event event{why, tp.in_flight(), tp.mss_cache};
  if (why == loss_kind::ecn_echo) {
    tp.ca->on_ecn(cx, event, tp.cong);
  } else {
    tp.ca->on_loss(cx, event, tp.cong);
  }
  tcp_ecn_queue_cwr(tp);
  if (tp.ca->owns_cwnd()) {
    tp.prior_cwnd = 0;
    return;
  }
  tp.cong.cwnd = tp.prior_cwnd;
  tp.cong.cwnd_cnt = 0;
}

void tcp_prr_step(tcp_sock& tp, u32 delivered, u32 lost, bool una_advanced) {
  if (delivered == 0 || tp.prior_cwnd == 0) return;
  const u32 pipe = tp.in_flight();
  const u32 ssthresh = tp.cong.ssthresh;
  tp.prr_delivered += delivered;
  s64 sndcnt = 0;
  if (pipe > ssthresh) {
    const u64 share = (u64{ssthresh} * tp.prr_delivered + tp.prior_cwnd - 1) / tp.prior_cwnd;
    sndcnt = static_cast<s64>(share) - tp.prr_out;
  } else {
    sndcnt = std::max<s64>(s64{tp.prr_delivered} - tp.prr_out, delivered);
    // The slow-start bound only while the repair goes well.
    if (una_advanced && lost == 0) ++sndcnt;
    sndcnt = std::min<s64>(sndcnt, s64{ssthresh} - pipe);
  }
  // The first retransmission is always due.
  sndcnt = std::max<s64>(sndcnt, tp.prr_out == 0 ? 1 : 0);
  tp.cong.cwnd = std::max(pipe + static_cast<u32>(sndcnt), 1u);
}

void tcp_prr_end(tcp_sock& tp) {
  if (!tp.ca->owns_cwnd()) tp.cong.cwnd = std::max(tp.cong.ssthresh, 1u);
}

}  // namespace ph
