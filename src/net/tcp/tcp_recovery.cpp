// Loss recovery. `pipe` of RFC 6675 is in_flight(); a segment is lost when dupthresh segments above
// it were selectively acknowledged. Without SACK, duplicate acknowledgements are counted in
// sacked_out, so that the same arithmetic gives NewReno's inflation and deflation.
#include "net/tcp/tcp_recovery.h"

#include <algorithm>

#include "net/tcp/tcp_output.h"
#include "net/tcp/tcp_pacing.h"
#include "net/tcp/tcp_timer.h"

namespace ph {
namespace {

loss_event loss_of(const tcp_sock& tp, loss_kind kind) {
  return {kind, tp.in_flight(), tp.mss_cache};
}

void set_ca_state(tcp_sock& tp, tcp_ca_state state) { tp.ca_state = state; }

/// Duplicate acknowledgements can stand for no more segments than are out, less the hole.
void limit_reno_sacked(tcp_sock& tp) {
  const u32 holes = std::min(std::max(tp.lost_out, 1u), tp.packets_out);
  tp.sacked_out = std::min(tp.sacked_out, tp.packets_out - holes);
}

/// RFC 6582 in the terms of RFC 6675: each duplicate acknowledgement is a segment that arrived;
/// a partial one fills the hole, and the rest of what it covers had been counted.
void count_reno(tcp_sock& tp, const tcp_ack_info& info) {
  if (info.cleared_segs != 0) {
    const bool recovering = tp.ca_state >= tcp_ca_state::recovery;
    const u32 counted = info.cleared_segs - 1;
    tp.sacked_out = recovering && counted < tp.sacked_out ? tp.sacked_out - counted : 0;
  }
  if (info.dupack) ++tp.sacked_out;
  limit_reno_sacked(tp);
}

/// RFC 6675 §4 IsLost(): finds the dupthresh-th selectively acknowledged segment from above; all
/// that lies before it and was not acknowledged is lost.
void mark_lost_by_sack(tcp_sock& tp, tcp_ack_info& info) {
  if (tp.sacked_out < tp.reordering) return;
  u32 above = 0;
  sk_buff* skb = tp.rtx_queue.find(tp.highest_sack);
  while (skb != nullptr) {
    const tcp_skb_cb& cb = tcp_cb(*skb);
    if ((cb.sacked & skb_sacked) != 0) above += cb.pcount;
    if (above >= tp.reordering) break;
    skb = tp.rtx_queue.prev(*skb);
  }
  if (skb == nullptr) return;
  const seq32 edge = tcp_cb(*skb).seq;
  const u32 before = tp.lost_out;
  skb = tp.rtx_queue.find(seq_max(tp.lost_edge, tp.snd_una));
  for (; skb != nullptr && tcp_cb(*skb).seq < edge; skb = tp.rtx_queue.next(*skb)) {
    if ((tcp_cb(*skb).sacked & (skb_sacked | skb_lost)) == 0) tcp_mark_lost(tp, *skb);
  }
  tp.lost_edge = seq_max(tp.lost_edge, edge);
  info.lost_segs += tp.lost_out - before;
}

void mark_head_lost(cpu& cx, tcp_sock& tp) {
  sk_buff* head = tp.rtx_queue.first();
  if (head == nullptr || (tcp_cb(*head).sacked & (skb_lost | skb_sacked)) != 0) return;
  // RFC 6582: one segment is known to be missing, not the whole packet it was sent in.
  if (tcp_cb(*head).pcount > 1) {
    const u32 mss = tcp_cb(*head).mss;
    tcp_fragment(cx, tp, tcp_queue::rtx, *head, mss, mss);
  }
  tcp_mark_lost(tp, *head);
  if (!tp.sack_ok) limit_reno_sacked(tp);
}

void leave_recovery(cpu&, tcp_sock& tp) {
  if (tp.ca_state == tcp_ca_state::recovery && !tp.ca->owns_cwnd()) {
    tp.cong.cwnd = std::max(std::min(tp.cong.cwnd, tp.cong.ssthresh), 1u);
  }
  if (tp.ca_state == tcp_ca_state::loss && tp.rto_stamp != instant{}) {
    tp.rto_stamp = instant{};
  }
  if (!tp.sack_ok) tp.sacked_out = 0;
  tp.retrans_stamp = instant{};
  set_ca_state(tp, tcp_ca_state::open);
}

bool time_to_recover(const tcp_sock& tp) {
  if (tp.sack_ok) return tp.lost_out != 0;
  // RFC 6582 §3.2 step 2: duplicates of what was outstanding in the last recovery prove nothing.
  if (tp.recover_valid && tp.snd_una <= tp.recover) return tp.lost_out != 0;
  return tp.lost_out != 0 || tp.sacked_out >= tp.reordering;
}

void enter_recovery(cpu& cx, tcp_sock& tp) {
  tp.net().mib().add(cx, tp.sack_ok ? mib::tcpext_tcp_sack_recovery
                                    : mib::tcpext_tcp_reno_recovery);
  tp.prior_cwnd = tp.cong.cwnd;
  if (tp.ca_state < tcp_ca_state::cwr) {
    tp.ca->on_loss(cx, loss_of(tp, loss_kind::fast_retransmit), tp.cong);
  }
  set_ca_state(tp, tcp_ca_state::recovery);
  tp.high_seq = tp.snd_nxt;
  tp.recover = tp.snd_nxt;
  tp.recover_valid = true;
  tp.high_rxt = tp.snd_una;
  tp.retrans_hint = tp.snd_una;
  if (!tp.sack_ok) mark_head_lost(cx, tp);
  // RFC 6675 §5 (4.3): the first segment is retransmitted whatever the pipe holds.
  sk_buff* head = tp.rtx_queue.first();
  if (head != nullptr && (tcp_cb(*head).sacked & (skb_lost | skb_retrans)) == skb_lost) {
    if (tcp_retransmit_skb(cx, tp, *head)) {
      tp.net().mib().add(cx, mib::tcpext_tcp_fast_retrans);
      tcp_rearm_rto(cx, tp);
    }
  }
}

/// RFC 6675 §4 NextSeg() rule 3: below the highest SACK but not (yet) lost, never sent again.
bool retransmit_below_sack(cpu& cx, tcp_sock& tp) {
  sk_buff* skb = tp.rtx_queue.find(seq_max(tp.high_rxt, tp.snd_una));
  for (; skb != nullptr && tcp_cb(*skb).seq < tp.highest_sack; skb = tp.rtx_queue.next(*skb)) {
    if ((tcp_cb(*skb).sacked & (skb_sacked | skb_retrans)) == 0) {
      return tcp_retransmit_skb(cx, tp, *skb);
    }
  }
  return false;
}

/// NextSeg() rule 1, in the order of sequence numbers.
void retransmit_lost(cpu& cx, tcp_sock& tp) {
  if (tp.lost_out == 0) return;
  sk_buff* skb = tp.rtx_queue.find(seq_max(tp.retrans_hint, tp.snd_una));
  for (; skb != nullptr && tp.in_flight() < tp.cong.cwnd; skb = tp.rtx_queue.next(*skb)) {
    if ((tcp_cb(*skb).sacked & (skb_lost | skb_retrans | skb_sacked)) == skb_lost) {
      if (tcp_pacing_holds(cx, tp)) break;
      const bool head = skb == tp.rtx_queue.first();
      if (!tcp_retransmit_skb(cx, tp, *skb)) break;
      tp.net().mib().add(cx, tp.ca_state == tcp_ca_state::loss
                                 ? mib::tcpext_tcp_slow_start_retrans
                                 : mib::tcpext_tcp_fast_retrans);
      if (head) tcp_rearm_rto(cx, tp);
    }
    tp.retrans_hint = tcp_cb(*skb).end_seq;
  }
}

}  // namespace

void tcp_mark_lost(tcp_sock& tp, sk_buff& skb) {
  tcp_skb_cb& cb = tcp_cb(skb);
  cb.sacked |= skb_lost;
  tp.lost_out += cb.pcount;
  tp.retrans_hint = seq_min(tp.retrans_hint, cb.seq);
}

void tcp_fastretrans_alert(cpu& cx, tcp_sock& tp, tcp_ack_info& info) {
  if (!tp.sack_ok) count_reno(tp, info);
  if (tp.ca_state >= tcp_ca_state::cwr && tp.snd_una >= tp.high_seq) leave_recovery(cx, tp);
  if (tp.sack_ok) mark_lost_by_sack(tp, info);
  switch (tp.ca_state) {
    case tcp_ca_state::recovery:
    case tcp_ca_state::loss:
      // RFC 6582 §3.2: a partial acknowledgement shows the next hole.
      if (!tp.sack_ok && info.una_advanced) mark_head_lost(cx, tp);
      return;
    default: break;
  }
  if (time_to_recover(tp)) {
    enter_recovery(cx, tp);
    return;
  }
  if (tp.ca_state == tcp_ca_state::cwr) return;
  set_ca_state(tp, tp.sacked_out != 0 ? tcp_ca_state::disorder : tcp_ca_state::open);
}

void tcp_xmit_recovery(cpu& cx, tcp_sock& tp) {
  if (tp.ca_state < tcp_ca_state::recovery) return;
  retransmit_lost(cx, tp);
  if (tp.ca_state != tcp_ca_state::recovery || !tp.sack_ok) return;
  tcp_push_pending(cx, tp);
  while (tp.in_flight() < tp.cong.cwnd && !tcp_pacing_holds(cx, tp) &&
         retransmit_below_sack(cx, tp)) {
  }
}

void tcp_enter_loss(cpu& cx, tcp_sock& tp) {
  const bool fresh = tp.ca_state <= tcp_ca_state::disorder || tp.snd_una >= tp.high_seq ||
                     (tp.ca_state == tcp_ca_state::loss && tp.retransmits == 0);
  if (fresh) {
    tp.prior_cwnd = tp.cong.cwnd;
    tp.ca->on_rto(cx, loss_of(tp, loss_kind::timeout), tp.cong);
    ++tp.total_rto_recoveries;
    if (tp.rto_stamp == instant{}) tp.rto_stamp = cx.now();
  }
  sk_buff* head = tp.rtx_queue.first();
  // RFC 2018 §8: the peer may take back what it only selectively acknowledged; if the oldest
  // segment is still unacknowledged, it did.
  const bool reneged = head != nullptr && (tcp_cb(*head).sacked & skb_sacked) != 0;
  if (reneged) tp.net().mib().add(cx, mib::tcpext_tcp_sack_reneging);
  tp.retrans_out = tp.lost_out = 0;
  if (reneged || !tp.sack_ok) tp.sacked_out = 0;
  if (reneged) tp.sack_cache = {};
  tp.retrans_hint = tp.snd_una;
  for (sk_buff* skb = head; skb != nullptr; skb = tp.rtx_queue.next(*skb)) {
    tcp_skb_cb& cb = tcp_cb(*skb);
    if (reneged) cb.sacked &= static_cast<u8>(~skb_sacked);
    cb.sacked &= static_cast<u8>(~(skb_retrans | skb_lost));
    if ((cb.sacked & skb_sacked) == 0) tcp_mark_lost(tp, *skb);
  }
  // RFC 5681 §3.1: the loss window is one segment.
  tp.cong.cwnd = 1;
  tp.cong.cwnd_cnt = 0;
  tp.cwnd_stamp = cx.now();
  tp.high_seq = tp.recover = tp.lost_edge = tp.snd_nxt;
  tp.recover_valid = true;
  set_ca_state(tp, tcp_ca_state::loss);
}

void tcp_enter_cwr(cpu& cx, tcp_sock& tp) {
  if (tp.ca_state >= tcp_ca_state::cwr) return;
  tp.ca->on_loss(cx, loss_of(tp, loss_kind::local_congestion), tp.cong);
  tp.high_seq = tp.snd_nxt;
  set_ca_state(tp, tcp_ca_state::cwr);
}

void tcp_simple_retransmit(cpu& cx, tcp_sock& tp) {
  const u32 mss = tcp_current_mss(cx, tp);
  const u32 before = tp.lost_out;
  for (sk_buff* skb = tp.rtx_queue.first(); skb != nullptr; skb = tp.rtx_queue.next(*skb)) {
    tcp_skb_cb& cb = tcp_cb(*skb);
    if (cb.mss <= mss || skb->len() <= mss || (cb.sacked & skb_sacked) != 0) continue;
    if ((cb.sacked & skb_retrans) != 0) {
      cb.sacked &= static_cast<u8>(~skb_retrans);
      tp.retrans_out -= cb.pcount;
    }
    if ((cb.sacked & skb_lost) == 0) tcp_mark_lost(tp, *skb);
  }
  if (tp.lost_out == before) return;
  if (!tp.sack_ok) limit_reno_sacked(tp);
  if (tp.ca_state < tcp_ca_state::recovery) {
    tp.high_seq = tp.snd_nxt;
    tp.recover = tp.snd_nxt;
    tp.recover_valid = true;
    set_ca_state(tp, tcp_ca_state::loss);
  }
  retransmit_lost(cx, tp);
}

void tcp_cwnd_restart_after_idle(cpu& cx, tcp_sock& tp) {
  if (tp.tcp().sysctl.slow_start_after_idle == 0 || tp.last_data_sent == instant{}) return;
  duration idle = cx.now() - tp.last_data_sent;
  if (idle <= tp.rto || tp.ca_state != tcp_ca_state::open || tp.ca->owns_cwnd()) return;
  // Half the window for each RTO of idle time, not below the initial one (RFC 2861 §3.1).
  const u32 restart = std::min(tcp_init_cwnd, tp.cong.cwnd);
  tp.cong.ssthresh = std::max(tp.cong.ssthresh, tp.cong.cwnd * 3 / 4);
  u32 cwnd = tp.cong.cwnd;
  while ((idle = idle - tp.rto).ns > 0 && cwnd > restart) cwnd /= 2;
  tp.cong.cwnd = std::max(cwnd, restart);
  tp.cwnd_stamp = cx.now();
  tp.max_packets_out = 0;
}

}  // namespace ph
