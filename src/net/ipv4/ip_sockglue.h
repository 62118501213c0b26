// Between sockets and IPv4: SOL_IP options, control messages, the error queue.
#pragma once

#include <optional>

#include "net/inet/inet_error_queue.h"
#include "net/inet/inet_protocol.h"

namespace ph {

/// SOL_IP. Errors: noprotoopt, inval, perm.
result<void> ip_setsockopt(cpu& cx, inet_sock& sk, int name, byte_view value);
result<std::size_t> ip_getsockopt(cpu& cx, inet_sock& sk, int name, byte_span out);
/// Control messages a program sends with a datagram (IP_TOS, IP_TTL, IP_PKTINFO ...).
struct ip_send_cmsg {
  s32 ttl = -1;
  s32 tos = -1;
  s64 priority = -1;  ///< that the type of service stands for
  ipv4_addr saddr;
  ifindex oif{};
  std::optional<std::vector<u8>> options;
};
result<ip_send_cmsg> ip_cmsg_send(byte_view control);
/// Adds IP_PKTINFO, IP_TTL, IP_TOS … as the socket asked; skb's network header must be set. Not
/// `answerable`: IP_PKTINFO names no address to answer from.
void ip_cmsg_recv(inet_sock& sk, const sk_buff& skb, recv_msg& msg, bool answerable = true);
/// Queues an ICMP error for MSG_ERRQUEUE (IP_RECVERR) with what the packet at fault carried.
void ip_icmp_error(cpu& cx, inet_sock& sk, const sk_buff& icmp, const icmp_error& error,
                   port_no port, byte_view payload);
/// Queues a local error (EMSGSIZE with the MTU).
void ip_local_error(cpu& cx, inet_sock& sk, errc error, ipv4_addr daddr, port_no port, u32 info);

}  // namespace ph
