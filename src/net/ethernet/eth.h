// Ethernet II: reading the type of a received frame, and building headers.
#pragma once

#include "net/core/net_device.h"

namespace ph {

/// Looks at the Ethernet header at data: sets mac header, pkt_type and dev, pulls it, and
/// returns the ethertype (host order); errors: badmsg when the frame is too short.
result<u16> eth_type_trans(cpu& cx, sk_buff& skb, net_device& dev);
/// The header builder for Ethernet devices (a constant without state).
const header_ops& eth_header_ops();

}  // namespace ph
