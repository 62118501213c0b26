// Multicast options of SOL_IP, ip(7): groups that a socket is a member of, on which devices and
// from which sources, and by which device its own packets to groups leave.
#pragma once

#include "net/inet/inet_sock.h"

namespace ph {

/// IP_ADD_MEMBERSHIP, MCAST_JOIN_GROUP and their relatives, source filters, and IP_MULTICAST_IF.
/// Errors: those of ip(7), and nobufs (as many groups, or sources of one, as Linux allows).
result<void> ip_mc_setsockopt(cpu& cx, inet_sock& sk, int name, byte_view value);
/// IP_MSFILTER and MCAST_MSFILTER: mode and sources of the membership that `out` names. Errors:
/// inval, nodev, addrnotavail (it is no member).
result<std::size_t> ip_mc_getsockopt(inet_sock& sk, int name, byte_span out);
/// Does the socket want a packet from `source` to the group, which came by device `iif`?
bool ip_mc_socket_wants(const inet_sock& sk, ipv4_addr group, ipv4_addr source, u32 iif);
/// Leaves all groups (close).
void ip_mc_drop_socket(cpu& cx, inet_sock& sk);

}  // namespace ph
