// Segments arrive: the state machine of RFC 9293 §3.10.7.
#pragma once

#include "net/tcp/tcp_sock.h"

namespace ph {

/// HOT: a segment for a connection in ESTABLISHED. Consumes it (data at the payload).
void tcp_rcv_established(cpu& cx, tcp_sock& tp, skb_ptr skb, const tcp_seg& seg);
/// A segment for any other state but LISTEN. Consumes it.
void tcp_rcv_state_process(cpu& cx, tcp_sock& tp, skb_ptr skb, const tcp_seg& seg);
/// Which of the two.
void tcp_do_rcv(cpu& cx, tcp_sock& tp, skb_ptr skb, const tcp_seg& seg);

/// RFC 7323 §5.3: true when the timestamp is older than the last one taken.
bool tcp_paws_reject(const cpu& cx, bool have_recent, u32 ts_recent, instant stamp, u32 tsval,
                     bool rst);
/// The options of a SYN or SYN+ACK, as far as the namespace agrees with them.
void tcp_apply_syn_options(cpu& cx, tcp_sock& tp, const tcp_options_received& rx);
/// Takes the timestamp of an acceptable segment (RFC 7323 §4.3).
void tcp_store_ts_recent(cpu& cx, tcp_sock& tp, const tcp_seg& seg);

/// Urgent data (RFC 9293 §3.8.5), in tcp_urg.cpp: notes where it lies, and the byte if it is here.
void tcp_urg(cpu& cx, tcp_sock& tp, const sk_buff& skb, const tcp_seg& seg);
/// recvmsg with MSG_OOB. Errors: inval, again.
result<std::size_t> tcp_recv_urg(cpu& cx, tcp_sock& tp, recv_msg& msg);

}  // namespace ph
