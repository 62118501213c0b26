// Where a packet goes next: an immutable answer of a route lookup, cached by sockets and carried
// by packets. Replaced, never changed; `obsolete` tells a holder to look again.
#pragma once

#include <string>

#include "base/intrusive.h"
#include "base/result.h"
#include "base/time.h"

namespace ph {

class cpu;
class net_device;
class net_namespace;
class skb_ptr;
class sock;

/// What dev_queue_xmit and all above it answer, worse last: TCP learns of local congestion from it.
enum class [[nodiscard]] xmit_result : u8 {
  sent,
  congested,  ///< sent or queued, and the queue asks for less
  dropped,    ///< by a full queue
  refused,    ///< there is no way out: no route, a filter, a device that is down, too large
};

class dst_entry : public counted {
 public:
  virtual ~dst_entry() = default;
  /// Takes a received packet on: deliver locally, forward, or report why not.
  virtual void input(cpu& cx, skb_ptr skb) = 0;
  /// Sends a packet with a finished network header.
  virtual xmit_result output(cpu& cx, skb_ptr skb) = 0;
  /// Path MTU in bytes of the network packet.
  [[nodiscard]] virtual u32 mtu(instant now) const = 0;

  net_device* dev = nullptr;
  u32 advmss = 0;        ///< RTAX_ADVMSS; 0: derive from the MTU
  u32 initcwnd = 0;      ///< RTAX_INITCWND in segments; 0: default
  u32 initrwnd = 0;
  u32 rtt_us = 0;        ///< RTAX_RTT hint, 0: none
  u32 rto_min_ms = 0;    ///< RTAX_RTO_MIN, 0: default
  u32 window = 0;        ///< RTAX_WINDOW: largest window to advertise, bytes; 0: no limit
  u32 cwnd_clamp = 0;    ///< RTAX_CWND with its lock, segments; 0: no limit
  u32 ssthresh = 0;      ///< RTAX_SSTHRESH, segments; 0: none
  u32 reordering = 0;    ///< RTAX_REORDERING, segments; 0: default
  bool quickack = false; ///< RTAX_QUICKACK: every segment is acknowledged at once
  bool ecn = false;      ///< RTAX_FEATURES, RTAX_FEATURE_ECN: ask for it whatever the default
  std::string congestion;  ///< RTAX_CC_ALGO; empty: the namespace's
  u64 generation = 0;    ///< of the routing table when it was looked up
};

}  // namespace ph
