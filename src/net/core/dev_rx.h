// The way in: taps, rx handler, and delivery by ethertype.
#pragma once

#include "net/core/net_device.h"

namespace ph {

/// A protocol's claim on an ethertype. `func` consumes the packet.
struct packet_type : list_hook<struct ptype_tag> {
  u16 type = 0;                 ///< ethertype, host order
  net_device* dev = nullptr;    ///< nullptr: every device
  inline_fn<void(cpu&, skb_ptr, net_device&)> func;
};

/// Sees every frame, in and out (packet sockets, captures). Looks; clones if it wants to keep.
/// The mac header is set; data starts at the link header for outgoing frames and, for incoming
/// ones, behind it.
struct packet_tap : list_hook<struct ptap_tag> {
  net_device* dev = nullptr;    ///< nullptr: every device
  inline_fn<void(cpu&, const sk_buff&, net_device&, bool outgoing)> func;
};

/// A received frame: skb->dev, mac header and protocol are set, data is behind the link header.
void netif_receive_skb(cpu& cx, skb_ptr skb);
/// The same, but from a place that must not recurse into the stack (loopback): queued on this
/// cpu's backlog and received at the next poll.
void netif_rx(cpu& cx, skb_ptr skb);

}  // namespace ph
