// Loss recovery. `pipe` of RFC 6675 is in_flight(). With SACK, time tells what is lost (tcp_rack);
// where that is switched off, dupthresh segments above it that were selectively acknowledged.
// Without SACK, duplicate acknowledgements are counted in sacked_out, so that the same arithmetic
// gives NewReno's inflation and deflation.
#include "net/tcp/tcp_recovery.h"

#include <algorithm>
#include <utility>

#include "net/tcp/tcp_ecn.h"
#include "net/tcp/tcp_mtu_probe.h"
#include "net/tcp/tcp_output.h"
#include "net/tcp/tcp_pacing.h"
#include "net/tcp/tcp_prr.h"
#include "net/tcp/tcp_rack.h"
#include "net/tcp/tcp_timer.h"
#include "net/tcp/tcp_undo.h"

namespace ph {
namespace {

loss_event loss_of(const tcp_sock& tp, loss_kind kind) {
  return {kind, tp.in_flight(), tp.mss_cache};
}

void set_ca_state(tcp_sock& tp, tcp_ca_state state) { tp.ca_state = state; }

/// RFC 6582 in the terms of RFC 6675: each duplicate acknowledgement is a segment that arrived;
/// a partial one fills the hole, and the rest of what it covers had been counted.
void count_reno(tcp_sock& tp, tcp_ack_info& info) {
  if (info.cleared_segs != 0) {
    const bool recovering = tp.ca_state >= tcp_ca_state::recovery;
    const u32 counted = std::min(info.cleared_segs - 1, tp.rtx_queue.sacked_out());
    tp.delivered -= counted;
    info.acked_segs -= counted;
    if (recovering) {
      tp.rtx_queue.take_duplicates(counted);
    } else {
      tp.rtx_queue.forget_duplicates();
    }
  }
  tp.rtx_queue.limit_duplicates();
  if (!info.dupack) return;
  const u32 before = tp.rtx_queue.sacked_out();
  tp.rtx_queue.add_duplicate();
  tp.rtx_queue.limit_duplicates();
  if (tp.rtx_queue.sacked_out() > before) {
    ++tp.delivered;
    ++info.sacked_segs;
  }
}

/// RFC 6675 §4 IsLost(): finds the dupthresh-th selectively acknowledged segment from above; all
/// that lies before it and was not acknowledged is lost.
void mark_lost_by_sack(cpu& cx, tcp_sock& tp) {
  if (tp.rtx_queue.sacked_out() < tp.reordering) return;
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
  skb = tp.rtx_queue.find(seq_max(tp.lost_edge, tp.snd_una));
  for (; skb != nullptr && tcp_cb(*skb).seq < edge; skb = tp.rtx_queue.next(*skb)) {
    if ((tcp_cb(*skb).sacked & (skb_sacked | skb_lost)) == 0) tcp_mark_lost(cx, tp, *skb);
  }
  tp.lost_edge = seq_max(tp.lost_edge, edge);
}

void mark_head_lost(cpu& cx, tcp_sock& tp) {
  sk_buff* head = tp.rtx_queue.first();
  if (head == nullptr || (tcp_cb(*head).sacked & (skb_lost | skb_sacked)) != 0) return;
  const u32 mss = tcp_cb(*head).mss;
  if (tcp_cb(*head).pcount > 1 && head->len() > mss) {
    tcp_fragment(cx, tp, tcp_queue::rtx, *head, mss, mss);
  }
  tcp_mark_lost(cx, tp, *head);
  tp.rtx_queue.limit_duplicates();
}

/// `undone`: the window is what it was before.
void leave_recovery(cpu& cx, tcp_sock& tp, bool undone) {
  if (tcp_in_cwnd_reduction(tp) && !undone) tcp_prr_end(tp);
  if (tp.ca_state >= tcp_ca_state::recovery) tcp_rack_recovered(tp);
  if (tp.ca_state == tcp_ca_state::loss && tp.rto_stamp != instant{}) {
    tp.total_rto_time += cx.now() - std::exchange(tp.rto_stamp, instant{});
  }
  tp.rtx_queue.forget_duplicates();
  tp.retrans_stamp = instant{};
  tp.frto = false;
  set_ca_state(tp, tp.rtx_queue.sacked_out() != 0 ? tcp_ca_state::disorder : tcp_ca_state::open);
}

bool time_to_recover(const tcp_sock& tp) {
  if (tp.sack_ok) return tp.rtx_queue.lost_out() != 0;
  // RFC 6582 §3.2 step 2: duplicates of what was outstanding in the last recovery prove nothing.
  if (tp.recover_valid && tp.snd_una <= tp.recover) return tp.rtx_queue.lost_out() != 0;
  return tp.rtx_queue.lost_out() != 0 || tp.rtx_queue.sacked_out() >= tp.reordering;
}

void enter_recovery(cpu& cx, tcp_sock& tp) {
  cx.sometimes("tcp_fast_recovery");
  tp.net().mib().add(cx, tp.sack_ok ? mib::tcpext_tcp_sack_recovery
                                    : mib::tcpext_tcp_reno_recovery);
  tcp_undo_begin(tp);
  if (tp.ca_state < tcp_ca_state::cwr) tcp_prr_begin(cx, tp, loss_kind::fast_retransmit);
  set_ca_state(tp, tcp_ca_state::recovery);
  tp.high_seq = tp.snd_nxt;
  tp.recover = tp.snd_nxt;
  tp.recover_valid = true;
  tp.high_rxt = tp.snd_una;
  tp.retrans_hint = tp.snd_una;
  if (!tp.sack_ok) mark_head_lost(cx, tp);
}

/// RFC 6675 §4 NextSeg() rule 3: below the highest SACK but not (yet) lost, never sent again.
bool retransmit_below_sack(cpu& cx, tcp_sock& tp) {
  sk_buff* skb = tp.rtx_queue.find(seq_max(tp.high_rxt, tp.snd_una));
  for (; skb != nullptr && tcp_cb(*skb).seq < tp.highest_sack; skb = tp.rtx_queue.next(*skb)) {
    if ((tcp_cb(*skb).sacked & (skb_sacked | skb_retrans)) == 0) {
      return tcp_left_host(tcp_retransmit_skb(cx, tp, *skb));
    }
  }
  return false;
}

/// NextSeg() rule 1, in the order of sequence numbers.
void retransmit_lost(cpu& cx, tcp_sock& tp) {
  if (tp.rtx_queue.lost_out() == 0) return;
  sk_buff* skb = tp.rtx_queue.find(seq_max(tp.retrans_hint, tp.snd_una));
  for (; skb != nullptr && tp.in_flight() < tp.cong.cwnd; skb = tp.rtx_queue.next(*skb)) {
    if ((tcp_cb(*skb).sacked & (skb_lost | skb_retrans | skb_sacked)) == skb_lost) {
      if (tcp_pacing_holds(cx, tp)) break;
      const bool head = skb == tp.rtx_queue.first();
      const u32 room = tp.cong.cwnd - tp.in_flight();
      if (!tcp_left_host(tcp_retransmit_skb(cx, tp, *skb, room))) break;
      tp.net().mib().add(cx, tp.ca_state == tcp_ca_state::loss
                                 ? mib::tcpext_tcp_slow_start_retrans
                                 : mib::tcpext_tcp_fast_retrans);
      const bool reordering = tp.rtx_event == tcp_rtx_event::reordering;
      if (head && !(reordering && tp.retransmit_timer.armed())) tcp_rearm_rto(cx, tp);
    }
    tp.retrans_hint = tcp_cb(*skb).end_seq;
  }
}

/// Marks what this acknowledgement shows to be lost.
void find_losses(cpu& cx, tcp_sock& tp, tcp_ack_info& info) {
  if (tcp_uses_rack(tp)) {
    info.reo_timer = tcp_rack_mark_lost(cx, tp);
  } else if (tp.sack_ok) {
    mark_lost_by_sack(cx, tp);
  } else if (tp.ca_state >= tcp_ca_state::recovery && info.una_advanced) {
    mark_head_lost(cx, tp);  // RFC 6582 §3.2: a partial acknowledgement shows the next hole
  }
}

/// RFC 5682 §2.1 and §3.1. True: the timeout was needless.
bool frto_step(cpu& cx, tcp_sock& tp, tcp_ack_info& info) {
  // Step 3b: a first copy arrived after the timeout. Without SACK, what was acknowledged together
  // with the retransmission may have arrived long before it.
  const bool first_copy = info.orig_acked && (tp.sack_ok || !info.retrans_acked);
  if (first_copy && tcp_try_undo_loss(cx, tp, true)) return true;
  if (tp.snd_nxt > tp.high_seq) {
    if (info.sacked_segs != 0 || info.dupack) tp.frto = false;  // step 3a: it was right
  } else if (info.una_advanced && tp.snd_una < tp.high_seq) {
    tp.high_seq = tp.snd_nxt;
    // Step 2b: new data, if there are any and the peer takes them.
    cx.sometimes("tcp_frto_sends_new");
    info.send_new = !tp.write_queue.empty() && tcp_wnd_end(tp) > tp.snd_nxt;
    tp.frto = info.send_new;
  }
  return false;
}

void process_loss(cpu& cx, tcp_sock& tp, tcp_ack_info& info) {
  bool undone = info.una_advanced && tcp_try_undo_loss(cx, tp, false);
  if (!undone && tp.frto) undone = frto_step(cx, tp, info);
  if (undone) {
    leave_recovery(cx, tp, true);
  } else if (tp.snd_una >= tp.high_seq) {
    leave_recovery(cx, tp, tcp_try_undo_recovery(cx, tp));
  }
}

/// True: nothing is to be marked or sent again.
bool process_recovery(cpu& cx, tcp_sock& tp, tcp_ack_info& info) {
  if (tp.snd_una >= tp.high_seq) {
    leave_recovery(cx, tp, tcp_try_undo_recovery(cx, tp));
    return false;
  }
  if (info.una_advanced && tcp_try_undo_partial(cx, tp)) {
    info.hold_retrans = true;
    return true;
  }
  if (tcp_try_undo_dsack(cx, tp)) leave_recovery(cx, tp, true);
  return false;
}

}  // namespace

void tcp_mark_lost(cpu& cx, tcp_sock& tp, sk_buff& skb) {
  const tcp_loss news = tp.rtx_queue.mark_lost(skb);
  if (news == tcp_loss::none) return;
  const tcp_skb_cb& cb = tcp_cb(skb);
  if (news == tcp_loss::retransmission) {
    cx.sometimes("tcp_retransmission_lost");
    tp.net().mib().add(cx, mib::tcpext_tcp_lost_retransmit, cb.pcount);
  }
  tp.lost += cb.pcount;
  tp.ca->on_lost(cx, {cb.pcount, cb.tx_in_flight, tp.lost - cb.lost, tp.delivered, cb.app_limited,
                      tp.sack_ok}, tp.cong);
  tp.retrans_hint = seq_min(tp.retrans_hint, cb.seq);
}

void tcp_fastretrans_alert(cpu& cx, tcp_sock& tp, tcp_ack_info& info) {
  const u32 lost_before = tp.lost;
  if (!tp.sack_ok) count_reno(tp, info);
  tcp_note_reordering(cx, tp, info);
  tcp_rack_update_reo_wnd(tp, info);
  if (info.reneged) {
    // RFC 2018 §8: the peer may have thrown away what it had reported; if the next
    // acknowledgement does not come soon, it has.
    tcp_arm_rto(cx, tp, std::max(tp.srtt / 2, milliseconds(10)));
    info.reo_timer = true;
    return;
  }
  switch (tp.ca_state) {
    case tcp_ca_state::loss: process_loss(cx, tp, info); break;
    case tcp_ca_state::recovery:
      if (process_recovery(cx, tp, info)) return;
      break;
    case tcp_ca_state::cwr:
      if (tp.snd_una >= tp.high_seq) leave_recovery(cx, tp, false);
      break;
    default: tcp_try_undo_dsack(cx, tp);
  }
  find_losses(cx, tp, info);
  const bool repairing = tp.ca_state >= tcp_ca_state::recovery;
  if (!repairing && time_to_recover(tp)) {
    if (tcp_mtup_lost(cx, tp)) {
      tcp_simple_retransmit(cx, tp);
      return;
    }
    enter_recovery(cx, tp);
  } else if (tp.ca_state < tcp_ca_state::cwr && info.ecn_echo) {
    tcp_enter_cwr(cx, tp, loss_kind::ecn_echo);  // RFC 3168 §6.1.2: once per window of data
  } else if (tp.ca_state < tcp_ca_state::cwr) {
    set_ca_state(tp, tp.rtx_queue.sacked_out() != 0 ? tcp_ca_state::disorder : tcp_ca_state::open);
    if (tp.rtx_queue.retrans_out() == 0) tp.retrans_stamp = instant{};
  }
  info.lost_segs += tp.lost - lost_before;
}

void tcp_recover_by_time(cpu& cx, tcp_sock& tp) {
  if (tp.ca_state < tcp_ca_state::recovery) {
    enter_recovery(cx, tp);
    tcp_prr_step(tp, 1, 1, false);
  }
  tcp_xmit_recovery(cx, tp);
}

void tcp_reduce_once(cpu& cx, tcp_sock& tp) {
  if (tp.ca_state >= tcp_ca_state::cwr) return;
  tcp_prr_begin(cx, tp, loss_kind::fast_retransmit);
  tcp_prr_end(tp);
}

void tcp_xmit_recovery(cpu& cx, tcp_sock& tp, bool new_first) {
  if (tp.ca_state < tcp_ca_state::recovery) return;
  if (new_first) {
    tcp_push_pending(cx, tp, tcp_nagle::push);
    if (tp.snd_nxt > tp.high_seq) return;
    tp.frto = false;
  }
  retransmit_lost(cx, tp);
  if (tp.ca_state != tcp_ca_state::recovery || !tp.sack_ok || tcp_uses_rack(tp)) return;
  tcp_push_pending(cx, tp);
  while (tp.in_flight() < tp.cong.cwnd && !tcp_pacing_holds(cx, tp) &&
         retransmit_below_sack(cx, tp)) {
  }
}

void tcp_enter_loss(cpu& cx, tcp_sock& tp) {
  const bool fresh = tp.ca_state <= tcp_ca_state::disorder || tp.snd_una >= tp.high_seq ||
                     (tp.ca_state == tcp_ca_state::loss && tp.retransmits == 0);
  tp.frto = tp.tcp().sysctl.frto != 0 &&
            (tp.ca_state < tcp_ca_state::recovery || tp.retransmits != 0);
  if (fresh) {
    tcp_undo_begin(tp);
    tp.prior_cwnd = tp.cong.cwnd;
    tp.ca->on_rto(cx, loss_of(tp, loss_kind::timeout), tp.cong);
    ++tp.total_rto_recoveries;
    if (tp.rto_stamp == instant{}) tp.rto_stamp = cx.now();
    tp.tlp.end_seq.reset();
  }
  // So many selective acknowledgements and still a timeout: there was less reordering than thought.
  const u32 usual = static_cast<u32>(tp.tcp().sysctl.reordering);
  if (tp.ca_state <= tcp_ca_state::disorder && tp.rtx_queue.sacked_out() >= usual) {
    tp.reordering = std::min(tp.reordering, usual);
  }
  sk_buff* head = tp.rtx_queue.first();
  // RFC 2018 §8: the peer may take back what it only selectively acknowledged; if the oldest
  // segment is still unacknowledged, it did.
  const bool reneged = head != nullptr && (tcp_cb(*head).sacked & skb_sacked) != 0;
  cx.sometimes("tcp_enter_loss");
  if (reneged) tp.net().mib().add(cx, mib::tcpext_tcp_sack_reneging);
  tp.rtx_queue.forget_duplicates();
  if (reneged) {
    tp.rtx_queue.unmark_sacked();
    cx.sometimes("tcp_sack_reneging");
    tp.sack_cache = {};
  }
  tp.retrans_hint = tp.snd_una;
  for (sk_buff* skb = head; skb != nullptr; skb = tp.rtx_queue.next(*skb)) {
    // RFC 8985 §6.3: what left only just now is not blamed.
    if (skb != head && !reneged && tcp_uses_rack(tp) && !tcp_rack_overdue(cx, tp, *skb)) continue;
    tcp_mark_lost(cx, tp, *skb);
  }
  // RFC 5681 §3.1: the loss window is one segment, beside what is not thought lost.
  tp.cong.cwnd = tp.in_flight() + 1;
  tp.cong.cwnd_cnt = 0;
  tp.high_seq = tp.recover = tp.lost_edge = tp.snd_nxt;
  tp.recover_valid = true;
  tcp_ecn_queue_cwr(tp);
  set_ca_state(tp, tcp_ca_state::loss);
}

void tcp_enter_cwr(cpu& cx, tcp_sock& tp, loss_kind why) {
  if (tp.ca_state >= tcp_ca_state::cwr) return;
  tp.undo = {};
  if (why == loss_kind::local_congestion) cx.sometimes("tcp_local_congestion");
  tcp_prr_begin(cx, tp, why);
  set_ca_state(tp, tcp_ca_state::cwr);
}

void tcp_simple_retransmit(cpu& cx, tcp_sock& tp) {
  const u32 mss = tcp_current_mss(cx, tp);
  for (sk_buff* skb = tp.rtx_queue.first(); skb != nullptr; skb = tp.rtx_queue.next(*skb)) {
    tcp_skb_cb& cb = tcp_cb(*skb);
    if (cb.mss <= mss || skb->len() <= mss || (cb.sacked & skb_sacked) != 0) continue;
    tcp_mark_lost(cx, tp, *skb);
  }
  if (tp.rtx_queue.lost_out() == 0) return;
  tp.undo = {};
  tp.frto = false;
  tp.rtx_queue.limit_duplicates();
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
  tp.max_packets_out = 0;
}

}  // namespace ph
