// GSO: cutting a super-packet into packets of the wire's size, for devices that cannot.
#pragma once

#include "net/core/skb_queue.h"

namespace ph {

/// True when a device with these features cannot take the packet whole.
[[nodiscard]] bool skb_needs_gso(const sk_buff& skb, u32 features);

/// Cuts a super-packet (link header at data, network header set) into packets of gso_size payload
/// bytes each and appends them to `out`; consumes it. Only what the device
/// offers is left to it: without netif_f_sg the segments are linear, without netif_f_hw_csum
/// their checksums are filled in. The last segment takes over the owner's charge. A packet
/// whose headers make no sense is dropped; false then.
bool skb_gso_segment(cpu& cx, skb_ptr skb, u32 features, skb_queue& out);

/// The number of packets a super-packet becomes.
[[nodiscard]] constexpr u32 gso_segments(u32 payload_bytes, u32 gso_size) {
  return gso_size == 0 || payload_bytes == 0 ? 1 : (payload_bytes + gso_size - 1) / gso_size;
}

}  // namespace ph
