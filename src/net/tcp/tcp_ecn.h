// Explicit Congestion Notification: asking for it and answering, which packets may be marked, what
// marks and echoes cause (RFC 3168 §6.1; RFC 8257 §3.2 for algorithms that work by marks). The
// counters of Accurate ECN are in tcp_accecn.
//
// net.ipv4.tcp_ecn, as Linux numbers it (answer = passive opens, ask = active ones):
//   0 never              1 answer and ask RFC 3168     2 answer RFC 3168
//   3 answer and ask AccECN     4 answer AccECN, ask RFC 3168     5 answer AccECN
#pragma once

#include "net/tcp/tcp_ack.h"

namespace ph {

/// What our SYN asks for, and what a listener grants at most.
tcp_ecn_mode tcp_ecn_asks(const tcp_sock& tp);
tcp_ecn_mode tcp_ecn_answers(const tcp_sock& tp);

/// The flags of ECN in a TCP header.
struct tcp_ecn_flags {
  u8 flags = 0;     ///< ECE and CWR
  bool ae = false;
};

/// What a segment carries.
enum class tcp_ecn_load : u8 { none, sent_before, new_data };

/// A segment of a socket leaves: its flags, and (in tp.inet.tos) the IP-ECN field of its packet.
tcp_ecn_flags tcp_ecn_send(tcp_sock& tp, u8 flags, tcp_ecn_load load);
/// The flags of a request's SYN+ACK (`tos`: of the packet), and of an ACK of where it stands.
tcp_ecn_flags tcp_ecn_synack(tcp_request& req, u8& tos);
tcp_ecn_flags tcp_ecn_request_ack(const tcp_request& req);

/// SYN+ACK to our SYN, their SYN across ours, a SYN for a listener, the socket it becomes.
void tcp_ecn_rcv_synack(tcp_sock& tp, const tcp_seg& seg);
void tcp_ecn_rcv_syn(tcp_sock& tp, const tcp_seg& seg);
void tcp_ecn_create_request(tcp_request& req, const tcp_seg& seg);
void tcp_ecn_create_child(tcp_sock& child, const tcp_request& req);
/// The SYN once more. False: it asks in another way than before, and the connection must be reset
/// (RFC 9768 §3.1.5), for the two ends could not know what they agreed on.
bool tcp_ecn_repeated_syn(tcp_request& req, const tcp_seg& seg);
/// The same for a socket in SYN-RECEIVED (Fast Open, simultaneous open).
bool tcp_ecn_repeated_syn(tcp_sock& tp, const tcp_seg& seg);
/// The SYN+ACK once more, in a synchronized state: the ACK that follows answers it.
void tcp_ecn_synack_again(tcp_sock& tp, const tcp_seg& seg);
/// The SYN+ACK of a simultaneous open; what a SYN means by ECN leaves `rest`, which goes on.
void tcp_ecn_rcv_crossed_synack(tcp_sock& tp, const tcp_seg& seg, tcp_seg& rest);
/// The connection stands: a mark on our SYN or SYN+ACK counts like one on data (§3.2.2.2).
void tcp_ecn_established(cpu& cx, tcp_sock& tp);

/// An acceptable segment in a synchronized state, before its data are taken.
void tcp_ecn_receive(cpu& cx, tcp_sock& tp, const tcp_seg& seg);
/// Its acknowledgement: sets ecn_echo and ce_segs. `delivered` is known.
void tcp_ecn_ack(cpu& cx, tcp_sock& tp, const tcp_seg& seg, tcp_ack_info& info);

/// The window shrinks: the peer is told with the next new data. And the reduction was needless.
inline void tcp_ecn_queue_cwr(tcp_sock& tp) {
  if (tp.ecn.mode == tcp_ecn_mode::rfc3168) tp.ecn.queue_cwr = true;
}
inline void tcp_ecn_withdraw_cwr(tcp_sock& tp) { tp.ecn.queue_cwr = false; }
/// ECE and CWR say nothing unusual (header prediction).
inline u8 tcp_ecn_usual_flags(const tcp_sock& tp) {
  return tp.ecn.mode == tcp_ecn_mode::accecn ? u8{tcphdr_ece | tcphdr_cwr} : u8{0};
}

}  // namespace ph
