// SO_TIMESTAMP, SO_TIMESTAMPNS and SO_TIMESTAMPING, socket(7): when packets came, left and were
// acknowledged. Where time stamps of sent packets go is the protocol's affair (sock::tx_timestamp).
#pragma once

#include "net/core/sock.h"

namespace ph {

/// SO_TIMESTAMPING: sof_timestamping_* flags. Errors: inval (unknown or impossible flags; OPT_ID on
/// a stream that is not connected).
result<void> sock_set_timestamping(sock& sk, u32 flags);
/// skb_tx_flags for a send: the socket's, or those of its SO_TIMESTAMPING control message. Errors:
/// inval (malformed or unknown SOL_SOCKET control messages).
result<u8> sock_tx_flags(const sock& sk, byte_view control);
/// The time stamp control messages of a packet that arrived at `when`.
void sock_recv_timestamps(const sock& sk, instant when, recv_msg& msg);

}  // namespace ph
