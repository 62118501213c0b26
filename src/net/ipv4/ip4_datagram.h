// What UDP, raw and ping sockets over IPv4 do alike: destinations, routes, connect, limits.
#pragma once

#include "net/ipv4/ip_mc_options.h"
#include "net/ipv4/ip_sockglue.h"
#include "net/ipv4/route.h"

namespace ph {

/// Where one datagram goes and how.
struct ip4_destination {
  ip4_destination() = default;
  ip4_destination(ip4_destination&&) = default;  // a copy's `options` would be the other's
  ip4_destination& operator=(ip4_destination&&) = default;
  ipv4_addr daddr;
  port_no dport{};
  ipv4_addr saddr;          ///< any: chosen by the route
  ifindex oif{};
  u8 tos = 0;
  s32 ttl = -1;             ///< -1: the socket's
  bool connected = false;   ///< the socket's own peer and nothing unusual: its route may be used
  bool dontroute = false;
  bool confirm = false;     ///< MSG_CONFIRM: the program had an answer of the peer's
  u8 tx_flags = 0;          ///< skb_tx_flags
  u32 mark = 0, priority = 0;
  byte_view options;  ///< IP options: the socket's, or the message's own
  std::vector<u8> own_options;
};

/// From the message's name and control messages, or the connected peer. Errors: inval,
/// afnosupport, destaddrreq, opnotsupp (MSG_OOB).
result<ip4_destination> ip4_datagram_dest(inet_sock& sk, const send_msg& msg);
/// The route; fills in dest.saddr. Errors: those of ip_route_output, acces (broadcast without
/// SO_BROADCAST).
result<ref<rtable>> ip4_datagram_route(cpu& cx, inet_sock& sk, ip4_destination& dest);
/// May the socket send now? Errors: its pending error, pipe (shut down), again (SO_SNDBUF).
result<void> ip4_datagram_may_send(inet_sock& sk);
/// Checks the size against the path and IP_MTU_DISCOVER, then sends `skb` (transport header at
/// data), charged to the socket. Errors: msgsize, nobufs (dropped on the way, with IP_RECVERR).
result<void> ip4_datagram_output(cpu& cx, inet_sock& sk, const ref<rtable>& rt,
                                 const ip4_destination& dest, skb_ptr skb);
/// recvmsg(2) of sockets that are given whole datagrams, whose sender has no port.
result<std::size_t> ip4_datagram_recvmsg(cpu& cx, inet_sock& sk, recv_msg& msg);
/// connect(2) for a socket whose local port is chosen; AF_UNSPEC is disconnect's.
result<void> ip4_datagram_connect(cpu& cx, inet_sock& sk, byte_view addr);
/// Forgets the peer and, as Linux, the device, and the local address unless bind gave it.
void ip4_datagram_disconnect(inet_sock& sk);
/// Errors: notconn.
result<sockaddr_buf> inet_getname(inet_sock& sk, bool peer);
/// shutdown(2) of datagram sockets. Errors: notconn (yet it takes effect).
result<void> inet_dgram_shutdown(inet_sock& sk, u8 how);

}  // namespace ph
