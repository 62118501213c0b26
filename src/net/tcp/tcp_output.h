// Sending: segment sizes, the window we offer, choosing and cutting what to send, and building
// each segment.
#pragma once

#include "net/tcp/tcp_auth.h"
#include "net/tcp/tcp_sock.h"

namespace ph {

// --- segment size (tcp_mss.cpp) ---------------------------------------------------------------

/// Payload of a full segment (without SACK blocks) for a path MTU in bytes, bounded by what the
/// peer accepts and by half of its largest window (RFC 9293 §3.7.1, §3.8.6.2.1).
u32 tcp_mtu_to_mss(const tcp_sock& tp, u32 pmtu);
/// Recomputes mss_cache for the path MTU; returns it.
u32 tcp_sync_mss(tcp_sock& tp, u32 pmtu);
/// mss_cache for the route at hand, less the SACK blocks that go with the next segment.
u32 tcp_current_mss(cpu& cx, tcp_sock& tp);
/// Bytes of TCP options that a segment may have: 40, unless the path's packets are so small that
/// eight bytes of payload would not fit beside them.
std::size_t tcp_option_room(const tcp_sock& tp);
/// How many of them are left beside `out`.
std::size_t tcp_option_room_left(const tcp_sock& tp, const tcp_out_options& out);
/// How many payload bytes sendmsg gathers into one packet: whole segments, at most half of the
/// peer's largest window.
u32 tcp_size_goal(const tcp_sock& tp, u32 mss);
/// The MSS we advertise: what the route's MTU allows.
u32 tcp_advertise_mss(cpu& cx, const tcp_sock& tp);
/// The same of a listener for a peer behind `route`.
u32 tcp_advertise_mss(const tcp_sock& tp, const dst_entry& route, instant now);
/// The largest window to offer, in bytes; 0: no limit. `clamp`: TCP_WINDOW_CLAMP. A buffer that the
/// program fixed (SO_RCVBUF) cannot grow, so the scale need not allow for more.
u32 tcp_window_limit(const tcp_sock& tp, u32 clamp, const dst_entry* route);
/// Scale and first window for a receive buffer (RFC 7323 §2).
struct tcp_initial_window {
  u32 rcv_wnd = 0, window_clamp = 0;
  u8 wscale = 0;
};
/// `clamp`: of tcp_window_limit; `route` (may be nullptr) can limit the first window.
tcp_initial_window tcp_select_initial_window(const tcp_sysctls& sysctl, const dst_entry* route,
                                             u32 space, u32 clamp, u32 mss, bool wscale_ok);

// --- one segment (tcp_xmit.cpp) ---------------------------------------------------------------

/// The window that an acknowledgement sent now would offer, in bytes (RFC 9293 §3.8.6.2.2).
u32 tcp_choose_window(tcp_sock& tp);
/// Sends `flags` at `seq` with the payload of `data` (a queued packet, may be nullptr).
xmit_result tcp_transmit_skb(cpu& cx, tcp_sock& tp, sk_buff* data, seq32 seq, u8 flags);
/// The number of a segment that carries nothing: SND.NXT, unless the peer took back so much of its
/// window that this lies outside (RFC 9293 §3.10.7.4, first check: it would not be heard).
[[nodiscard]] seq32 tcp_acceptable_seq(const tcp_sock& tp);
/// A bare acknowledgement of rcv_nxt.
void tcp_send_ack(cpu& cx, tcp_sock& tp);
/// <SEQ=tcp_acceptable_seq><CTL=RST,ACK>.
void tcp_send_active_reset(cpu& cx, tcp_sock& tp);
/// A segment with nothing new (SEQ = SND.UNA - 1), which the peer must answer.
xmit_result tcp_send_probe(cpu& cx, tcp_sock& tp);

/// A segment that no full socket owns.
struct tcp_reply {
  inet_af_ops::reply_info info;   ///< addresses and ports as the receiver sees them; local is ours
  seq32 seq, ack_seq;
  u8 flags = 0;
  bool ae = false;
  u16 window = 0;
  tcp_out_options options;
  tcp_signer signer;
};
void tcp_send_reply(cpu& cx, net_namespace& net, const inet_af_ops& af, tcp_reply reply);
/// Answers a segment that belongs to nothing with RST (RFC 9293 §3.10.7.1); never a RST.
void tcp_reply_reset(cpu& cx, net_namespace& net, const inet_af_ops& af, const inet_tuple& tuple,
                     const tcp_seg& seg, const tcp_auth* auth = nullptr,
                     const tcp_auth_ends* ends = nullptr);
/// The same for a socket, and for a listener with whom the segment's sender thinks to speak; signed
/// as their segments are.
void tcp_reply_reset(cpu& cx, tcp_sock& tp, const tcp_seg& seg);
void tcp_reply_reset(cpu& cx, tcp_sock& listener, const inet_tuple& tuple, const tcp_seg& seg);

// --- the queue (tcp_output.cpp) ---------------------------------------------------------------

/// It is on its way, as far as this host knows.
constexpr bool tcp_left_host(xmit_result result) {
  return result == xmit_result::sent || result == xmit_result::congested;
}

enum class tcp_nagle : u8 { normal, push, cork };

/// HOT: sends what window, congestion window and Nagle allow. True when the queue is stuck although
/// nothing is in flight (the persist timer must run).
bool tcp_write_xmit(cpu& cx, tcp_sock& tp, tcp_nagle mode);
/// tcp_write_xmit and, if needed, the persist timer (the first of the two ends an old one).
void tcp_push_pending(cpu& cx, tcp_sock& tp, tcp_nagle mode = tcp_nagle::normal);
/// Sends again from the retransmission queue, at most `segs` segments of a packet (the rest is cut
/// off). Refused: the peer's window does not take it, or there is no way out of this host. What did
/// not leave the host is not in flight; the next acknowledgement or timeout tries again.
xmit_result tcp_retransmit_skb(cpu& cx, tcp_sock& tp, sk_buff& skb, u32 segs = 1);
/// As tcp_retransmit_skb for a loss probe: the copy does not count as being in flight.
xmit_result tcp_resend_skb(cpu& cx, tcp_sock& tp, sk_buff& skb, u32 segs = 1);
/// Sends one segment of new data whatever the congestion window; false: none fits the peer's.
bool tcp_send_new_probe(cpu& cx, tcp_sock& tp);
/// SYN of an active open, with the payload of `data` (at iss + 1) if there is one.
void tcp_send_syn(cpu& cx, tcp_sock& tp, skb_ptr data = {});
/// FIN behind everything queued.
void tcp_send_fin(cpu& cx, tcp_sock& tp);
/// One segment into a closed or small window (RFC 9293 §3.8.6.1).
xmit_result tcp_write_wakeup(cpu& cx, tcp_sock& tp);
/// Cuts a queued packet in two at `len` payload bytes; the second becomes its successor.
enum class tcp_queue : u8 { write, rtx };
void tcp_fragment(cpu& cx, tcp_sock& tp, tcp_queue queue, sk_buff& skb, u32 len, u32 mss);
/// An empty packet for the queues.
skb_ptr tcp_stream_alloc(cpu& cx, tcp_sock& tp, seq32 seq, u8 flags);
/// A packet leaves the queues for ever.
void tcp_free_queued(cpu& cx, tcp_sock& tp, skb_ptr skb);
/// Segments of `mss` in a packet.
void tcp_set_pcount(sk_buff& skb, u32 mss);

}  // namespace ph
