// Received data: in order into the receive queue, out of order into a tree; the memory both may
// take, and how the receive buffer grows with what the program really reads.
#pragma once

#include "net/tcp/tcp_sock.h"

namespace ph {

/// Takes the payload (at data) of an acceptable segment; consumes it. RFC 9293 §3.10.7.4, seventh
/// and eighth step (a FIN in order is processed too).
void tcp_data_queue(cpu& cx, tcp_sock& tp, skb_ptr skb);
/// HOT: appends in-order data; the caller has checked window and memory.
void tcp_queue_rcv(cpu& cx, tcp_sock& tp, skb_ptr skb);
/// Bookkeeping for each packet with data: RTT of the peer, delayed ACKs, window growth. Sizes in
/// bytes; `segment`: of each that it was on the wire.
struct tcp_arrival {
  u32 len = 0, segment = 0, truesize = 0;
  u8 flags = 0;
};
tcp_arrival tcp_arrival_of(const sk_buff& skb);
void tcp_event_data_recv(cpu& cx, tcp_sock& tp, const tcp_arrival& data);
/// Sends or schedules the acknowledgement that is owed.
void tcp_ack_snd_check(cpu& cx, tcp_sock& tp);
/// Acknowledge the next segments at once (at most `most`).
void tcp_enter_quickack(tcp_sock& tp, u32 most);
[[nodiscard]] inline bool tcp_in_quickack(const tcp_sock& tp) {
  if (tp.dst && tp.dst->quickack) return true;
  return tp.quick != 0 && !tp.pingpong;
}
/// The program has read: the window may open, the buffer may grow.
void tcp_cleanup_rbuf(cpu& cx, tcp_sock& tp, std::size_t copied);
void tcp_rcv_space_adjust(cpu& cx, tcp_sock& tp);
/// Buffers of a connection that has just been agreed.
void tcp_init_buffer_space(cpu& cx, tcp_sock& tp);
void tcp_initialize_rcv_mss(tcp_sock& tp);
/// The peer's FIN arrived in order.
void tcp_fin(cpu& cx, tcp_sock& tp);
/// Is there as much to read as the program waits for, or as much as it will get?
[[nodiscard]] bool tcp_readable(const tcp_sock& tp, u32 target);
/// Tells the program that there is something to read.
void tcp_data_ready(tcp_sock& tp);
/// A duplicate arrived: answer at once, with D-SACK if agreed.
void tcp_send_dupack(cpu& cx, tcp_sock& tp, seq32 seq, seq32 end_seq);

}  // namespace ph
