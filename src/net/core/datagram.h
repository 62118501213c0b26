// What datagram sockets share: queueing with SO_RCVBUF, taking, peeking, copying out.
#pragma once

#include "net/core/sock.h"

namespace ph {

/// Queues a received datagram (data at the payload) or drops it: socket_rcvbuff when the buffer
/// is full, socket_filter when the program's filter refuses it. Returns whether it was queued.
bool sock_queue_rcv_skb(cpu& cx, sock& sk, skb_ptr skb);
/// Queues it, whatever the limit and the filter say.
void sock_enqueue_rcv_skb(cpu& cx, sock& sk, skb_ptr skb);
/// Drops a datagram for want of room, and counts that at the socket.
void sock_drop_rcvbuf(cpu& cx, sock& sk, skb_ptr skb);
/// The first packet, which stays in the queue until datagram_done. nullptr: the queue is empty
/// and the socket shut down for reading (recvmsg answers 0, to a caller who waits). Errors: again,
/// or the pending error, which is taken.
result<sk_buff*> datagram_peek(cpu& cx, sock& sk, u32 flags);
/// Copies payload bytes [offset, …) out by the scatter list, sets MSG_TRUNC; returns the result
/// of recvmsg (full length if MSG_TRUNC was asked).
std::size_t datagram_copy_out(const sk_buff& skb, u32 offset, recv_msg& msg);
/// Takes off and ends the packet that datagram_peek showed, unless flags has MSG_PEEK.
void datagram_done(cpu& cx, sock& sk, sk_buff& skb, u32 flags);
/// poll(2) bits of a datagram socket.
u32 datagram_poll(sock& sk);
/// SIOCINQ (bytes of the next datagram) and SIOCOUTQ. Errors: notty.
result<int> datagram_ioctl(sock& sk, u32 command, byte_span arg);
/// Adds SCM_TIMESTAMP and SO_RXQ_OVFL control messages as the options ask.
void sock_recv_cmsgs(sock& sk, const sk_buff& skb, recv_msg& msg);

}  // namespace ph
