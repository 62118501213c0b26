// Ethernet II frames and 802.1Q tags (IEEE 802.3 §3.2, IEEE 802.1Q §9.6).
//
//   |  destination (6)  |    source (6)    | type (2) | payload ...
//   with a tag:                            | 8100 (2) | tci (2) | type (2) | payload ...
//
// Does not know: the preamble and FCS (devices keep them), 802.2 LLC inside length-typed frames.
#pragma once

#include "base/result.h"
#include "uapi/packet.h"
#include "wire/inet_addr.h"

namespace ph {

struct ethhdr {
  mac_addr h_dest;
  mac_addr h_source;
  be16 h_proto;  ///< ethertype, or a length below uapi::eth_p_802_3_min
};
static_assert(sizeof(ethhdr) == uapi::eth_hlen && overlay<ethhdr>);

/// What follows an ethertype of 802.1Q or 802.1ad.
struct vlan_hdr {
  be16 h_vlan_tci;  ///< priority (3 bits), drop eligible (1), VLAN id (12)
  be16 h_vlan_encapsulated_proto;
  [[nodiscard]] constexpr u16 vid() const { return h_vlan_tci.value() & 0xfff; }
  [[nodiscard]] constexpr u8 pcp() const { return static_cast<u8>(h_vlan_tci.value() >> 13); }
};
static_assert(sizeof(vlan_hdr) == 4 && overlay<vlan_hdr>);

/// True for ethertypes that announce a VLAN tag.
constexpr bool eth_type_vlan(u16 ethertype) {
  return ethertype == uapi::eth_p_8021q || ethertype == uapi::eth_p_8021ad;
}

/// The header in host order.
struct ethernet_header {
  mac_addr dest;
  mac_addr source;
  u16 proto = 0;
  friend bool operator==(const ethernet_header&, const ethernet_header&) = default;
};

struct ethernet_view {
  const ethhdr* eth = nullptr;
  byte_view payload;

  /// errc::badmsg when the frame is shorter than its header.
  static result<ethernet_view> parse(byte_view frame) {
    const ethhdr* eth = view_as<ethhdr>(frame);
    if (eth == nullptr) return fail(errc::badmsg);
    return ethernet_view{eth, frame.subspan(sizeof(ethhdr))};
  }
  [[nodiscard]] ethernet_header header() const {
    return {eth->h_dest, eth->h_source, eth->h_proto.value()};
  }
};

/// Writes the header; returns its bytes, 0 when `to` is too short.
inline std::size_t emit(byte_span to, const ethernet_header& header) {
  ethhdr* eth = view_as<ethhdr>(to);
  if (eth == nullptr) return 0;
  *eth = {header.dest, header.source, be16(header.proto)};
  return sizeof(ethhdr);
}

}  // namespace ph
