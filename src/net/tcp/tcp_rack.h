// RACK-TLP (RFC 8985): a segment is lost when one sent later was delivered and the time by which
// the path may reorder has passed; a probe at the tail brings the acknowledgements that show it.
#pragma once

#include "net/tcp/tcp_ack.h"

namespace ph {

// --- loss by time -----------------------------------------------------------------------------

/// Selective acknowledgements are agreed and net.ipv4.tcp_recovery wants it.
[[nodiscard]] bool tcp_uses_rack(const tcp_sock& tp);
/// RFC 8985 §6.2 steps 1 to 3: `skb` was delivered, cumulatively or selectively.
void tcp_rack_delivered(cpu& cx, tcp_sock& tp, const sk_buff& skb, tcp_ack_info& info);
/// The path reorders: tp.reordering grows to the distance seen.
void tcp_note_reordering(cpu& cx, tcp_sock& tp, const tcp_ack_info& info);
/// Step 4: duplicates that the peer reports widen the reordering window.
void tcp_rack_update_reo_wnd(tcp_sock& tp, const tcp_ack_info& info);
/// Step 4, a recovery is over: the window forgets.
void tcp_rack_recovered(tcp_sock& tp);
/// Step 5: marks what is lost; true: the reordering timer was started for what may be.
bool tcp_rack_mark_lost(cpu& cx, tcp_sock& tp);
/// §6.3: has `skb` been out so long that a retransmission timeout may count it as lost?
[[nodiscard]] bool tcp_rack_overdue(cpu& cx, const tcp_sock& tp, const sk_buff& skb);
/// The reordering timer fired.
void tcp_rack_reo_timeout(cpu& cx, tcp_sock& tp);

// --- tail loss probe --------------------------------------------------------------------------

/// RFC 8985 §7.2: (re)starts the probe timer; false: none is due and the timer is as it was.
/// `fresh`: the retransmission timer would start over now.
bool tcp_schedule_loss_probe(cpu& cx, tcp_sock& tp, bool fresh);
/// §7.3: the probe timer fired.
void tcp_send_loss_probe(cpu& cx, tcp_sock& tp);
/// §7.4: what an acknowledgement says about the probe.
void tcp_process_tlp_ack(cpu& cx, tcp_sock& tp, const tcp_seg& seg, const tcp_ack_info& info);

}  // namespace ph
