// RFC 3168 §6.1.1 (agreeing), §6.1.1.1 (middleboxes), §6.1.2 (sender), §6.1.3 (receiver).
#include "net/tcp/tcp_ecn.h"

#include "net/tcp/tcp_accecn.h"
#include "net/tcp/tcp_ofo.h"
#include "net/tcp/tcp_output.h"
#include "net/tcp/tcp_recovery.h"
#include "net/tcp/tcp_request.h"

namespace ph {
namespace {

/// SYN+ACKs that agree to Accurate ECN, before one goes without.
constexpr u8 accecn_synacks = 2;

void set_ip_ecn(tcp_sock& tp, u8 ecn) {
  tp.inet.tos = static_cast<u8>((tp.inet.tos & ~uapi::iptos_ecn_mask) | ecn);
}

/// What a SYN asks for (RFC 9768 §3.1.1, table 2). §3.1.3: who speaks Accurate ECN takes the
/// combinations that are kept for later for a wish for it.
tcp_ecn_mode asked_by(const tcp_seg& seg) {
  const u8 ace = tcp_ace(seg);
  if (ace == 0) return tcp_ecn_mode::none;
  return ace == 0b011 ? tcp_ecn_mode::rfc3168 : tcp_ecn_mode::accecn;
}

/// What both want, where we want `most`.
tcp_ecn_mode agreed(const tcp_seg& seg, tcp_ecn_mode most) {
  if (most == tcp_ecn_mode::accecn) return asked_by(seg);
  const bool classic = (tcp_ace(seg) & 0b011) == 0b011;
  return classic ? most : tcp_ecn_mode::none;
}

/// RFC 9768 §3.1.5: SYNs for RFC 3168 and for Accurate ECN in one handshake. None at all is a
/// fall-back.
bool two_kinds(tcp_ecn_mode first, tcp_ecn_mode later) {
  return first != later && first != tcp_ecn_mode::none && later != tcp_ecn_mode::none;
}

/// RFC 3168 §6.1.1.1, RFC 9768 §3.1.4.1: whatever swallowed a SYN may have disliked its flags.
/// Accurate ECN is tried once more.
tcp_ecn_flags syn_flags(tcp_sock& tp) {
  if (tp.total_retrans == 0) tp.ecn.asked = tcp_ecn_asks(tp);
  const u32 tries = tp.ecn.asked == tcp_ecn_mode::accecn ? 1 : 0;
  const bool fallback = tp.tcp().sysctl.ecn_fallback != 0 && tp.total_retrans > tries;
  if (tp.ecn.asked == tcp_ecn_mode::none || fallback) return {};
  return {tcphdr_ece | tcphdr_cwr, tp.ecn.asked == tcp_ecn_mode::accecn};
}

/// The SYN+ACK of a socket (simultaneous open, Fast Open). RFC 9768 §3.2.3.2.2: it is tried once
/// more, then without.
tcp_ecn_flags synack_flags(tcp_sock& tp) {
  if (tp.ecn.mode == tcp_ecn_mode::none) return {};
  if (tp.ecn.mode == tcp_ecn_mode::rfc3168) return {tcphdr_ece};
  if (tp.ecn.synacks < accecn_synacks) {
    ++tp.ecn.synacks;
    return tcp_accecn_synack_flags(tp.ecn.handshake_ecn);
  }
  tp.ecn.no_ect = true;  // §3.1.5: the peer may go on without ECN
  return {};
}

/// RFC 8257 §3.2: each change of the mark is told at once; an acknowledgement that waits tells the
/// state before it.
void note_ce_state(cpu& cx, tcp_sock& tp, bool ce) {
  if (tp.ecn.ce_state != ce) {
    if (tp.delack_timer.armed()) {
      tp.ecn.demand_cwr = tp.ecn.ce_state;
      tcp_send_ack(cx, tp);
    }
    tp.ack_now = true;
    tp.ecn.ce_state = ce;
  }
  tp.ecn.demand_cwr = ce;
}

/// RFC 3168 §6.1.3 for a segment with data.
void receive_marks(cpu& cx, tcp_sock& tp, const tcp_seg& seg) {
  const bool by_marks = tp.ca->needs_ecn();
  if ((seg.flags & tcphdr_cwr) != 0) {
    tp.ecn.demand_cwr = false;
    tp.ack_now = true;  // the peer's window may be down to one segment
  }
  // §6.1.5: what was sent before says nothing about the path now.
  if (seg.end_seq <= tp.rcv_nxt) return;
  const u8 ecn = seg.ecn();
  if (ecn == uapi::iptos_ecn_not_ect) {
    // Only retransmissions come so: the peer has trouble and needs acknowledgements.
    if (tp.ecn.seen) tcp_enter_quickack(tp, 2);
    return;
  }
  tp.ecn.seen = true;
  const bool ce = ecn == uapi::iptos_ecn_ce;
  if (by_marks) {
    note_ce_state(cx, tp, ce);
  } else if (ce && !tp.ecn.demand_cwr) {
    tcp_enter_quickack(tp, 2);
    tp.ecn.demand_cwr = true;
  }
}

}  // namespace

tcp_ecn_mode tcp_ecn_asks(const tcp_sock& tp) {
  const s32 setting = tp.tcp().sysctl.ecn;
  if (setting == 3) return tcp_ecn_mode::accecn;
  const bool by_route = tp.dst && tp.dst->ecn;
  if (setting == 1 || setting == 4 || by_route || tp.ca->needs_ecn()) return tcp_ecn_mode::rfc3168;
  return tcp_ecn_mode::none;
}

tcp_ecn_mode tcp_ecn_answers(const tcp_sock& tp) {
  const s32 setting = tp.tcp().sysctl.ecn;
  if (setting >= 3) return tcp_ecn_mode::accecn;
  return setting != 0 || tp.ca->needs_ecn() ? tcp_ecn_mode::rfc3168 : tcp_ecn_mode::none;
}

tcp_ecn_flags tcp_ecn_send(tcp_sock& tp, u8 flags, tcp_ecn_load load) {
  const u8 ect = uapi::iptos_ecn_ect0;
  const bool new_data = load == tcp_ecn_load::new_data;
  if ((flags & tcphdr_syn) != 0) {
    const tcp_ecn_flags out = (flags & tcphdr_ack) != 0 ? synack_flags(tp) : syn_flags(tp);
    // RFC 3168 §6.1.1: SYNs are not marked, except where all must be (RFC 8257 §3.2).
    const bool marked = out.flags != 0 && tp.ca->needs_ecn();
    set_ip_ecn(tp, marked ? ect : uapi::iptos_ecn_not_ect);
    return out;
  }
  if (tp.ecn.mode == tcp_ecn_mode::none || (flags & tcphdr_rst) != 0) {
    set_ip_ecn(tp, uapi::iptos_ecn_not_ect);
    return {};
  }
  if (tp.ecn.mode == tcp_ecn_mode::accecn) {
    // RFC 9768 §2.1 leaves it open which packets may be marked; as Linux, all.
    set_ip_ecn(tp, tp.ecn.no_ect ? uapi::iptos_ecn_not_ect : ect);
    return tcp_accecn_flags(tp, flags, load);
  }
  tcp_ecn_flags out;
  // §6.1.4 and §6.1.5: neither bare acknowledgements nor retransmissions.
  set_ip_ecn(tp, new_data || tp.ca->needs_ecn() ? ect : uapi::iptos_ecn_not_ect);
  if (new_data && std::exchange(tp.ecn.queue_cwr, false)) out.flags |= tcphdr_cwr;
  if (tp.ecn.demand_cwr) out.flags |= tcphdr_ece;
  return out;
}

tcp_ecn_flags tcp_ecn_synack(tcp_request& req, u8& tos) {
  if (req.ecn == tcp_ecn_mode::none) return {};
  if (req.listener->ca->needs_ecn()) {
    tos = static_cast<u8>((tos & ~uapi::iptos_ecn_mask) | uapi::iptos_ecn_ect0);
  }
  if (req.ecn == tcp_ecn_mode::accecn) {
    // RFC 9768 §3.2.3.2.2: tried once more, then without.
    if (req.num_timeout < accecn_synacks) return tcp_accecn_synack_flags(req.syn_ecn);
    req.ecn_mixed = true;
    return {};
  }
  return {tcphdr_ece};
}

tcp_ecn_flags tcp_ecn_request_ack(const tcp_request& req) {
  return req.ecn == tcp_ecn_mode::accecn ? tcp_ace_flags(tcp_accecn_counters().cep)
                                         : tcp_ecn_flags{};
}

void tcp_ecn_rcv_synack(tcp_sock& tp, const tcp_seg& seg) {
  const bool ece = (seg.flags & tcphdr_ece) != 0;
  const bool cwr = (seg.flags & tcphdr_cwr) != 0;
  tp.ecn.mode = tcp_ecn_mode::none;
  if (tp.ecn.asked == tcp_ecn_mode::none) return;
  if (tp.ecn.asked == tcp_ecn_mode::accecn && tcp_accecn_rcv_synack(tp, seg)) return;
  // RFC 3168 §6.1.1: ECE alone agrees; both are our own flags, thrown back.
  if (ece && !cwr) tp.ecn.mode = tcp_ecn_mode::rfc3168;
}

void tcp_ecn_rcv_syn(tcp_sock& tp, const tcp_seg& seg) {
  // §6.1.1: who has sent a SYN without it must not use it.
  tp.ecn.mode = agreed(seg, tp.ecn.asked);
  tp.ecn.peer_asked = asked_by(seg);
  tp.ecn.handshake_ecn = seg.ecn();
}

void tcp_ecn_create_request(tcp_request& req, const tcp_seg& seg) {
  const tcp_sock& listener = *req.listener;
  req.ecn_asked = asked_by(seg);
  req.ecn = agreed(seg, tcp_ecn_answers(listener));
  req.syn_ecn = seg.ecn();
  // §6.1.1 forbids marks on a SYN of that kind: who sets them has other ideas of these bits.
  if (req.ecn == tcp_ecn_mode::rfc3168 && !seg.ae && seg.ecn() != uapi::iptos_ecn_not_ect &&
      !listener.ca->needs_ecn()) {
    req.ecn = tcp_ecn_mode::none;
  }
}

void tcp_ecn_create_child(tcp_sock& child, const tcp_request& req) {
  child.ecn = {};
  child.ecn.mode = req.ecn;
  child.ecn.peer_asked = req.ecn_asked;
  child.ecn.handshake_ecn = req.syn_ecn;
  child.ecn.synacks = req.num_retrans != 0 ? accecn_synacks : u8{1};
  // RFC 9768 §3.1.5: the client may have gone on without ECN, and then would not hear of marks.
  child.ecn.no_ect = req.ecn_mixed;
}

bool tcp_ecn_repeated_syn(tcp_request& req, const tcp_seg& seg) {
  if (tcp_ecn_answers(*req.listener) != tcp_ecn_mode::accecn) return true;
  if (two_kinds(req.ecn_asked, asked_by(seg))) return false;
  req.syn_ecn = seg.ecn();
  if (asked_by(seg) == tcp_ecn_mode::none) req.ecn_mixed = true;
  return true;
}

bool tcp_ecn_repeated_syn(tcp_sock& tp, const tcp_seg& seg) {
  if (tcp_ecn_answers(tp) != tcp_ecn_mode::accecn) return true;
  if (two_kinds(tp.ecn.peer_asked, asked_by(seg))) return false;
  tp.ecn.handshake_ecn = seg.ecn();
  if (asked_by(seg) == tcp_ecn_mode::none) tp.ecn.no_ect = true;
  return true;
}

void tcp_ecn_synack_again(tcp_sock& tp, const tcp_seg& seg) {
  if (tp.ecn.mode == tcp_ecn_mode::accecn) tcp_accecn_rcv_synack_again(tp, seg);
}

void tcp_ecn_rcv_crossed_synack(tcp_sock& tp, const tcp_seg& seg, tcp_seg& rest) {
  tcp_ecn_synack_again(tp, seg);
  rest.tos &= static_cast<u8>(~uapi::iptos_ecn_mask);
  // With Accurate ECN the field says the same on a SYN+ACK and on its ACK (tables 2 and 3).
  if (tp.ecn.mode == tcp_ecn_mode::rfc3168) rest.flags &= static_cast<u8>(~tcphdr_ece);
}

void tcp_ecn_established(cpu& cx, tcp_sock& tp) {
  if (!std::exchange(tp.ecn.syn_marked, false)) return;
  ++tp.ecn.delivered_ce;
  tp.net().mib().add(cx, mib::tcpext_tcp_delivered_ce);
  tcp_enter_cwr(cx, tp, loss_kind::ecn_echo);
}

void tcp_ecn_receive(cpu& cx, tcp_sock& tp, const tcp_seg& seg) {
  if (tp.ecn.mode == tcp_ecn_mode::accecn) {
    tcp_accecn_receive(tp, seg);
  } else if (tp.ecn.mode == tcp_ecn_mode::rfc3168 && seg.len != 0) {
    receive_marks(cx, tp, seg);
  }
}

void tcp_ecn_ack(cpu& cx, tcp_sock& tp, const tcp_seg& seg, tcp_ack_info& info) {
  const u32 delivered = info.acked_segs + info.sacked_segs;
  if (seg.syn() || tp.ecn.mode == tcp_ecn_mode::none) return;
  if (tp.ecn.mode == tcp_ecn_mode::accecn) {
    if (tp.state == tcp_state::syn_recv && tcp_accecn_third_ack(tp, seg)) return;
    info.ce_segs = tcp_accecn_ack(tp, seg, delivered, info.una_advanced);
    info.ecn_echo = info.ce_segs != 0;
  } else {
    info.ecn_echo = (seg.flags & tcphdr_ece) != 0;
    info.ce_segs = info.ecn_echo ? delivered : 0;
  }
  tp.ecn.delivered_ce += info.ce_segs;
  tp.net().mib().add(cx, mib::tcpext_tcp_delivered_ce, info.ce_segs);
}

}  // namespace ph
