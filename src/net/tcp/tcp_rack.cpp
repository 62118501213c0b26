// RFC 8985. The timer is shared: reordering, loss probe and retransmission timeout are never
// waited for at the same time, and what fires without effect gives way to the timeout.
#include "net/tcp/tcp_rack.h"

#include <algorithm>

#include "net/tcp/tcp_output.h"
#include "net/tcp/tcp_recovery.h"
#include "net/tcp/tcp_timer.h"

namespace ph {
namespace {

constexpr duration least_wait = milliseconds(2);  ///< added to short timers, as Linux does
constexpr u8 reo_wnd_persistence = 16;            ///< recoveries, RFC 8985 §6.2 step 4

/// RFC 8985 §6.2 RACK_sent_after(): segments of one moment are told apart by their place.
bool sent_after(instant t1, seq32 end1, instant t2, seq32 end2) {
  return t1 > t2 || (t1 == t2 && end1 > end2);
}

/// Whole segments in [from, to).
u32 segments_between(const tcp_sock& tp, seq32 from, seq32 to) {
  return (static_cast<u32>(to - from) + tp.mss_cache - 1) / tp.mss_cache;
}

/// Step 4, the window itself.
duration reo_wnd(const tcp_sock& tp) {
  if (tp.reord_seen == 0) {
    // Nothing was ever reordered: whatever is missing below three others is lost.
    if (tp.ca_state >= tcp_ca_state::recovery) return duration{};
    if (tp.rtx_queue.sacked_out() >= tp.reordering &&
        (tp.tcp().sysctl.recovery & tcp_recovery_no_dupthresh) == 0) {
      return duration{};
    }
  }
  return std::min(tp.min_rtt / 4 * s64{tp.rack.reo_wnd_mult}, tp.srtt);
}

/// How long `skb` may still be on its way; not above zero: it is lost.
duration remaining(cpu& cx, const tcp_sock& tp, const sk_buff& skb, duration window) {
  return tcp_cb(skb).sent_at + (tp.rack.rtt + window) - cx.now();
}

/// Step 5. Returns how long to wait for the judgement on the rest; zero: nothing is in doubt.
duration detect_loss(cpu& cx, tcp_sock& tp) {
  const duration window = reo_wnd(tp);
  duration wait{};
  for (sk_buff *at = tp.rtx_queue.first_sent(), *next = nullptr; at != nullptr; at = next) {
    sk_buff& skb = *at;
    next = tp.rtx_queue.next_sent(skb);
    const tcp_skb_cb& cb = tcp_cb(skb);
    if (!sent_after(tp.rack.xmit_ts, tp.rack.end_seq, cb.sent_at, cb.end_seq)) break;
    const duration left = remaining(cx, tp, skb, window);
    if (left.ns <= 0) {
      tcp_mark_lost(cx, tp, skb);
    } else {
      wait = std::max(wait, left);
    }
  }
  return wait;
}

}  // namespace

bool tcp_uses_rack(const tcp_sock& tp) {
  return tp.sack_ok && (tp.tcp().sysctl.recovery & tcp_recovery_rack) != 0;
}

void tcp_rack_delivered(cpu& cx, tcp_sock& tp, const sk_buff& skb, tcp_ack_info& info) {
  const tcp_skb_cb& cb = tcp_cb(skb);
  const bool resent = (cb.sacked & skb_ever_retrans) != 0;
  if (!resent && cb.end_seq <= tp.high_seq) info.orig_acked = true;
  // Step 3: a first copy that arrives behind a later segment was overtaken.
  if (!resent && cb.end_seq <= info.prior_fack) {
    info.reordered = info.reordered ? seq_min(*info.reordered, cb.seq) : cb.seq;
  }
  tp.rack.fack = seq_max(tp.rack.fack, cb.end_seq);
  const duration rtt = cx.now() - cb.sent_at;
  if (resent) {
    // Step 2: the acknowledgement may be of an earlier copy.
    if (tp.tstamp_ok && tp.rx.saw_tstamp) {
      const u32 sent = static_cast<u32>(cb.sent_at.ms()) + tp.tsoffset;
      if (static_cast<s32>(tp.rx.rcv_tsecr - sent) < 0) return;
    }
    if (rtt < tp.min_rtt) return;
  }
  tp.rack.advanced = true;
  // Of a Fast Open child's SYN+ACK, which is acknowledged behind its data, the time is past.
  if (tp.fastopen_born && (cb.flags & tcphdr_syn) != 0) return;
  tp.rack.rtt = rtt;
  if (!sent_after(cb.sent_at, cb.end_seq, tp.rack.xmit_ts, tp.rack.end_seq)) return;
  tp.rack.xmit_ts = cb.sent_at;
  tp.rack.end_seq = cb.end_seq;
}

void tcp_note_reordering(cpu& cx, tcp_sock& tp, const tcp_ack_info& info) {
  if (!info.reordered || !tp.sack_ok) return;
  const u32 distance = segments_between(tp, *info.reordered, info.prior_fack);
  if (distance > tp.reordering) {
    tp.reordering = std::min(distance, static_cast<u32>(tp.tcp().sysctl.max_reordering));
  }
  cx.sometimes("tcp_reordering_seen");
  ++tp.reord_seen;
  tp.net().mib().add(cx, mib::tcpext_tcp_sack_reorder);
}

void tcp_rack_update_reo_wnd(tcp_sock& tp, const tcp_ack_info& info) {
  if ((tp.tcp().sysctl.recovery & tcp_recovery_static_reo_wnd) != 0) return;
  tcp_rack_state& rack = tp.rack;
  if (rack.dsack_round && tp.snd_una >= *rack.dsack_round) rack.dsack_round.reset();
  if (!info.dsack || info.tlp_dsack || rack.dsack_round) return;
  // At most once a round trip: a retransmission was needless, so the window was too small.
  rack.dsack_round = tp.snd_nxt;
  rack.reo_wnd_mult = std::min(rack.reo_wnd_mult + 1, 255u);
  rack.reo_wnd_persist = reo_wnd_persistence;
}

void tcp_rack_recovered(tcp_sock& tp) {
  if (tp.rack.reo_wnd_persist > 0 && --tp.rack.reo_wnd_persist == 0) tp.rack.reo_wnd_mult = 1;
}

bool tcp_rack_mark_lost(cpu& cx, tcp_sock& tp) {
  if (!std::exchange(tp.rack.advanced, false)) return false;
  const duration wait = detect_loss(cx, tp);
  if (wait.ns <= 0) return false;
  tcp_arm_rtx(cx, tp, tcp_rtx_event::reordering, wait + least_wait);
  return true;
}

bool tcp_rack_overdue(cpu& cx, const tcp_sock& tp, const sk_buff& skb) {
  return remaining(cx, tp, skb, duration{}).ns <= 0;
}

void tcp_rack_reo_timeout(cpu& cx, tcp_sock& tp) {
  const u32 lost_before = tp.lost;
  static_cast<void>(detect_loss(cx, tp));
  cx.sometimes("tcp_rack_timer");
  if (tp.lost != lost_before) tcp_recover_by_time(cx, tp);
  if (tp.retransmit_timer.armed()) return;
  tp.rtx_event = tcp_rtx_event::reordering;  // the timeout counts from the oldest transmission
  tcp_rearm_rto(cx, tp);
}

bool tcp_schedule_loss_probe(cpu& cx, tcp_sock& tp, bool fresh) {
  // §7.2: connections with SACK, not while losses are being repaired.
  if (tp.tcp().sysctl.early_retrans < 3 || !tp.sack_ok || tp.rtx_queue.empty()) return false;
  if (tp.ca_state != tcp_ca_state::open && tp.ca_state != tcp_ca_state::cwr) return false;
  duration after = seconds(1);
  if (tp.srtt.ns != 0) {
    // A lone segment may be acknowledged late; the delay that a peer may take is in RTO.min.
    after = tp.srtt * 2 + (tp.rtx_queue.packets_out() == 1 ? tcp_rto_min : least_wait);
  }
  const duration timeout = fresh ? tp.rto : tcp_rto_left(cx, tp);
  if (timeout.ns > 0) after = std::min(after, timeout);
  tcp_arm_rtx(cx, tp, tcp_rtx_event::loss_probe, after);
  return true;
}

void tcp_send_loss_probe(cpu& cx, tcp_sock& tp) {
  // One probe at a time.
  if (!tp.tlp.end_seq && tp.rtx_queue.packets_out() != 0) {
    bool sent = tcp_send_new_probe(cx, tp);
    tp.tlp.is_retrans = !sent;
    sk_buff* last = tp.rtx_queue.last();
    if (!sent && last != nullptr) {
      const tcp_skb_cb& cb = tcp_cb(*last);
      const u32 before = (u32{cb.pcount} - 1) * cb.mss;
      cx.sometimes("tcp_loss_probe_resends");
      if (cb.pcount > 1 && last->len() > before) {
        tcp_fragment(cx, tp, tcp_queue::rtx, *last, before, cb.mss);
        last = tp.rtx_queue.next(*last);
      }
      sent = tcp_left_host(tcp_resend_skb(cx, tp, *last));
    }
    if (sent) {
      tp.tlp.end_seq = tp.snd_nxt;
      tp.net().mib().add(cx, mib::tcpext_tcp_loss_probes);
    }
  }
  tcp_rearm_rto(cx, tp);
}

void tcp_process_tlp_ack(cpu& cx, tcp_sock& tp, const tcp_seg& seg, const tcp_ack_info& info) {
  if (!tp.tlp.end_seq || seg.ack_seq < *tp.tlp.end_seq) return;
  if (!tp.tlp.is_retrans || info.tlp_dsack) {
    tp.tlp.end_seq.reset();  // new data, or both copies arrived
  } else if (seg.ack_seq > *tp.tlp.end_seq) {
    cx.sometimes("tcp_loss_probe_repaired");
    // Only one copy arrived: the probe repaired a loss, which counts as one.
    tp.tlp.end_seq.reset();
    tp.net().mib().add(cx, mib::tcpext_tcp_loss_probe_recovery);
    tcp_reduce_once(cx, tp);
  } else if (!info.una_advanced && seg.len == 0 && info.sacked_segs == 0) {
    cx.sometimes("tcp_loss_probe_was_needless");
    tp.tlp.end_seq.reset();  // a mere duplicate answers the second copy
  }
}

}  // namespace ph
