// The way into IPv4: validation, routing, local delivery. Forwarding is in ip_forward.
#pragma once

#include "net/core/skbuff.h"

namespace ph {

/// packet_type handler of ETH_P_IP. Network header at data.
void ip_rcv(cpu& cx, skb_ptr skb, net_device& dev);
/// Reassembles and delivers to the protocol (rtable::input for local routes).
void ip_local_deliver(cpu& cx, skb_ptr skb);
/// Sends a packet on its way (rtable::input for unicast routes on a router).
void ip_forward(cpu& cx, skb_ptr skb);

}  // namespace ph
