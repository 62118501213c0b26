// SO_TIMESTAMP, SO_TIMESTAMPNS and SO_TIMESTAMPING, socket(7): when packets came, left and were
// acknowledged. Where time stamps of sent packets go is the protocol's affair (sock::tx_timestamp).
#pragma once

#include "net/core/sock.h"

namespace ph {

/// SO_TIMESTAMPING: sof_timestamping_* flags. Errors: inval (unknown or impossible flags; OPT_ID on
/// a stream that is not connected).
result<void> sock_set_timestamping(sock& sk, u32 flags);
/// What SOL_SOCKET says about one send: the socket's options, or control messages in their place.
struct sock_send_cmsg {
  u8 tx_flags = 0;  ///< skb_tx_flags, by SO_TIMESTAMPING
  u32 mark = 0, priority = 0;
};
/// Errors: inval (malformed or unknown control messages), perm (a mark, or a high priority, without
/// CAP_NET_ADMIN).
result<sock_send_cmsg> sock_cmsg_send(const sock& sk, byte_view control);
/// The time stamp control messages of a packet that arrived at `when`.
void sock_recv_timestamps(const sock& sk, instant when, recv_msg& msg);

}  // namespace ph
