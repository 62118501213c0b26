// Choosing what to send: windows, Nagle with Minshall's change, cutting, retransmission, and the
// segments that open, probe and close a connection (RFC 9293 §3.7.4, §3.8.6).
#include "net/tcp/tcp_output.h"

#include <algorithm>

#include "net/tcp/tcp_mtu_probe.h"
#include "net/tcp/tcp_pacing.h"
#include "net/tcp/tcp_prr.h"
#include "net/tcp/tcp_rack.h"
#include "net/tcp/tcp_rate.h"
#include "net/tcp/tcp_recovery.h"
#include "net/tcp/tcp_timer.h"
#include "net/tcp/tcp_timestamping.h"
#include "net/tcp/tcp_undo.h"

namespace ph {
namespace {

/// What a packet without data costs of SO_SNDBUF at least, as on Linux: a block of 576 bytes for
/// headers and a descriptor of 256.
constexpr u32 packet_cost = 832;

/// RFC 9293 §3.7.4 with Minshall's change: a small segment waits only for another small one.
bool nagle_allows(tcp_sock& tp, sk_buff& skb, u32 mss, tcp_nagle mode) {
  const tcp_skb_cb& cb = tcp_cb(skb);
  if (mode == tcp_nagle::push || tp.write_queue.next(skb) != nullptr) return true;
  if (tp.urg_mode || (cb.flags & tcphdr_fin) != 0 || skb.len() >= mss) return true;
  if (mode == tcp_nagle::cork || tp.cork) return false;
  if (tp.nodelay || tp.rtx_queue.packets_out() == 0) return true;
  const bool small_in_flight = tp.snd_sml > tp.snd_una && tp.snd_sml <= tp.snd_nxt;
  return !small_in_flight;
}

/// Whether the peer's window has room for the packet's first segment, with the FIN if it is all.
bool first_segment_fits(const tcp_sock& tp, const sk_buff& skb, u32 mss) {
  const tcp_skb_cb& cb = tcp_cb(skb);
  return (skb.len() > mss ? cb.seq + mss : cb.end_seq) <= tcp_wnd_end(tp);
}

/// How much of a packet of several segments may leave now: whole segments, and what is left at its
/// end or at the end of the window, if Nagle lets the small rest go.
u32 split_point(tcp_sock& tp, sk_buff& skb, u32 mss, u32 quota, tcp_nagle mode) {
  const u32 window = static_cast<u32>(tcp_wnd_end(tp) - tcp_cb(skb).seq);
  const u32 largest = mss * std::min(quota, tcp_tso_segs(tp, mss));
  const u32 possible = std::min({skb.len(), window, largest});
  const u32 partial = possible % mss;
  if (partial == 0) return possible;
  const bool whole = possible == skb.len();
  if (whole && (skb.len() >= mss) && tp.write_queue.next(skb) != nullptr) return possible;
  const tcp_skb_cb& cb = tcp_cb(skb);
  const bool held = tp.cork || mode == tcp_nagle::cork ||
                    (!tp.nodelay && tp.rtx_queue.packets_out() != 0 && mode != tcp_nagle::push &&
                     tp.snd_sml > tp.snd_una && tp.snd_sml <= tp.snd_nxt);
  if (!held || (whole && (cb.flags & tcphdr_fin) != 0) || tp.urg_mode) return possible;
  return possible - partial;
}

/// RFC 7661: remembers how much of the window was used.
void cwnd_validate(tcp_sock& tp, bool limited) {
  const u32 out = tp.rtx_queue.packets_out();
  if (tp.snd_una >= tp.max_packets_seq || limited || out > tp.max_packets_out) {
    tp.max_packets_out = out;
    tp.max_packets_seq = tp.snd_nxt;
    tp.is_cwnd_limited = limited;
  }
}

/// For TCP_INFO: what kept more from leaving.
void note_limits(cpu& cx, tcp_sock& tp, bool sent, bool cwnd_limited, bool rwnd_limited) {
  if (rwnd_limited) {
    tcp_chrono_start(cx, tp, tcp_chrono::rwnd_limited);
  } else {
    tcp_chrono_stop(cx, tp, tcp_chrono::rwnd_limited);
  }
  if (sent && !cwnd_limited && tp.write_queue.empty() && tp.sndbuf_full) {
    tcp_chrono_start(cx, tp, tcp_chrono::sndbuf_limited);
  }
}

/// A full queue of this host is a sign of congestion; that there is no way out is none.
void note_local_congestion(cpu& cx, tcp_sock& tp, xmit_result result) {
  if (result == xmit_result::congested || result == xmit_result::dropped) tcp_enter_cwr(cx, tp);
}

void new_data_sent(cpu& cx, tcp_sock& tp, u32 mss) {
  skb_ptr skb = tp.write_queue.pop_front();
  tcp_skb_cb& cb = tcp_cb(*skb);
  cb.sent = true;
  tp.snd_nxt = cb.end_seq;
  if (skb->len() < cb.pcount * mss) tp.snd_sml = cb.end_seq;  // its last segment is small
  tcp_chrono_start(cx, tp, tcp_chrono::busy);
  const bool idle = tp.rtx_queue.packets_out() == 0;
  if (tcp_in_cwnd_reduction(tp)) tp.prr_out += cb.pcount;
  if (skb->len() != 0) tp.net().mib().add(cx, mib::tcpext_tcp_orig_data_sent, cb.pcount);
  tp.rtx_queue.add(std::move(skb));
  const bool loss_probe_waits =
      tp.retransmit_timer.armed() && tp.rtx_event == tcp_rtx_event::loss_probe;
  if (idle || tp.probing || loss_probe_waits) tcp_rearm_rto(cx, tp);
  // As on Linux after each packet, not only after all: the first of a burst leaves room in the
  // congestion window, which tells that the send buffer is what holds the connection back; and
  // what was sent no longer counts for TCP_NOTSENT_LOWAT.
  tcp_check_space(cx, tp);
}

/// RFC 4821: one larger segment, if it is time for one.
tcp_mtup_verdict send_mtu_probe(cpu& cx, tcp_sock& tp, u32 mss) {
  const tcp_mtup_verdict verdict = tcp_mtup_prepare(cx, tp);
  if (verdict != tcp_mtup_verdict::ready) return verdict;
  sk_buff& probe = *tp.write_queue.front();
  const tcp_skb_cb& cb = tcp_cb(probe);
  // Refused below: it stays in the queue, to be cut to size.
  if (!tcp_left_host(tcp_transmit_skb(cx, tp, &probe, cb.seq, cb.flags))) {
    tcp_mtup_refused(tp, probe);
    return tcp_mtup_verdict::no;
  }
  tcp_mtup_sent(tp, probe);
  new_data_sent(cx, tp, mss);
  return verdict;
}

/// Sequence space of a retransmitted packet that was acknowledged in part is cut away.
void trim_head(tcp_sock& tp, sk_buff& skb) {
  tcp_skb_cb& cb = tcp_cb(skb);
  if (cb.seq >= tp.snd_una) return;
  const u32 n = std::min(static_cast<u32>(tp.snd_una - cb.seq), skb.len());
  skb.pull_any(n);
  cb.seq += n;
}

/// A Fast Open child keeps its SYN+ACK among what it sent; as on Linux, the initial window is for
/// data (RFC 7413 §4.2.2).
u32 synack_in_flight(const tcp_sock& tp) {
  return tp.fastopen_child && tp.state == tcp_state::syn_recv && tp.snd_una == tp.iss ? 1 : 0;
}

}  // namespace

void tcp_set_pcount(sk_buff& skb, u32 mss) {
  tcp_skb_cb& cb = tcp_cb(skb);
  if (skb.len() <= mss) {
    cb.pcount = 1;
    cb.mss = static_cast<u16>(skb.len());
  } else {
    cb.pcount = static_cast<u16>((skb.len() + mss - 1) / mss);
    cb.mss = static_cast<u16>(mss);
  }
}

skb_ptr tcp_stream_alloc(cpu& cx, tcp_sock& tp, seq32 seq, u8 flags) {
  skb_ptr skb = alloc_skb(cx, 0);
  tcp_skb_cb& cb = skb->init_cb<tcp_skb_cb>();
  cb.seq = seq;
  cb.end_seq = seq + ((flags & (tcphdr_syn | tcphdr_fin)) != 0 ? 1u : 0u);
  cb.flags = flags;
  cb.pcount = 1;
  skb->truesize = std::max(skb->truesize, packet_cost);
  tp.wmem_queued += skb->truesize;
  return skb;
}

void tcp_free_queued(cpu& cx, tcp_sock& tp, skb_ptr skb) {
  ph_debug_check(tp.wmem_queued >= skb->truesize);
  tp.wmem_queued -= skb->truesize;
  consume(cx, std::move(skb));
}

void tcp_fragment(cpu& cx, tcp_sock& tp, tcp_queue queue, sk_buff& skb, u32 len, u32 mss) {
  tcp_skb_cb& cb = tcp_cb(skb);
  ph_check(len > 0 && cb.seq + len < cb.end_seq);
  skb_ptr rest = tcp_stream_alloc(cx, tp, cb.seq + len, 0);
  const u32 moved = skb.len() - len;
  const u32 segs_before = cb.pcount;
  if (moved != 0) skb.split(cx, *rest, len);  // else the FIN alone moves
  skb.truesize -= moved;
  rest->truesize += moved;
  tcp_skb_cb& rest_cb = tcp_cb(*rest);
  const seq32 rest_seq = rest_cb.seq;
  rest_cb = cb;
  rest_cb.seq = rest_seq;
  tcp_split_watch(cb, rest_cb);
  cb.end_seq = rest_seq;
  cb.flags &= static_cast<u8>(~(tcphdr_fin | tcphdr_psh));
  cb.eor = false;
  tcp_set_pcount(skb, mss);
  tcp_set_pcount(*rest, mss);
  if (queue == tcp_queue::rtx) {
    tp.rtx_queue.split(skb, std::move(rest), segs_before);
  } else {
    tp.write_queue.adjust_bytes(-static_cast<s64>(moved));
    tp.write_queue.insert_after(skb, std::move(rest));
  }
}

bool tcp_write_xmit(cpu& cx, tcp_sock& tp, tcp_nagle mode) {
  const u32 mss = tcp_current_mss(cx, tp);
  bool sent = false;
  bool cwnd_limited = false;
  bool rwnd_limited = false;
  if (tp.mtup.enabled && mode != tcp_nagle::push) {
    const tcp_mtup_verdict verdict = send_mtu_probe(cx, tp, mss);
    if (verdict == tcp_mtup_verdict::wait) return false;
    sent = verdict == tcp_mtup_verdict::ready;
  }
  while (sk_buff* skb = tp.write_queue.front()) {
    tcp_set_pcount(*skb, mss);
    const tcp_skb_cb& cb = tcp_cb(*skb);
    if (tp.repair) {
      // What the former socket had sent: it may be acknowledged, or will be sent again.
      static_cast<void>(tcp_transmit_skb(cx, tp, skb, cb.seq, cb.flags));
      new_data_sent(cx, tp, mss);
      continue;
    }
    const u32 flight = tp.in_flight() - synack_in_flight(tp);
    // One segment more does no harm when it is the last of all: the peer learns of the end.
    const bool last_of_all = (cb.flags & tcphdr_fin) != 0 && cb.pcount == 1;
    if (flight >= tp.cong.cwnd && !last_of_all) {
      cwnd_limited = true;
      break;
    }
    if (!first_segment_fits(tp, *skb, mss)) {
      rwnd_limited = true;
      break;
    }
    if (tcp_pacing_holds(cx, tp)) break;
    if (cb.pcount == 1) {
      if (!nagle_allows(tp, *skb, mss, mode)) break;
    } else {
      // At least two packets share a window, so that acknowledgements keep coming.
      const u32 quota = std::min(std::max(tp.cong.cwnd / 2, 1u), tp.cong.cwnd - flight);
      const u32 limit = split_point(tp, *skb, mss, quota, mode);
      if (limit == 0) break;
      if (limit < skb->len()) tcp_fragment(cx, tp, tcp_queue::write, *skb, limit, mss);
    }
    const xmit_result result = tcp_transmit_skb(cx, tp, skb, tcp_cb(*skb).seq, tcp_cb(*skb).flags);
    note_local_congestion(cx, tp, result);
    // It stays in the queue and the persist timer tries again.
    if (!tcp_left_host(result)) break;
    new_data_sent(cx, tp, mss);
    sent = true;
  }
  note_limits(cx, tp, sent, cwnd_limited, rwnd_limited);
  if (sent) tcp_schedule_loss_probe(cx, tp, false);
  if (sent || cwnd_limited) {
    cwnd_validate(tp, cwnd_limited || tp.in_flight() >= tp.cong.cwnd);
  }
  tcp_debug_invariants(tp);
  return tp.rtx_queue.packets_out() == 0 && !tp.write_queue.empty() && !tp.pacing_timer.armed();
}

void tcp_push_pending(cpu& cx, tcp_sock& tp, tcp_nagle mode) {
  if (tp.write_queue.empty() || tp.state == tcp_state::close) return;
  if (tcp_write_xmit(cx, tp, mode)) tcp_check_probe_timer(cx, tp);
}

xmit_result tcp_resend_skb(cpu& cx, tcp_sock& tp, sk_buff& skb, u32 segs) {
  const u32 mss = tcp_current_mss(cx, tp);
  trim_head(tp, skb);
  tcp_skb_cb& cb = tcp_cb(skb);
  // RFC 9293 §3.8.6.1: the oldest segment may be sent into a closed window, nothing else.
  if (cb.seq >= tcp_wnd_end(tp) && cb.seq != tp.snd_una) return xmit_result::refused;
  const u32 allowed = tcp_auth_option_bytes(tp) != 0 ? 1 : tcp_most_segs(mss);
  u32 most = mss * std::clamp(segs, 1u, allowed);
  // RFC 9293 §3.8.6: only what the window takes, which may have shrunk since, or never have been
  // known (data of a SYN); a whole segment when it takes nothing.
  const s32 window = tcp_wnd_end(tp) - cb.seq;
  const u32 room = window <= 0 ? mss : static_cast<u32>(window);
  if (most > room) most = room < mss ? room : room / mss * mss;
  if (skb.len() > most) {
    tcp_fragment(cx, tp, tcp_queue::rtx, skb, most, mss);
  } else {
    const u32 was = cb.pcount;
    tcp_set_pcount(skb, mss);
    tp.rtx_queue.recount(skb, was);
  }
  tp.mtup.probe_size = 0;  // what comes now says nothing about its size
  tp.total_retrans += cb.pcount;
  tp.bytes_retrans += skb.len();
  tp.net().mib().add(cx, mib::tcp_retrans_segs, cb.pcount);
  if ((cb.flags & tcphdr_syn) != 0) tp.net().mib().add(cx, mib::tcpext_tcp_syn_retrans);
  const xmit_result result = tcp_transmit_skb(cx, tp, &skb, cb.seq, cb.flags);
  note_local_congestion(cx, tp, result);
  if (tcp_left_host(result)) {
    tp.rtx_queue.sent_again(skb);
  } else {
    cx.sometimes("tcp_retransmission_refused_below");
    tp.net().mib().add(cx, mib::tcpext_tcp_retrans_fail, cb.pcount);
  }
  return result;
}

xmit_result tcp_retransmit_skb(cpu& cx, tcp_sock& tp, sk_buff& skb, u32 segs) {
  // The first attempt counts, whether or not it leaves: from it the connection's patience runs.
  if (tp.retrans_stamp == instant{}) tp.retrans_stamp = cx.now();
  const xmit_result result = tcp_resend_skb(cx, tp, skb, segs);
  if (!tcp_left_host(result)) return result;
  const tcp_skb_cb& cb = tcp_cb(skb);
  tp.rtx_queue.mark_retransmitted(skb);
  tcp_undo_retransmitted(tp, cb.pcount);
  if (tcp_in_cwnd_reduction(tp)) tp.prr_out += cb.pcount;
  tp.high_rxt = seq_max(tp.high_rxt, cb.end_seq);
  return result;
}

bool tcp_send_new_probe(cpu& cx, tcp_sock& tp) {
  sk_buff* skb = tp.write_queue.front();
  if (skb == nullptr) return false;
  const u32 mss = tcp_current_mss(cx, tp);
  tcp_set_pcount(*skb, mss);
  if (!first_segment_fits(tp, *skb, mss)) return false;
  cx.sometimes("tcp_loss_probe_new_data");
  if (skb->len() > mss) tcp_fragment(cx, tp, tcp_queue::write, *skb, mss, mss);
  const xmit_result result = tcp_transmit_skb(cx, tp, skb, tcp_cb(*skb).seq, tcp_cb(*skb).flags);
  if (!tcp_left_host(result)) return false;
  new_data_sent(cx, tp, mss);
  return true;
}

void tcp_send_syn(cpu& cx, tcp_sock& tp, skb_ptr data) {
  skb_ptr skb = tcp_stream_alloc(cx, tp, tp.iss, tcphdr_syn);
  tp.write_seq = tp.iss + 1;
  tcp_cb(*skb).sent = true;
  tcp_cb(*skb).sent_at = tp.syn_stamp = cx.now();
  tcp_rate_skb_sent(cx, tp, *skb);
  sk_buff& queued = tp.rtx_queue.add(std::move(skb));
  tp.snd_nxt = tp.write_seq;
  tp.net().mib().add(cx, mib::tcp_active_opens);
  sk_buff* payload = nullptr;
  if (data) {
    // One packet on the wire, two in the queue: they may be acknowledged and lost separately.
    tcp_set_pcount(*data, tp.mss_cache);
    tcp_cb(*data).sent = true;
    tcp_cb(*data).sent_at = cx.now();
    payload = &tp.rtx_queue.add(std::move(data));
    tp.snd_nxt = tp.write_seq = tcp_cb(*payload).end_seq;
  }
  static_cast<void>(
      tcp_transmit_skb(cx, tp, payload != nullptr ? payload : &queued, tp.iss, tcphdr_syn));
  tcp_arm_rto(cx, tp, tp.rto);
}

void tcp_send_fin(cpu& cx, tcp_sock& tp) {
  sk_buff* last = tp.write_queue.back();
  if (last != nullptr) {
    tcp_skb_cb& cb = tcp_cb(*last);
    cb.flags |= tcphdr_fin;
    ++cb.end_seq;
  } else {
    tp.write_queue.push_back(tcp_stream_alloc(cx, tp, tp.write_seq, tcphdr_ack | tcphdr_fin));
  }
  ++tp.write_seq;
  tcp_push_pending(cx, tp, tcp_nagle::push);
}

xmit_result tcp_write_wakeup(cpu& cx, tcp_sock& tp) {
  sk_buff* skb = tp.write_queue.front();
  if (skb == nullptr || tcp_cb(*skb).seq >= tcp_wnd_end(tp)) return tcp_send_probe(cx, tp);
  const u32 mss = tcp_current_mss(cx, tp);
  const u32 room = static_cast<u32>(tcp_wnd_end(tp) - tcp_cb(*skb).seq);
  const u32 len = std::min(room, mss);
  tcp_set_pcount(*skb, mss);
  cx.sometimes("tcp_window_override");
  if (tcp_cb(*skb).seq + len < tcp_cb(*skb).end_seq) {
    tcp_fragment(cx, tp, tcp_queue::write, *skb, len, mss);
  }
  tcp_cb(*skb).flags |= tcphdr_psh;
  tp.pushed_seq = seq_max(tp.pushed_seq, tcp_cb(*skb).end_seq);
  const xmit_result result = tcp_transmit_skb(cx, tp, skb, tcp_cb(*skb).seq, tcp_cb(*skb).flags);
  if (tcp_left_host(result)) new_data_sent(cx, tp, mss);
  return result;
}

}  // namespace ph
