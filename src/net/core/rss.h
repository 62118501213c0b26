// Receive-side scaling: which cpu takes the packets of a flow. One rule for every device and for
// whoever wants to know beforehand where the answers to a connection will arrive.
#pragma once

#include "net/core/skbuff.h"
#include "wire/dissect.h"

namespace ph {

/// The hash of a flow in its receiving direction (Toeplitz with the well-known key); 0 when the
/// packet is not IPv4.
u32 rx_flow_hash(const flow_keys& keys);
/// The same for a frame whose Ethernet header is at data.
u32 rx_flow_hash(const sk_buff& frame);
/// The cpu that receives packets with this hash.
cpu& rx_flow_cpu(kernel& machine, u32 hash);

}  // namespace ph
