// Acknowledgement processing: RFC 9293 §3.10.7.4 (fifth step), RFC 6298 (RTT and RTO), RFC 7323 §4
// (RTT by timestamps), RFC 5961 §5 and §7.
#include "net/tcp/tcp_ack.h"

#include <algorithm>

#include "net/tcp/tcp_ecn.h"
#include "net/tcp/tcp_input.h"
#include "net/tcp/tcp_mtu_probe.h"
#include "net/tcp/tcp_output.h"
#include "net/tcp/tcp_prr.h"
#include "net/tcp/tcp_rack.h"
#include "net/tcp/tcp_recovery.h"
#include "net/tcp/tcp_sack.h"
#include "net/tcp/tcp_timer.h"
#include "net/tcp/tcp_timestamping.h"

namespace ph {
namespace {

bool update_window(cpu& cx, tcp_sock& tp, const tcp_seg& seg) {
  const u32 window = tcp_segment_window(tp, seg);
  const bool newer = seg.ack_seq > tp.snd_una || seg.seq > tp.snd_wl1 ||
                     (seg.seq == tp.snd_wl1 && (window > tp.snd_wnd || window == 0));
  if (!newer) return false;
  tp.snd_wl1 = seg.seq;
  if (window == tp.snd_wnd) return false;
  tp.snd_wnd = window;
  // A window that was shut is a pause like any other (RFC 5681 §4.1).
  const bool paused = tp.rtx_queue.packets_out() == 0 && !tp.write_queue.empty();
  if (paused) tcp_cwnd_restart_after_idle(cx, tp);
  if (window > tp.max_window) {
    tp.max_window = window;
    tcp_sync_mss(tp, tp.pmtu_cookie);
  }
  return true;
}

/// A packet at the front of the retransmission queue is wholly acknowledged.
void clear_packet(cpu& cx, tcp_sock& tp, sk_buff& skb, tcp_ack_info& info, instant& first_sent) {
  const tcp_skb_cb& cb = tcp_cb(skb);
  if (cb.tx_flags != 0) tcp_report_acked(cx, tp, skb);
  if ((cb.sacked & skb_sacked) == 0) tcp_rack_delivered(cx, tp, skb, info);
  if ((cb.sacked & skb_ever_retrans) != 0) {
    info.retrans_acked = true;
  } else if ((cb.sacked & skb_sacked) == 0 && first_sent == never) {
    first_sent = cb.sent_at;
  }
  if ((cb.sacked & skb_sacked) == 0) {
    tp.delivered += cb.pcount;
    info.acked_segs += cb.pcount;
    tcp_rate_skb_delivered(tp, skb, info.rate);
  }
  info.cleared_segs += cb.pcount;
  tcp_free_queued(cx, tp, tp.rtx_queue.remove(skb));
}

/// Removes what SND.UNA has passed.
void clean_rtx_queue(cpu& cx, tcp_sock& tp, tcp_ack_info& info) {
  instant first_sent = never;
  while (sk_buff* skb = tp.rtx_queue.first()) {
    const tcp_skb_cb& cb = tcp_cb(*skb);
    if (cb.end_seq > tp.snd_una) {
      if (cb.pcount <= 1 || tp.snd_una <= cb.seq) break;
      const u32 whole = static_cast<u32>(tp.snd_una - cb.seq) / cb.mss * cb.mss;
      if (whole == 0 || whole >= skb->len()) break;
      tcp_fragment(cx, tp, tcp_queue::rtx, *skb, whole, cb.mss);
    }
    clear_packet(cx, tp, *skb, info, first_sent);
  }
  const sk_buff* head = tp.rtx_queue.first();
  info.reneged = head != nullptr && (tcp_cb(*head).sacked & skb_sacked) != 0;
  // RFC 6298 §3 (Karn): only what was sent once tells the round-trip time.
  if (first_sent != never && !info.retrans_acked) info.rtt = cx.now() - first_sent;
  if (tp.rtx_queue.packets_out() == 0) {
    tp.page.reset();
    tcp_chrono_stop(cx, tp, tcp_chrono::busy);
  }
}

void update_rtt(cpu& cx, tcp_sock& tp, const tcp_ack_info& info) {
  duration rtt = info.rtt;
  if (rtt.ns < 0) rtt = info.sack_rtt;
  if (rtt.ns < 0 && info.una_advanced && tp.tstamp_ok && tp.rx.saw_tstamp &&
      tp.rx.rcv_tsecr != 0) {
    // RFC 7323 §4.1: the echoed timestamp tells which transmission was acknowledged.
    const s32 ms = static_cast<s32>(tcp_time_stamp(cx, tp) - tp.rx.rcv_tsecr);
    if (ms >= 0 && milliseconds(ms) < tcp_rto_max) rtt = milliseconds(std::max(ms, 1));
  }
  if (rtt.ns >= 0) tcp_rtt_estimate(cx, tp, rtt);
}

bool cwnd_limited(const tcp_sock& tp) {
  if (tp.is_cwnd_limited) return true;
  // RFC 7661: in slow start the window may run ahead to twice what was used.
  return tp.cong.in_slow_start() && tp.cong.cwnd < 2 * tp.max_packets_out;
}

void control_congestion(cpu& cx, tcp_sock& tp, const tcp_ack_info& info) {
  const u64 rate = tcp_rate_generate(cx, tp, info.rate);
  ack_sample sample = tcp_congestion_sample(tp);
  sample.acked_segs = info.acked_segs + info.sacked_segs;
  sample.acked_bytes = info.acked_bytes;
  sample.in_flight_segs = info.prior_in_flight;
  sample.lost_segs = info.lost_segs;
  sample.ce_segs = info.ce_segs;
  sample.rtt = info.rtt.ns >= 0 ? info.rtt : info.sack_rtt;
  // Reordering aside, a selective acknowledgement alone does not open the window.
  const u32 usual = static_cast<u32>(tp.tcp().sysctl.reordering);
  sample.cwnd_limited =
      cwnd_limited(tp) && (info.cleared_segs != 0 || tp.reordering > usual);
  sample.in_recovery = tcp_in_cwnd_reduction(tp);
  sample.delivery_rate = rate;
  sample.app_limited = info.rate.app_limited;
  if (info.rate.valid) {
    sample.prior_delivered = static_cast<s64>(info.rate.prior_delivered);
    sample.tx_in_flight_segs = info.rate.tx_in_flight;
    sample.lost_since_segs = tp.lost - info.rate.lost;
  }
  if (sample.acked_segs != 0) tp.ca->on_ack(cx, sample, tp.cong);
  if (tp.cong.app_limited) tp.app_limited = std::max<u64>(u64{tp.delivered} + tp.in_flight(), 1);
  if (sample.in_recovery) {
    tcp_prr_step(tp, sample.acked_segs, info.lost_segs, info.una_advanced);
  }
}

/// The timer after an acknowledgement: a loss probe if one may go, else the timeout.
void set_xmit_timer(cpu& cx, tcp_sock& tp) {
  if (!tcp_schedule_loss_probe(cx, tp, true)) tcp_rearm_rto(cx, tp);
}

/// The answer to a persist probe, or any acknowledgement while nothing was in flight.
void ack_probe(cpu& cx, tcp_sock& tp) {
  sk_buff* head = tp.write_queue.front();
  if (head == nullptr) return;
  if (tcp_cb(*head).end_seq <= tcp_wnd_end(tp)) {
    tp.backoff = 0;
    tcp_stop_probing(tp);
  } else {
    tcp_arm_probe(cx, tp);
  }
}

tcp_ack_verdict old_ack(cpu& cx, tcp_sock& tp, const tcp_seg& seg, tcp_ack_info& info) {
  if (seg.ack_seq < tp.snd_una - tcp_ack_reach(tp)) {
    tcp_send_challenge_ack(cx, tp);
    return tcp_ack_verdict::too_old;
  }
  tcp_store_ts_recent(cx, tp, seg);
  if (tp.sack_ok && tp.rx.num_sacks != 0 && tp.rtx_queue.packets_out() != 0) {
    tcp_sacktag_write_queue(cx, tp, seg, info);
    info.dupack = info.sacked_segs != 0;
    tcp_fastretrans_alert(cx, tp, info);
    tcp_xmit_recovery(cx, tp);
  }
  return tcp_ack_verdict::old;
}

}  // namespace

ack_sample tcp_congestion_sample(const tcp_sock& tp) {
  ack_sample sample;
  sample.in_flight_now_segs = tp.in_flight();
  sample.mss_bytes = tp.mss_cache;
  sample.srtt = tp.srtt;
  sample.min_rtt = tp.min_rtt;
  sample.delivered = tp.delivered;
  sample.ca_state = tp.ca_state;
  sample.selective_acks = tp.sack_ok;
  return sample;
}

// RFC 5961 §5.2: down to SND.UNA - MAX.SND.WND, and never before the first byte of the connection:
// nobody can have heard more than was sent.
u32 tcp_ack_reach(const tcp_sock& tp) {
  return static_cast<u32>(std::min<u64>(tp.max_window, tp.bytes_acked));
}

void tcp_update_window(cpu& cx, tcp_sock& tp, const tcp_seg& seg) { update_window(cx, tp, seg); }

tcp_ack_verdict tcp_ack(cpu& cx, tcp_sock& tp, const tcp_seg& seg) {
  tcp_ack_info info;
  info.prior_in_flight = tp.in_flight();
  info.prior_fack = tp.rack.fack;
  if (seg.ack_seq < tp.snd_una) return old_ack(cx, tp, seg, info);
  if (seg.ack_seq > tp.snd_nxt) return tcp_ack_verdict::unsent;
  // RFC 7323 §4.3, once the whole segment is known to be acceptable: a forged one must not set the
  // clock by which the genuine ones are judged. Before anything is sent: what is echoes it.
  tcp_store_ts_recent(cx, tp, seg);

  const bool window_changed = update_window(cx, tp, seg);
  info.una_advanced = seg.ack_seq > tp.snd_una;
  if (info.una_advanced) {
    tp.retransmits = 0;
    info.acked_bytes = static_cast<u32>(seg.ack_seq - tp.snd_una);
    tp.bytes_acked += info.acked_bytes;
    tp.snd_una = seg.ack_seq;
    if (tp.urg_mode && tp.snd_up <= tp.snd_una) tp.urg_mode = false;
    if (!tp.zerocopy_sends.empty()) tcp_zerocopy_acked(cx, tp, tp.snd_una);
    tcp_confirm_neigh(cx, tp);
  }
  tp.last_ack_rcv = cx.now();
  tp.probes_out = 0;
  tp.soft_error = errc::ok;
  const u32 prior_packets = tp.rtx_queue.packets_out();
  if (tp.sack_ok && tp.rx.num_sacks != 0) tcp_sacktag_write_queue(cx, tp, seg, info);
  if (prior_packets == 0) {
    tcp_ecn_ack(cx, tp, seg, info);
    if (info.dsack) tcp_fastretrans_alert(cx, tp, info);
    ack_probe(cx, tp);
    tcp_process_tlp_ack(cx, tp, seg, info);
    return tcp_ack_verdict::ok;
  }
  if (info.una_advanced) {
    clean_rtx_queue(cx, tp, info);
    tcp_mtup_acked(cx, tp);
  }
  update_rtt(cx, tp, info);
  // RFC 5681 §2: a duplicate carries nothing, moves nothing and leaves the window alone.
  info.dupack = tp.sack_ok ? info.sacked_segs != 0
                           : !info.una_advanced && seg.len == 0 && !seg.syn() && !seg.fin() &&
                                 !window_changed;
  tcp_process_tlp_ack(cx, tp, seg, info);
  tcp_ecn_ack(cx, tp, seg, info);
  const bool plain = info.una_advanced && !info.dupack && tp.ca_state == tcp_ca_state::open &&
                     tp.rtx_queue.sacked_out() == 0 && tp.rtx_queue.lost_out() == 0 &&
                     !info.dsack && !info.reordered && !info.reneged && !info.ecn_echo;
  if (!plain) tcp_fastretrans_alert(cx, tp, info);
  if (info.cleared_segs != 0 && !info.reo_timer) set_xmit_timer(cx, tp);
  tp.net().mib().add(cx, mib::tcpext_tcp_delivered, info.acked_segs + info.sacked_segs);
  control_congestion(cx, tp, info);
  if (!info.hold_retrans) tcp_xmit_recovery(cx, tp, info.send_new);
  tcp_debug_invariants(tp);
  return tcp_ack_verdict::ok;
}

void tcp_rtt_estimate(cpu& cx, tcp_sock& tp, duration rtt) {
  if (rtt.ns <= 0) rtt.ns = 1;
  if (tp.srtt.ns == 0) {
    tp.srtt = rtt;  // RFC 6298 (2.2)
    tp.rttvar = rtt / 2;
  } else {
    const duration error = rtt < tp.srtt ? tp.srtt - rtt : rtt - tp.srtt;
    tp.rttvar = (tp.rttvar * 3 + error) / 4;  // (2.3)
    tp.srtt = (tp.srtt * 7 + rtt) / 8;
  }
  constexpr duration window = seconds(300);
  if (tp.min_rtt.ns == 0 || rtt <= tp.min_rtt || cx.now() - tp.min_rtt_stamp > window) {
    tp.min_rtt = rtt;
    tp.min_rtt_stamp = cx.now();
  }
  tcp_set_rto(tp);
  tp.backoff = 0;
}

void tcp_set_rto(tcp_sock& tp) {
  duration floor = tp.rto_min;
  // A route's metric goes before the socket's option, as on Linux.
  if (tp.dst && tp.dst->rto_min_ms != 0) floor = milliseconds(tp.dst->rto_min_ms);
  // RFC 6298 (2.3) with the variance term never below the floor, as Linux does.
  tp.rto = std::min(tp.srtt + std::max(tp.rttvar * 4, floor), tp.rto_max);
}

bool tcp_oow_allowed(cpu& cx, tcp_sock& tp) {
  const instant now = cx.now();
  const duration apart = milliseconds(tp.tcp().sysctl.invalid_ratelimit);
  if (tp.challenged && now - tp.last_challenge < apart) {
    cx.sometimes("tcp_challenge_withheld");
    tp.net().mib().add(cx, mib::tcpext_tcp_ack_skipped);
    return false;
  }
  tp.challenged = true;
  tp.last_challenge = now;
  return true;
}

void tcp_send_challenge_ack(cpu& cx, tcp_sock& tp) {
  if (!tcp_oow_allowed(cx, tp)) return;
  tcp_net& tn = tp.tcp();
  const s32 limit = tn.sysctl.challenge_ack_limit;
  if (limit != tcp_no_challenge_limit) {
    const s64 second = cx.now().ms() / 1000;
    if (second != tn.challenge_second) {
      // RFC 5961 §7; the count is random, so that it cannot be probed from outside.
      const u32 most = static_cast<u32>(limit);
      tn.challenge_second = second;
      tn.challenge_count = (most + 1) / 2 + static_cast<u32>(cx.random().below(std::max(most, 1u)));
    }
    if (tn.challenge_count == 0) {
      cx.sometimes("tcp_challenge_limit");
      return;
    }
    --tn.challenge_count;
  }
  tp.net().mib().add(cx, mib::tcpext_tcp_challenge_ack);
  tcp_send_ack(cx, tp);
}

}  // namespace ph
