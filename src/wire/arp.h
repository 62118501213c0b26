// ARP for IPv4 over Ethernet (RFC 826; announcements and probes of RFC 5227 have this form too).
//
//   | hrd (2) | pro (2) | hln | pln | op (2) | sha (6) | sip (4) | tha (6) | tip (4) |
#pragma once

#include "base/result.h"
#include "uapi/packet.h"
#include "wire/inet_addr.h"

namespace ph {

/// The part whose form does not depend on the address lengths.
struct arphdr {
  be16 ar_hrd;  ///< hardware type
  be16 ar_pro;  ///< ethertype of the protocol
  u8 ar_hln = 0;
  u8 ar_pln = 0;
  be16 ar_op;
};
static_assert(sizeof(arphdr) == 8 && overlay<arphdr>);

/// The whole message for hln 6, pln 4.
struct arp_ether_ipv4 {
  arphdr hdr;
  mac_addr ar_sha;
  ipv4_addr ar_sip;
  mac_addr ar_tha;
  ipv4_addr ar_tip;
};
static_assert(sizeof(arp_ether_ipv4) == 28 && overlay<arp_ether_ipv4>);

/// An ARP message in host order.
struct arp_message {
  u16 op = 0;
  mac_addr sha;
  ipv4_addr sip;
  mac_addr tha;
  ipv4_addr tip;
  friend bool operator==(const arp_message&, const arp_message&) = default;
};

struct arp_view {
  const arp_ether_ipv4* arp = nullptr;

  /// errc::badmsg: too short or impossible lengths. errc::afnosupport: not IPv4 over Ethernet
  /// (hardware type Ethernet or IEEE 802). Padding after the message is ignored.
  static result<arp_view> parse(byte_view payload) {
    const arphdr* hdr = view_as<arphdr>(payload);
    if (hdr == nullptr) return fail(errc::badmsg);
    const u16 hrd = hdr->ar_hrd.value();
    constexpr u16 arphrd_ieee802 = 6;
    if ((hrd != uapi::arphrd_ether && hrd != arphrd_ieee802) ||
        hdr->ar_pro.value() != uapi::eth_p_ip) {
      return fail(errc::afnosupport);
    }
    if (hdr->ar_hln != 6 || hdr->ar_pln != 4) return fail(errc::badmsg);
    const auto* arp = view_as<arp_ether_ipv4>(payload);
    if (arp == nullptr) return fail(errc::badmsg);
    return arp_view{arp};
  }
  [[nodiscard]] arp_message message() const {
    return {arp->hdr.ar_op.value(), arp->ar_sha, arp->ar_sip, arp->ar_tha, arp->ar_tip};
  }
};

/// Writes the message; returns its bytes, 0 when `to` is too short.
inline std::size_t emit(byte_span to, const arp_message& message) {
  auto* arp = view_as<arp_ether_ipv4>(to);
  if (arp == nullptr) return 0;
  arp->hdr = {be16(uapi::arphrd_ether), be16(uapi::eth_p_ip), 6, 4, be16(message.op)};
  arp->ar_sha = message.sha;
  arp->ar_sip = message.sip;
  arp->ar_tha = message.tha;
  arp->ar_tip = message.tip;
  return sizeof(arp_ether_ipv4);
}

}  // namespace ph
