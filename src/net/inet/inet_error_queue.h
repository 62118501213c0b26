// The error queue of IP sockets, read with MSG_ERRQUEUE: ICMP and local errors (IP_RECVERR, ip(7)),
// when packets left or were acknowledged (SO_TIMESTAMPING), and buffers that a MSG_ZEROCOPY send
// gives back.
#pragma once

#include "net/inet/inet_sock.h"
#include "uapi/inet.h"

namespace ph {

/// One entry's description.
struct inet_exterr {
  static constexpr cb_owner owner{"inet error"};
  uapi::sock_extended_err ee;
  inet_addr offender;   ///< who reported; any: nobody but us
  inet_addr dest;       ///< where the packet at fault was going
  u16 port = 0;
};

/// The packet that reported an error, for the control messages that the program asked for.
struct inet_reporter {
  byte_view header;  ///< its network header; empty: nobody reported but us
  u32 iif = 0;
  instant when{};    ///< when it came, or of what a time stamp reports
};

/// Queues an entry with what the packet at fault carried; lost when SO_RCVBUF is full.
void inet_queue_error(cpu& cx, inet_sock& sk, const inet_exterr& what, byte_view payload,
                      const inet_reporter& from = {});
/// Queues the time at which `what` (skb_tx_flags) happened to datagram or byte `key`, with the
/// packet itself unless SOF_TIMESTAMPING_OPT_TSONLY is set.
void inet_queue_timestamp(cpu& cx, inet_sock& sk, u8 what, u32 key, const sk_buff* packet);
/// Tells that the buffer of MSG_ZEROCOPY send `id` is free: it was copied, as SO_EE_CODE says.
/// Consecutive numbers share one entry.
void inet_zerocopy_done(cpu& cx, inet_sock& sk, u32 id);
/// recvmsg with MSG_ERRQUEUE. Errors: again.
result<std::size_t> inet_recv_error(cpu& cx, inet_sock& sk, recv_msg& msg);

}  // namespace ph
