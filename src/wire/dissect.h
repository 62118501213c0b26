// What a packet belongs to: from bytes to the keys of its flow, for receive-side hashing, steering
// and grouping. Looks at Ethernet (up to two VLAN tags), IPv4, TCP and UDP; for anything else the
// keys stop at the protocol that was not understood. Verifies no checksums.
#pragma once

#include "base/hash.h"
#include "base/result.h"
#include "uapi/packet.h"
#include "wire/inet_addr.h"

namespace ph {

/// Everything in host order. Ports are zero when the packet has none, is too short to hold them,
/// or is a fragment: all fragments of a datagram must look alike.
struct flow_keys {
  u16 n_proto = 0;   ///< ethertype after any VLAN tags
  u16 vlan_tci = 0;  ///< of the outermost tag
  bool has_vlan = false;
  bool is_fragment = false;
  bool has_ports = false;
  u8 ip_proto = 0;
  ipv4_addr saddr;
  ipv4_addr daddr;
  u16 source = 0;
  u16 dest = 0;
  u16 network_offset = 0;    ///< bytes before the network header
  u16 transport_offset = 0;  ///< bytes before the transport header; 0 when not IPv4

  /// The keys of the answers to this packet.
  [[nodiscard]] flow_keys reversed() const;
  friend bool operator==(const flow_keys&, const flow_keys&) = default;
};

/// errc::badmsg or errc::msgsize as ethernet_view and ipv4_view say. A frame that holds no IPv4
/// has keys with n_proto alone.
result<flow_keys> dissect_ethernet(byte_view frame);
/// The same for a packet that begins with its IPv4 header.
result<flow_keys> dissect_ipv4(byte_view packet);

/// What RSS hashes, in network order: addresses, then ports.
struct rss_tuple {
  ipv4_addr saddr;
  ipv4_addr daddr;
  be16 source;
  be16 dest;
};
static_assert(sizeof(rss_tuple) == 12 && overlay<rss_tuple>);

/// The bytes to hash: 12 with ports, 8 without, 0 when not IPv4. `room` keeps them.
byte_view rss_input(const flow_keys& keys, rss_tuple& room);

/// The hash that network cards compute (Toeplitz, RSS); 0 when not IPv4. `key` as toeplitz wants.
u32 rss_hash(const flow_keys& keys, byte_view key);
/// A hash that an attacker without the key cannot steer; includes the protocol number.
u64 flow_hash(const flow_keys& keys, const siphash_key& key);

}  // namespace ph
