// Reductions that were needless and are taken back: Eifel detection by timestamps (RFC 3522) and by
// D-SACK (RFC 3708), F-RTO for timeouts (RFC 5682); the response restores the window (RFC 4015).
#pragma once

#include "net/tcp/tcp_ack.h"

namespace ph {

/// A reduction begins: remembers what it will take away. Call before anything is changed.
void tcp_undo_begin(tcp_sock& tp);
/// `segs` segments were sent again.
void tcp_undo_retransmitted(tcp_sock& tp, u32 segs);
/// The peer had [start, end) twice.
void tcp_undo_duplicate(tcp_sock& tp, seq32 end, u32 segs);
/// Recovery or loss is over: was it needless? Restores the window then.
bool tcp_try_undo_recovery(cpu& cx, tcp_sock& tp);
/// A partial acknowledgement in fast recovery that came from the first copies. True: nothing more
/// is to be marked or sent again for it; the state is as before the recovery if nothing is on its
/// way twice.
bool tcp_try_undo_partial(cpu& cx, tcp_sock& tp);
/// All retransmissions were reported as duplicates.
bool tcp_try_undo_dsack(cpu& cx, tcp_sock& tp);
/// The timeout was needless (`frto`: known already).
bool tcp_try_undo_loss(cpu& cx, tcp_sock& tp, bool frto);

}  // namespace ph
