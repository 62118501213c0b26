// The state machine: RFC 9293 §3.10.7.3 (SYN-SENT) and §3.10.7.4 (other states), with RFC 7323
// (PAWS), RFC 5961 (blind attacks) and header prediction for the common case.
#include "net/tcp/tcp_input.h"

#include <algorithm>

#include "net/tcp/tcp_ack.h"
#include "net/tcp/tcp_ecn.h"
#include "net/tcp/tcp_fastopen.h"
#include "net/tcp/tcp_mem.h"
#include "net/tcp/tcp_ofo.h"
#include "net/tcp/tcp_output.h"
#include "net/tcp/tcp_recovery.h"
#include "net/tcp/tcp_timer.h"
#include "net/tcp/tcp_timewait.h"

namespace ph {
namespace {

/// After an acknowledgement: what may leave now, and who may write again.
void data_snd_check(cpu& cx, tcp_sock& tp) {
  tcp_push_pending(cx, tp);
  tcp_check_space(cx, tp);
}

void parse_options(tcp_sock& tp, const tcp_seg& seg) {
  tp.rx.saw_tstamp = false;
  tp.rx.num_sacks = 0;
  tp.rx.accecn.present = false;
  if (seg.options.empty()) return;
  if (tp.tstamp_ok &&
      tcp_parse_aligned_timestamp(seg.options, tp.rx.rcv_tsval, tp.rx.rcv_tsecr)) {
    tp.rx.saw_tstamp = true;
  } else {
    tp.rx = tcp_parse_options(seg.options, false);
  }
}

bool paws(cpu& cx, const tcp_sock& tp, const tcp_seg& seg) {
  return tp.tstamp_ok && tp.rx.saw_tstamp &&
         tcp_paws_reject(cx, tp.ts_recent_valid, tp.ts_recent, tp.ts_recent_stamp,
                         tp.rx.rcv_tsval, seg.rst());
}

/// A pure duplicate acknowledgement that was overtaken by others is harmless although its
/// timestamp is old (RFC 7323 §5.2 R1 would answer each with an ACK).
bool disordered_ack(const tcp_sock& tp, const tcp_seg& seg) {
  return seg.len == 0 && seg.seq == tp.rcv_nxt && seg.end_seq == seg.seq &&
         seg.ack_seq == tp.snd_una && tcp_segment_window(tp, seg) == tp.snd_wnd &&
         static_cast<s32>(tp.ts_recent - tp.rx.rcv_tsval) <= static_cast<s32>(tp.rto.ms());
}

bool sequence_acceptable(const tcp_sock& tp, const tcp_seg& seg) {
  return seg.end_seq >= tp.rcv_wup && seg.seq <= tp.rcv_nxt + tcp_receive_window(tp);
}

errc reset_error(const tcp_sock& tp) {
  switch (tp.state) {
    case tcp_state::syn_sent: return errc::connrefused;
    case tcp_state::close_wait: return errc::pipe;
    default: return errc::connreset;
  }
}

/// RFC 5961 §3.2: a reset counts only exactly at RCV.NXT, or at the end of the data that the peer
/// knows we have.
bool reset_exact(const tcp_sock& tp, const tcp_seg& seg) {
  if (seg.seq == tp.rcv_nxt) return true;
  // A FIN was taken before: the peer may not have heard that it counts.
  if (seg.seq == tp.rcv_nxt - 1 &&
      tp.in_state({tcp_state::close_wait, tcp_state::last_ack, tcp_state::closing})) {
    return true;
  }
  if (!tp.sack_ok || tp.num_sacks == 0) return false;
  seq32 highest = tp.selective_acks[0].end_seq;
  for (u8 i = 1; i < tp.num_sacks; ++i) highest = seq_max(highest, tp.selective_acks[i].end_seq);
  return seg.seq == highest;
}

/// A reset that counts. Consumes the packet.
void reset_received(cpu& cx, tcp_sock& tp, skb_ptr skb) {
  cx.sometimes("tcp_reset_taken");
  const errc why = reset_error(tp);
  drop(cx, std::move(skb), drop_reason::tcp_reset);
  tcp_write_queue_purge(cx, tp);
  tcp_reset(cx, tp, why);
}

/// RFC 5961 §4.2: whatever its number, a SYN is only answered.
void challenge_syn(cpu& cx, tcp_sock& tp, const tcp_seg& seg) {
  tp.net().mib().add(cx, mib::tcpext_tcp_syn_challenge);
  tcp_ecn_synack_again(tp, seg);
  tcp_send_challenge_ack(cx, tp);
  tp.ecn.reflect = false;  // the next ACK answers something else
}

/// First to fourth check of §3.10.7.4. False: the packet was ended.
bool validate_incoming(cpu& cx, tcp_sock& tp, skb_ptr& skb, const tcp_seg& seg) {
  parse_options(tp, seg);
  if (paws(cx, tp, seg) && !seg.rst() && !disordered_ack(tp, seg)) {
    cx.sometimes("tcp_paws_rejects");
    if (seg.len != 0 || tcp_oow_allowed(cx, tp)) {
      tcp_send_dupack(cx, tp, seg.seq, seg.end_seq);
    }
    drop(cx, std::move(skb), drop_reason::tcp_paws);
    return false;
  }
  if (!sequence_acceptable(tp, seg)) {
    if (seg.rst() && reset_exact(tp, seg)) {
      reset_received(cx, tp, std::move(skb));
      return false;
    }
    if (!seg.rst()) {
      if (seg.syn()) {
        challenge_syn(cx, tp, seg);
      } else if (seg.len != 0 || seg.fin() || tcp_oow_allowed(cx, tp)) {
        tcp_send_dupack(cx, tp, seg.seq, seg.end_seq);
      }
    }
    cx.sometimes("tcp_segment_outside_window");
    const bool old = seg.end_seq < tp.rcv_wup;
    drop(cx, std::move(skb),
         old ? drop_reason::tcp_old_sequence : drop_reason::tcp_invalid_sequence);
    return false;
  }
  if (seg.rst()) {
    if (reset_exact(tp, seg)) {
      tcp_fastopen_child_reset(cx, tp);
      reset_received(cx, tp, std::move(skb));
    } else {
      cx.sometimes("tcp_reset_inexact_challenged");
      tcp_send_challenge_ack(cx, tp);
      drop(cx, std::move(skb), drop_reason::tcp_invalid_sequence);
    }
    return false;
  }
  if (seg.syn()) {
    cx.sometimes("tcp_syn_in_window_challenged");
    challenge_syn(cx, tp, seg);
    drop(cx, std::move(skb), drop_reason::tcp_invalid_syn);
    return false;
  }
  if (!seg.ack()) {
    drop(cx, std::move(skb), drop_reason::tcp_flags);
    return false;
  }
  return true;
}

/// Acknowledgement that is not acceptable ends the packet. True: go on.
bool process_ack(cpu& cx, tcp_sock& tp, skb_ptr& skb, const tcp_seg& seg) {
  tcp_ecn_receive(cx, tp, seg);
  switch (tcp_ack(cx, tp, seg)) {
    case tcp_ack_verdict::ok:
    case tcp_ack_verdict::old: return true;
    case tcp_ack_verdict::too_old:
      cx.sometimes("tcp_ack_too_old");
      drop(cx, std::move(skb), drop_reason::tcp_too_old_ack);
      return false;
    case tcp_ack_verdict::unsent:
      cx.sometimes("tcp_ack_of_unsent");
      // RFC 5961 §5.2: answered, nothing else.
      tcp_send_challenge_ack(cx, tp);
      drop(cx, std::move(skb), drop_reason::tcp_ack_unsent_data);
      return false;
  }
  ph_unreachable("verdict");
}

/// Header prediction: next in order, window unchanged, nothing unusual. True: done.
bool predicted(cpu& cx, tcp_sock& tp, skb_ptr& skb, const tcp_seg& seg) {
  const u8 usual = tcphdr_ack | tcphdr_psh | tcp_ecn_usual_flags(tp);
  if ((seg.flags & ~usual) != 0 || (seg.flags & tcphdr_ack) == 0) return false;
  if (seg.seq != tp.rcv_nxt || !tp.ofo_queue.empty() || tp.urg_seen) return false;
  if (seg.ack_seq > tp.snd_nxt || seg.ack_seq < tp.snd_una) return false;
  if (tcp_segment_window(tp, seg) != tp.snd_wnd) return false;
  tp.rx.num_sacks = 0;
  tp.rx.accecn.present = false;
  if (tp.tstamp_ok) {
    tp.rx.saw_tstamp =
        tcp_parse_aligned_timestamp(seg.options, tp.rx.rcv_tsval, tp.rx.rcv_tsecr);
    if (!tp.rx.saw_tstamp || static_cast<s32>(tp.rx.rcv_tsval - tp.ts_recent) < 0) return false;
  } else if (!seg.options.empty()) {
    return false;
  }
  if (seg.len == 0) {
    if (seg.ack_seq == tp.snd_una) return false;  // a duplicate: the long way
    tp.net().mib().add(cx, mib::tcpext_tcp_hp_acks);
    tcp_ecn_receive(cx, tp, seg);
    tcp_ack(cx, tp, seg);
    consume(cx, std::move(skb));
    data_snd_check(cx, tp);
    return true;
  }
  if (seg.len > tcp_receive_window(tp) || tp.rmem_alloc > tp.opt.rcvbuf) return false;
  if (!tcp_mem_plenty(tp)) return false;
  tp.net().mib().add(cx, mib::tcpext_tcp_hp_hits);
  tcp_store_ts_recent(cx, tp, seg);
  const tcp_arrival data = tcp_arrival_of(*skb);
  tcp_ecn_receive(cx, tp, seg);
  tcp_queue_rcv(cx, tp, std::move(skb));
  tcp_event_data_recv(cx, tp, data);
  if (seg.ack_seq != tp.snd_una) {
    tcp_ack(cx, tp, seg);
    data_snd_check(cx, tp);
  }
  tcp_ack_snd_check(cx, tp);
  tcp_data_ready(tp);
  return true;
}

/// RFC 9293 §3.10.7.3: data and FIN of a SYN+ACK are processed in the new state. Only who opened
/// fast expects them; others will send them again.
void synack_payload(cpu& cx, tcp_sock& tp, skb_ptr skb, const tcp_seg& seg) {
  if (!tp.syn_fastopen || (seg.len == 0 && !seg.fin())) {
    consume(cx, std::move(skb));
    return;
  }
  tcp_skb_cb& cb = tcp_cb(*skb);
  cb.seq = seg.seq + 1;
  cb.flags &= static_cast<u8>(~tcphdr_syn);
  tcp_data_queue(cx, tp, std::move(skb));
}

/// From here on segments of the size that was advertised carry a timestamp.
void make_room_for_timestamps(tcp_sock& tp) {
  constexpr u32 len = tcpolen_tstamp_aligned;
  if (tp.tstamp_ok && tp.advmss > len) tp.advmss -= len;
}

/// SYN+ACK to our SYN. Consumes the packet.
void synsent_established(cpu& cx, tcp_sock& tp, skb_ptr skb, const tcp_seg& seg) {
  tp.irs = seg.seq;
  tp.receive_from(seg.seq + 1);
  tp.snd_wl1 = seg.seq;
  tcp_apply_syn_options(cx, tp, tp.rx);
  tcp_ecn_rcv_synack(tp, seg);
  tcp_auth_start(tp);
  static_cast<void>(tcp_ack(cx, tp, seg));
  tp.snd_wnd = seg.window;  // RFC 7323 §2.2: never scaled on a SYN
  tp.max_window = std::max(tp.max_window, tp.snd_wnd);
  if (!tp.wscale_ok) tp.window_clamp = std::min(tp.window_clamp, tcp_max_window);
  make_room_for_timestamps(tp);
  tcp_sync_mss(tp, tp.pmtu_cookie);
  tcp_initialize_rcv_mss(tp);
  tcp_set_state(cx, tp, tcp_state::established);
  tcp_init_transfer(cx, tp);
  tcp_ecn_established(cx, tp);
  if (tp.opt.keepalive) tcp_arm_keepalive(cx, tp, tcp_keepalive_time(tp));
  tp.wake(uapi::pollout | uapi::pollwrnorm | uapi::pollwrband);
  // RFC 9768 §3.2.2.1: how the SYN+ACK arrived is told by an ACK of its own, before data.
  const bool told = tp.ecn.reflect;
  if (told) tcp_send_ack(cx, tp);
  const bool resent = tcp_fastopen_synack(cx, tp, tp.rx);
  const bool writer = std::exchange(tp.write_waits, false);
  synack_payload(cx, tp, std::move(skb), seg);
  if (resent) return;
  if (writer || !tp.write_queue.empty() || tp.defer_accept != 0 || tp.pingpong) {
    // Data follow at once and carry the acknowledgement.
    tp.ack_scheduled = true;
    tcp_enter_quickack(tp, tcp_max_quickacks);
    tp.home().timers().arm(tp.delack_timer, cx.now() + tcp_delack_max);
    tcp_push_pending(cx, tp);
  } else if (!told || tp.rcv_nxt != tp.rcv_wup) {
    tcp_send_ack(cx, tp);
  }
}

/// RFC 9293 §3.10.7.3: their SYN crossed ours.
void synsent_crossed(cpu& cx, tcp_sock& tp, const tcp_seg& seg) {
  tcp_set_state(cx, tp, tcp_state::syn_recv);
  tcp_apply_syn_options(cx, tp, tp.rx);
  tcp_ecn_rcv_syn(tp, seg);
  tp.irs = seg.seq;
  tcp_auth_start(tp);
  tp.receive_from(seg.seq + 1);
  tp.snd_wnd = seg.window;
  tp.snd_wl1 = seg.seq;
  tp.max_window = tp.snd_wnd;
  tcp_sync_mss(tp, tp.pmtu_cookie);
  tcp_initialize_rcv_mss(tp);
  sk_buff* syn = tp.rtx_queue.first();
  if (syn == nullptr) return;
  tcp_cb(*syn).flags |= tcphdr_ack;
  static_cast<void>(tcp_transmit_skb(cx, tp, syn, tp.iss, tcphdr_syn | tcphdr_ack));
}

void rcv_synsent(cpu& cx, tcp_sock& tp, skb_ptr skb, const tcp_seg& seg) {
  tp.rx = tcp_parse_options(seg.options, true);
  const bool acceptable = seg.ack() && seg.ack_seq > tp.iss && seg.ack_seq <= tp.snd_nxt;
  if (seg.ack() && !acceptable) {
    tcp_reply_reset(cx, tp, seg);
    drop(cx, std::move(skb), drop_reason::tcp_invalid_ack);
    return;
  }
  if (seg.ack() && tp.rx.saw_tstamp && tp.rx.rcv_tsecr != 0 &&
      static_cast<s32>(tcp_time_stamp(cx, tp) - tp.rx.rcv_tsecr) < 0) {
    // An echo of what was never sent belongs to another incarnation.
    tp.net().mib().add(cx, mib::tcpext_paws_active);
    tcp_reply_reset(cx, tp, seg);
    drop(cx, std::move(skb), drop_reason::tcp_paws);
    return;
  }
  if (seg.rst()) {
    if (acceptable) {
      reset_received(cx, tp, std::move(skb));
    } else {
      drop(cx, std::move(skb), drop_reason::tcp_flags);
    }
    return;
  }
  if (!seg.syn()) {
    drop(cx, std::move(skb), drop_reason::tcp_flags);
    return;
  }
  if (seg.ack()) {
    synsent_established(cx, tp, std::move(skb), seg);
  } else {
    cx.sometimes("tcp_simultaneous_open");
    synsent_crossed(cx, tp, seg);
    consume(cx, std::move(skb));
  }
}

/// SYN-RECEIVED and our SYN is acknowledged.
void syn_recv_established(cpu& cx, tcp_sock& tp, const tcp_seg& seg) {
  const bool in_use = tp.fastopen_child;  // then data may wait already
  tcp_fastopen_child_done(tp);
  if (!in_use) tp.copied_seq = tp.rcv_nxt;
  tp.snd_wnd = tcp_segment_window(tp, seg);
  tp.max_window = std::max(tp.max_window, tp.snd_wnd);
  tp.snd_wl1 = seg.seq;
  make_room_for_timestamps(tp);
  tcp_sync_mss(tp, tp.pmtu_cookie);
  if (!in_use) ++tp.delivered;  // the SYN+ACK, which a request sent
  tcp_set_state(cx, tp, tcp_state::established);
  if (!in_use) {
    tcp_initialize_rcv_mss(tp);
    tcp_init_transfer(cx, tp);
  }
  tcp_ecn_established(cx, tp);
  if (tp.opt.keepalive) tcp_arm_keepalive(cx, tp, tcp_keepalive_time(tp));
  tp.wake(uapi::pollout | uapi::pollwrnorm | uapi::pollwrband);
}

/// The SYN that began a socket in SYN-RECEIVED comes again. False: it is a segment like others.
bool syn_again(cpu& cx, tcp_sock& tp, skb_ptr& skb, const tcp_seg& seg) {
  if (!tcp_ecn_repeated_syn(tp, seg)) {
    tcp_reply_reset(cx, tp, seg);
    tcp_fastopen_child_reset(cx, tp);
    drop(cx, std::move(skb), drop_reason::tcp_flags);
    tcp_write_queue_purge(cx, tp);
    tcp_reset(cx, tp, errc::connreset);
    return true;
  }
  if (!tp.fastopen_child) return false;
  tcp_fastopen_repeat(cx, tp);
  drop(cx, std::move(skb), drop_reason::tcp_request);
  return true;
}

/// Data for a connection whose program is gone (RFC 9293 §3.6.1, RFC 1122 §4.2.2.13).
bool beyond_fin(const tcp_sock& tp, const tcp_seg& seg) {
  return seg.len != 0 && seg.end_seq - (seg.fin() ? 1u : 0u) > tp.rcv_nxt;
}

void abort_on_data(cpu& cx, tcp_sock& tp, skb_ptr skb, const tcp_seg& seg) {
  cx.sometimes("tcp_data_after_close");
  tp.net().mib().add(cx, mib::tcpext_tcp_abort_on_data);
  tcp_reply_reset(cx, tp, seg);
  drop(cx, std::move(skb), drop_reason::tcp_fin_wait_data);
  tcp_write_queue_purge(cx, tp);
  tcp_reset(cx, tp, errc::connreset);
}

/// Our FIN is acknowledged in FIN-WAIT-1. False: the packet was ended with the connection.
bool fin_acknowledged(cpu& cx, tcp_sock& tp, skb_ptr& skb, const tcp_seg& seg) {
  tcp_set_state(cx, tp, tcp_state::fin_wait2);
  tp.shutdown_state |= send_shutdown;
  tp.wake(uapi::pollout | uapi::pollwrnorm);  // also a close() that waits (SO_LINGER)
  if (!tp.dead) return true;
  if (tp.linger2 < 0 || beyond_fin(tp, seg)) {
    abort_on_data(cx, tp, std::move(skb), seg);
    return false;
  }
  if (seg.fin()) {
    // TIME-WAIT follows, unless something before the FIN is missing.
    tcp_arm_keepalive(cx, tp, tcp_fin_time(tp));
    return true;
  }
  consume(cx, std::move(skb));
  tcp_fin_wait2_orphaned(cx, tp);
  return false;
}

/// The part of the fifth step that depends on the state. False: the packet was ended.
bool state_after_ack(cpu& cx, tcp_sock& tp, skb_ptr& skb, const tcp_seg& seg) {
  const bool fin_acked = tp.snd_una == tp.write_seq;
  switch (tp.state) {
    case tcp_state::syn_recv:
      syn_recv_established(cx, tp, seg);
      return true;
    case tcp_state::fin_wait1: return !fin_acked || fin_acknowledged(cx, tp, skb, seg);
    case tcp_state::closing:
      if (!fin_acked) return true;
      drop(cx, std::move(skb), drop_reason::tcp_timewait);
      tcp_time_wait(cx, tp);
      return false;
    case tcp_state::last_ack:
      if (!fin_acked) return true;
      consume(cx, std::move(skb));
      tcp_done(cx, tp);
      return false;
    default: return true;
  }
}

}  // namespace

bool tcp_paws_reject(const cpu& cx, bool have_recent, u32 ts_recent, instant stamp, u32 tsval,
                     bool rst) {
  if (!have_recent || static_cast<s32>(ts_recent - tsval) <= 0) return false;
  // RFC 7323 §5.5: after 24 idle days the last timestamp says nothing.
  if (cx.now() - stamp >= tcp_paws_24days) return false;
  // A reset may come from a host that has restarted with a young clock (RFC 7323 §5.2).
  return !(rst && cx.now() - stamp >= seconds(60));
}

void tcp_store_ts_recent(cpu& cx, tcp_sock& tp, const tcp_seg& seg) {
  if (!tp.rx.saw_tstamp || !tp.tstamp_ok || seg.seq > tp.last_ack_sent) return;
  if (tp.ts_recent_valid && static_cast<s32>(tp.rx.rcv_tsval - tp.ts_recent) < 0) return;
  tp.ts_recent = tp.rx.rcv_tsval;
  tp.ts_recent_stamp = cx.now();
  tp.ts_recent_valid = true;
}

void tcp_apply_syn_options(cpu& cx, tcp_sock& tp, const tcp_options_received& rx) {
  const tcp_sysctls& sysctl = tp.tcp().sysctl;
  tp.tstamp_ok = rx.saw_tstamp && sysctl.timestamps != 0;
  tp.sack_ok = rx.sack_ok && sysctl.sack != 0;
  tp.wscale_ok = rx.wscale_ok && sysctl.window_scaling != 0;
  tp.snd_wscale = tp.wscale_ok ? rx.snd_wscale : u8{0};
  if (!tp.wscale_ok) tp.rcv_wscale = 0;
  if (tp.tstamp_ok) {
    tp.ts_recent = rx.rcv_tsval;
    tp.ts_recent_stamp = cx.now();
    tp.ts_recent_valid = true;
  }
  // RFC 9293 §3.7.1: no option means 536.
  u32 mss = rx.mss != 0 ? rx.mss : uapi::tcp_mss_default;
  if (tp.user_mss != 0) mss = std::min(mss, tp.user_mss);
  tp.mss_clamp = mss;
}

void tcp_rcv_established(cpu& cx, tcp_sock& tp, skb_ptr skb, const tcp_seg& seg) {
  PH_TRACE(cx, *skb);
  if (predicted(cx, tp, skb, seg)) return;
  if (!validate_incoming(cx, tp, skb, seg)) return;
  if (!process_ack(cx, tp, skb, seg)) return;
  tcp_urg(cx, tp, *skb, seg);
  tcp_data_queue(cx, tp, std::move(skb));
  if (tp.state == tcp_state::close) return;
  data_snd_check(cx, tp);
  tcp_ack_snd_check(cx, tp);
}

void tcp_rcv_state_process(cpu& cx, tcp_sock& tp, skb_ptr skb, const tcp_seg& seg) {
  PH_TRACE(cx, *skb);
  if (tp.state == tcp_state::close) {
    drop(cx, std::move(skb), drop_reason::tcp_close);
    return;
  }
  if (tp.state == tcp_state::syn_sent) {
    rcv_synsent(cx, tp, std::move(skb), seg);
    if (tp.state != tcp_state::close) data_snd_check(cx, tp);
    return;
  }
  if (tp.state == tcp_state::syn_recv && seg.syn() && !seg.ack() && !seg.rst() &&
      seg.seq == tp.irs && syn_again(cx, tp, skb, seg)) {
    return;
  }
  // A crossed SYN+ACK of a simultaneous open: its SYN was processed, its ACK was not.
  tcp_seg rest = seg;
  if (tp.state == tcp_state::syn_recv && seg.syn() && seg.ack() && seg.seq == tp.irs) {
    rest.flags &= static_cast<u8>(~tcphdr_syn);
    ++rest.seq;
    rest.window = static_cast<u16>(seg.window >> tp.snd_wscale);  // a SYN's is not scaled
    // Without data it stays a segment that came twice, which is answered at once.
    if (seg.end_seq != rest.seq) tcp_cb(*skb).seq = rest.seq;
    tcp_ecn_rcv_crossed_synack(tp, seg, rest);
  }
  if (!validate_incoming(cx, tp, skb, rest)) return;
  if (tp.state == tcp_state::syn_recv &&
      (rest.ack_seq <= tp.iss || rest.ack_seq > tp.snd_nxt)) {
    // RFC 9293 §3.10.7.4: in SYN-RECEIVED an unacceptable acknowledgement is answered by RST.
    tcp_reply_reset(cx, tp, rest);
    drop(cx, std::move(skb), drop_reason::tcp_invalid_ack);
    return;
  }
  if (!process_ack(cx, tp, skb, rest)) return;
  if (!state_after_ack(cx, tp, skb, rest)) return;
  tcp_urg(cx, tp, *skb, rest);
  const bool after_fin =
      tp.in_state({tcp_state::close_wait, tcp_state::closing, tcp_state::last_ack});
  if (after_fin && rest.seq >= tp.rcv_nxt) {
    consume(cx, std::move(skb));
  } else if (tp.in_state({tcp_state::fin_wait1, tcp_state::fin_wait2}) &&
             (tp.shutdown_state & rcv_shutdown) != 0 && beyond_fin(tp, rest)) {
    abort_on_data(cx, tp, std::move(skb), rest);
  } else {
    tcp_data_queue(cx, tp, std::move(skb));
  }
  if (tp.state == tcp_state::close) return;
  data_snd_check(cx, tp);
  tcp_ack_snd_check(cx, tp);
}

void tcp_do_rcv(cpu& cx, tcp_sock& tp, skb_ptr skb, const tcp_seg& seg) {
  const u32 segments =
      std::max<u32>(skb->gso_segs, 1);  // GRO and the sender's TSO make one of many
  tp.segs_in += segments;
  if (seg.len != 0) tp.data_segs_in += segments;
  if (tp.state == tcp_state::established) {
    tcp_rcv_established(cx, tp, std::move(skb), seg);
  } else {
    tcp_rcv_state_process(cx, tp, std::move(skb), seg);
  }
  tcp_mem_settle(cx, tp);
  if (tp.state != tcp_state::close) tcp_debug_invariants(tp);
}

}  // namespace ph
