// Raw IPv4 sockets (raw(7)) and ping sockets (SOCK_DGRAM with IPPROTO_ICMP, icmp(7)).
#pragma once

#include "net/core/net_namespace.h"
#include "net/inet/inet_protocol.h"
#include "net/inet/inet_sock.h"

namespace ph {

void raw_init(net_namespace& net);
/// protocol 255 (IPPROTO_RAW) sends only, with header included.
ref<sock> raw_create(net_namespace& net, cpu& home, u8 protocol);
/// Clones a received packet to matching raw sockets (network header at data); returns how many
/// took it.
int raw_local_deliver(cpu& cx, net_namespace& net, const sk_buff& skb, u8 protocol);
/// An ICMP error about a packet of `protocol` that this host sent.
void raw_icmp_error(cpu& cx, net_namespace& net, const icmp_error& error, const sk_buff& icmp,
                    u8 protocol);
void ping_init(net_namespace& net);
/// An ICMP error about an echo request of ours.
void ping_err(cpu& cx, net_namespace& net, const icmp_error& error, const sk_buff& icmp);
ref<sock> ping_create(net_namespace& net, cpu& home);
/// Gives an echo reply (ICMP header at data) to the ping socket with its identifier, if any.
bool ping_rcv(cpu& cx, net_namespace& net, sk_buff& skb);

}  // namespace ph
