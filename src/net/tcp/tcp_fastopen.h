// TCP Fast Open, RFC 7413: cookies, data in a SYN on both sides, and what a namespace remembers
// of servers.
#pragma once

#include "net/tcp/tcp_sock.h"

namespace ph {

/// Bits of net.ipv4.tcp_fastopen (ip-sysctl).
enum : s32 {
  tfo_client_enable = 1,
  tfo_server_enable = 2,
  tfo_client_no_cookie = 4,       ///< send data without having a cookie
  tfo_server_cookie_not_reqd = 0x200,
  tfo_server_all_listeners = 0x400,
};

// --- cookies (§4.1.2) -------------------------------------------------------------------------

/// "xxxxxxxx-xxxxxxxx-xxxxxxxx-xxxxxxxx", or two of them with a comma between.
[[nodiscard]] bool tcp_fastopen_key_valid(std::string_view text);
/// The 16 or 32 bytes of TCP_FASTOPEN_KEY. Errors: inval.
result<std::vector<siphash_key>> tcp_fastopen_read_key(byte_view bytes);
/// The keys with which a listener makes and checks cookies: its own or the namespace's; the first
/// makes new ones.
std::vector<siphash_key> tcp_fastopen_keys(const tcp_sock& listener);
/// The cookie that `peer` may use towards `local`.
tcp_fastopen_cookie tcp_fastopen_make_cookie(const siphash_key& key, const inet_addr& peer,
                                             const inet_addr& local);

// --- server (§4.2) ----------------------------------------------------------------------------

/// What a listener does with a SYN.
struct tcp_fastopen_verdict {
  bool accept = false;            ///< take its data and answer before the handshake ends
  tcp_fastopen_cookie cookie;     ///< for the SYN+ACK, if present
};
tcp_fastopen_verdict tcp_fastopen_judge(cpu& cx, tcp_sock& listener, const tcp_seg& seg,
                                        const inet_tuple& tuple,
                                        const tcp_fastopen_cookie& offered);
/// The connection of an accepted SYN sends its SYN+ACK and takes the data. Consumes the packet.
void tcp_fastopen_begin(cpu& cx, tcp_sock& child, skb_ptr skb, const tcp_seg& seg);
/// The SYN of such a connection came again: so does the answer.
void tcp_fastopen_repeat(cpu& cx, tcp_sock& tp);
/// The handshake of such a connection is over, in one way or the other.
void tcp_fastopen_child_done(tcp_sock& tp);
/// The same, by a RST. It counts for the listener's limit for a minute more (RFC 7413 §5.1): who
/// forges SYNs and has their victims answer must not have a new child for each.
void tcp_fastopen_child_reset(cpu& cx, tcp_sock& tp);

// --- client (§4.2.1) --------------------------------------------------------------------------

/// The part of connect(2) before the SYN: ends, route, port, variables, SYN-SENT (tcp_connect.cpp).
/// On errors the socket is as before.
result<void> tcp_begin_connect(cpu& cx, tcp_sock& tp, byte_view addr);
/// A connection that the program was still waiting for has failed: says why, once; the socket may
/// begin anew.
errc tcp_connect_failed(cpu& cx, tcp_sock& tp);
/// Begins a connection's SYN: takes the cookie for the peer from what is remembered, or asks for
/// one. Returns the payload bytes that the SYN may carry.
u32 tcp_fastopen_prepare(cpu& cx, tcp_sock& tp);
/// May connect() be put off until there are data (TCP_FASTOPEN_CONNECT)?
[[nodiscard]] bool tcp_fastopen_defers(cpu& cx, tcp_sock& tp);
/// The SYN+ACK: remembers the cookie, sends again what was not acknowledged of the SYN's data.
/// True when such data went out (and with them the acknowledgement).
bool tcp_fastopen_synack(cpu& cx, tcp_sock& tp, const tcp_options_received& rx);
/// A router could not forward the SYN with data: the SYN goes alone, at once.
void tcp_fastopen_syn_too_big(cpu& cx, tcp_sock& tp);

}  // namespace ph
