// TIME-WAIT as a small object (RFC 9293 §3.6.1, RFC 6191, RFC 1337): it answers what arrives late
// and gives way to a new connection that is certainly newer. FIN-WAIT-2 of a connection whose
// program is gone is one, too: nothing but the peer's FIN is still of use.
#pragma once

#include "net/tcp/tcp_auth.h"
#include "net/tcp/tcp_sock.h"

namespace ph {

/// The keys of the connection, and what they need of it.
struct tcp_timewait_auth {
  tcp_auth auth;
  tcp_auth_ends ends;
};

struct tcp_timewait final : counted, ehash_entry, tcp_agreed_options {
  /// One in memory of its namespace (tcp_net::timewait_memory).
  static ref<tcp_timewait> create(net_namespace& net, const inet_af_ops& af);
  static void release_last(tcp_timewait* tw);
  tcp_timewait(net_namespace& n, const inet_af_ops& af)
      : ehash_entry(ehash_kind::timewait), net(n), af_ops(&af) {}
  net_namespace& net;
  const inet_af_ops* af_ops;
  ref<tcp_timewait> self;         ///< held until its time is over
  cpu* home = nullptr;
  timer expiry;
  seq32 rcv_nxt, snd_nxt;
  u32 rcv_wnd = 0;                ///< bytes
  u32 ack_reach = 0;              ///< how far below snd_nxt an acknowledgement may lie
  instant last_ack{};
  bool fin_wait2 = false;  ///< the peer's FIN is still to come
  bool acked = false;      ///< last_ack is one
  bool reuseaddr = false, reuseport = false;
  u8 tos = 0;
  std::unique_ptr<tcp_timewait_auth> signing;  ///< nullptr: segments are not signed
  [[nodiscard]] tcp_auth* auth() const { return signing ? &signing->auth : nullptr; }
  [[nodiscard]] const tcp_auth_ends* ends() const { return signing ? &signing->ends : nullptr; }
};
static_assert(sizeof(tcp_timewait) <= tcp_timewait_bytes);

/// The connection enters TIME-WAIT: a small object takes its place, the socket is closed. None does
/// when there are too many (net.ipv4.tcp_max_tw_buckets).
void tcp_time_wait(cpu& cx, tcp_sock& tp);
/// A connection in FIN-WAIT-2 has no program any more: it waits for the peer's FIN as long as
/// tcp_fin_time says, at last as a small object.
void tcp_fin_wait2_orphaned(cpu& cx, tcp_sock& tp);
/// Its last minute begins.
void tcp_fin_wait2_last_minute(cpu& cx, tcp_sock& tp);
/// A segment for an entry. Consumes it, or leaves it in `skb` and returns the sequence number from
/// which a new connection may begin (the entry is gone then). `listening`: somebody would take it.
std::optional<seq32> tcp_timewait_rcv(cpu& cx, tcp_timewait& tw, skb_ptr& skb, const tcp_seg& seg,
                                      bool listening);
/// Ends an entry before its time.
void tcp_timewait_kill(tcp_timewait& tw);
/// May a new connection from here take over the ends of `tw` (net.ipv4.tcp_tw_reuse and
/// tcp_tw_reuse_delay)?
bool tcp_timewait_reusable(const cpu& cx, const tcp_timewait& tw);
/// Until when that is certainly not so, as far as is known now.
instant tcp_timewait_held_until(const cpu& cx, const tcp_timewait& tw);

}  // namespace ph
