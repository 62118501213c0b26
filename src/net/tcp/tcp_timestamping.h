// What a sender is told about its bytes: when they left and were acknowledged (SO_TIMESTAMPING),
// and when a MSG_ZEROCOPY buffer is free. The byte that counts is the last of a send; when two
// sends share a packet, only the later one is reported, as on Linux.
#pragma once

#include "net/tcp/tcp_sock.h"

namespace ph {

/// The bytes up to write_seq were queued by a send with these skb_tx_flags and MSG_* flags.
void tcp_note_send(tcp_sock& tp, u8 tx_flags, u32 msg_flags);
/// A queued packet was cut in two: the watched byte is in one of them.
void tcp_split_watch(tcp_skb_cb& first, tcp_skb_cb& rest);
/// SND.UNA passed the whole packet.
void tcp_report_acked(cpu& cx, tcp_sock& tp, const sk_buff& skb);
/// SND.UNA moved to `una`: MSG_ZEROCOPY sends that end before are over.
void tcp_zerocopy_acked(cpu& cx, tcp_sock& tp, seq32 una);

}  // namespace ph
