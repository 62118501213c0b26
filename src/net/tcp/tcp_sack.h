// Selective acknowledgement in both directions: the peer's blocks mark our retransmission queue
// (RFC 2018 §4, RFC 6675), our blocks tell the peer what lies out of order (RFC 2018 §4) and what
// came twice (RFC 2883).
#pragma once

#include "net/tcp/tcp_ack.h"

namespace ph {

/// Marks what the peer's blocks (tp.rx) cover.
void tcp_sacktag_write_queue(cpu& cx, tcp_sock& tp, const tcp_seg& seg, tcp_ack_info& info);
/// How many of `blocks` fit into so many bytes of options.
std::size_t tcp_sack_blocks_that_fit(std::size_t room, std::size_t blocks);
/// Puts our blocks into the options to send.
void tcp_sack_options(const tcp_sock& tp, tcp_out_options& out);
/// New data [seq, end) lie out of order: they head the list.
void tcp_sack_new_ofo(tcp_sock& tp, seq32 seq, seq32 end);
/// RCV.NXT moved: blocks before it go.
void tcp_sack_remove(tcp_sock& tp);
/// [seq, end) came twice.
void tcp_dsack_set(cpu& cx, tcp_sock& tp, seq32 seq, seq32 end, bool ofo);
/// One more duplicate of the same segment: a D-SACK reports the first stretch (RFC 2883 §4.2.2),
/// which grows if this one touches it.
void tcp_dsack_extend(cpu& cx, tcp_sock& tp, seq32 seq, seq32 end);

}  // namespace ph
