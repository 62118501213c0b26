// SYN cookies (RFC 4987 §3.6): a listener whose queue is full keeps nothing of a SYN. What it must
// remember is the sequence number of its answer, and comes back in the acknowledgement. Window
// scale, SACK and ECN have no room there; they travel in the low bits of the timestamp, if the peer
// uses timestamps, and are forgotten otherwise.
//
// Not here: when to send cookies, and the SYN+ACK itself (tcp_request).
#pragma once

#include "net/tcp/tcp_sock.h"

namespace ph {

/// How long an answer stays good: the minute it was made in and the next one.
inline constexpr duration tcp_cookie_period = seconds(60);
inline constexpr u32 tcp_cookie_periods = 2;

/// The first sequence number for a SYN+ACK. `mss`: what the SYN announced; becomes the largest of
/// the four values that a cookie can say and that is not larger.
seq32 tcp_cookie_make(const cpu& cx, const tcp_net& tn, const inet_tuple& tuple, seq32 peer_isn,
                      u16& mss);
/// The MSS in a cookie; none when it is forged or too old.
std::optional<u16> tcp_cookie_check(const cpu& cx, const tcp_net& tn, const inet_tuple& tuple,
                                    seq32 peer_isn, seq32 cookie);

/// What a timestamp remembers.
struct tcp_cookie_options {
  bool wscale_ok = false;
  u8 snd_wscale = 0;
  bool sack_ok = false;
  bool ecn_ok = false;
};
/// The latest timestamp not after `clock` (milliseconds) that says this.
u32 tcp_cookie_timestamp(u32 clock, const tcp_cookie_options& options);
/// Reads an echo of it.
tcp_cookie_options tcp_cookie_read_timestamp(u32 echo);

/// Cookies went out: acknowledgements of them are believed for a while.
void tcp_cookie_sent(cpu& cx, tcp_sock& listener);
/// An ACK that no half-open connection knows. True: it acknowledged a cookie and was consumed.
bool tcp_cookie_ack(cpu& cx, tcp_sock& listener, skb_ptr& skb, const tcp_seg& seg,
                    const inet_tuple& tuple);

}  // namespace ph
