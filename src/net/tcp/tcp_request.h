// Half-open connections as small objects: what a listener knows between SYN and the ACK of its
// SYN+ACK (SYN-RECEIVED of a passive open, RFC 9293 §3.10.7.2).
#pragma once

#include "net/tcp/tcp_sock.h"

namespace ph {

struct tcp_request final : counted,
                           ehash_entry,
                           tcp_agreed_options,
                           list_hook<struct tcp_request_tag> {
  explicit tcp_request(tcp_sock& l) : ehash_entry(ehash_kind::request), listener(&l) {}
  tcp_sock* listener;             ///< which outlives it
  ref<tcp_request> self;          ///< held while listed
  timer resend;
  seq32 rcv_isn, snt_isn;
  u16 peer_mss = 0;
  u16 advmss = 0;
  bool acked = false;             ///< the ACK came, but waits for data or room
  u8 num_timeout = 0;
  u8 num_retrans = 0;
  u8 tos = 0;
  tcp_ecn_mode ecn = tcp_ecn_mode::none;
  tcp_ecn_mode ecn_asked = tcp_ecn_mode::none;  ///< what the first SYN asked for
  bool ecn_mixed = false;         ///< another SYN or SYN+ACK went without it
  bool signed_by_ao = false;      ///< the SYN, with these identifiers for the answer
  u8 ao_keyid = 0, ao_rnextkeyid = 0;
  u8 syn_ecn = 0;                 ///< IP-ECN of the latest SYN
  tcp_fastopen_cookie fastopen_cookie;  ///< for the SYN+ACK
  u32 tsval_first = 0, tsval_last = 0;  ///< of our answers: what the peer may echo
  u32 rcv_wnd = 0, window_clamp = 0;
  instant sent_at{};
  instant last_answer{};
  bool answered = false;
};

/// A SYN for a listener. `isn`: from TIME-WAIT, else a fresh one. Consumes the packet.
void tcp_conn_request(cpu& cx, tcp_sock& listener, skb_ptr skb, const tcp_seg& seg,
                      const inet_tuple& tuple, std::optional<seq32> isn);
/// A segment for LISTEN (RFC 9293 §3.10.7.2). Consumes it.
void tcp_rcv_listen(cpu& cx, tcp_sock& listener, skb_ptr skb, const tcp_seg& seg,
                    const inet_tuple& tuple, std::optional<seq32> isn);
/// A segment for a half-open connection. Consumes it.
void tcp_check_req(cpu& cx, tcp_request& req, skb_ptr skb, const tcp_seg& seg);
/// The route back to the peer: its dst gives MTU and metrics.
result<ref<dst_entry>> tcp_request_route(cpu& cx, const tcp_request& req);
/// What the SYN+ACK announces: MSS, window and its scale, as the route has it.
void tcp_request_set_window(tcp_request& req, const dst_entry& route, instant now);
/// The handshake is complete: a socket takes the place of the request and gets the segment, unless
/// the accept queue is full. Consumes the packet.
void tcp_request_complete(cpu& cx, tcp_request& req, skb_ptr skb, const tcp_seg& seg);
/// Connections with that host ended well before (so it exists and is reachable).
bool tcp_peer_proven(const tcp_net& tn, const inet_addr& peer);
void tcp_prove_peer(tcp_net& tn, const inet_addr& peer);
/// Forgets a half-open connection.
void tcp_request_drop(tcp_request& req);
/// The listener ends: half-open and unaccepted connections end with it.
void tcp_listen_stop(cpu& cx, tcp_sock& listener);

}  // namespace ph
