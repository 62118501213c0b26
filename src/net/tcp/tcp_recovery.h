// Loss: which segments are gone, the congestion states that follow, and sending them again
// (RFC 5681 fast retransmit, RFC 6582 NewReno, RFC 8985 RACK or else RFC 6675, RFC 3042 limited
// transmit).
#pragma once

#include "net/tcp/tcp_ack.h"

namespace ph {

/// After an acknowledgement cleared and marked the queue: finds losses, enters and leaves recovery.
void tcp_fastretrans_alert(cpu& cx, tcp_sock& tp, tcp_ack_info& info);
/// Sends what is lost and, by RFC 6675 NextSeg(), what follows.
/// `new_first`: RFC 5682 step 2b, new data are to show whether the timeout was needless.
void tcp_xmit_recovery(cpu& cx, tcp_sock& tp, bool new_first = false);
/// The retransmission timer fired: everything not selectively acknowledged counts as lost.
void tcp_enter_loss(cpu& cx, tcp_sock& tp);
/// The device below or the path (ECN) is congested: one reduction per window.
void tcp_enter_cwr(cpu& cx, tcp_sock& tp, loss_kind why = loss_kind::local_congestion);
/// The path MTU fell: packets that no longer fit are sent again, without blame.
void tcp_simple_retransmit(cpu& cx, tcp_sock& tp);
/// RFC 5681 §4.1: after idle times longer than the RTO the window starts over.
void tcp_cwnd_restart_after_idle(cpu& cx, tcp_sock& tp);
/// One packet counts as lost from now on; one that was sent again is lost again.
void tcp_mark_lost(cpu& cx, tcp_sock& tp, sk_buff& skb);
/// Time showed losses (no acknowledgement did): recovery begins or goes on, what may leave leaves.
void tcp_recover_by_time(cpu& cx, tcp_sock& tp);
/// A loss that is already repaired: one reduction, and it is over.
void tcp_reduce_once(cpu& cx, tcp_sock& tp);

}  // namespace ph
