// Loss: which segments are gone, the congestion states that follow, and sending them again
// (RFC 5681 fast retransmit, RFC 6582 NewReno, RFC 6675 SACK recovery, RFC 3042 limited transmit).
#pragma once

#include "net/tcp/tcp_ack.h"

namespace ph {

/// After an acknowledgement cleared and marked the queue: finds losses, enters and leaves recovery.
void tcp_fastretrans_alert(cpu& cx, tcp_sock& tp, tcp_ack_info& info);
/// Sends what is lost and, by RFC 6675 NextSeg(), what follows.
void tcp_xmit_recovery(cpu& cx, tcp_sock& tp);
/// The retransmission timer fired: everything not selectively acknowledged counts as lost.
void tcp_enter_loss(cpu& cx, tcp_sock& tp);
/// The device below is congested: one reduction per window.
void tcp_enter_cwr(cpu& cx, tcp_sock& tp);
/// The path MTU fell: packets that no longer fit are sent again, without blame.
void tcp_simple_retransmit(cpu& cx, tcp_sock& tp);
/// RFC 5681 §4.1: after idle times longer than the RTO the window starts over.
void tcp_cwnd_restart_after_idle(cpu& cx, tcp_sock& tp);
/// One packet counts as lost from now on.
void tcp_mark_lost(tcp_sock& tp, sk_buff& skb);

}  // namespace ph
