// UDP datagrams (RFC 768; checksum rules: RFC 1122 §4.1.3.4).
//
//   | source (2) | dest (2) | len (2) | check (2) | data ...
#pragma once

#include "base/result.h"
#include "uapi/inet.h"
#include "wire/checksum.h"

namespace ph {

struct udphdr {
  be16 source;
  be16 dest;
  be16 len;    ///< of header and data
  be16 check;  ///< 0: the sender computed none (IPv4 only)
};
static_assert(sizeof(udphdr) == 8 && overlay<udphdr>);

/// A datagram in host order.
struct udp_datagram {
  u16 source = 0;
  u16 dest = 0;
  byte_view payload;
};

struct udp_view {
  const udphdr* uh = nullptr;
  byte_view bytes;    ///< header and data, as long as `len` says
  byte_view payload;  ///< data

  /// errc::badmsg: header incomplete or len below 8. errc::msgsize: fewer bytes than len says.
  static result<udp_view> parse(byte_view bytes) {
    const udphdr* uh = view_as<udphdr>(bytes);
    if (uh == nullptr) return fail(errc::badmsg);
    const std::size_t len = uh->len.value();
    if (len < sizeof(udphdr)) return fail(errc::badmsg);
    if (len > bytes.size()) return fail(errc::msgsize);
    return udp_view{uh, bytes.first(len), bytes.subspan(sizeof(udphdr), len - sizeof(udphdr))};
  }
  /// True when the checksum is right or absent.
  [[nodiscard]] bool checksum_ok(ipv4_addr saddr, ipv4_addr daddr) const {
    if (uh->check == be16(0)) return true;
    const auto pseudo =
        csum_pseudo_ipv4(saddr, daddr, uapi::ipproto_udp, static_cast<u16>(bytes.size()));
    return csum_ok(csum_add_bytes(bytes, pseudo));
  }
  [[nodiscard]] udp_datagram datagram() const {
    return {uh->source.value(), uh->dest.value(), payload};
  }
};

/// RFC 768: "If the computed checksum is zero, it is transmitted as all ones."
constexpr be16 udp_checksum_on_wire(be16 computed) {
  return computed == be16(0) ? be16(0xffff) : computed;
}

/// Writes header, data and checksum; returns the bytes, 0 when `to` is too short or the datagram
/// too long for its length field.
inline std::size_t emit(byte_span to, const udp_datagram& datagram, ipv4_addr saddr,
                        ipv4_addr daddr) {
  const std::size_t bytes = sizeof(udphdr) + datagram.payload.size();
  if (to.size() < bytes || bytes > 65535) return 0;
  const u16 len = static_cast<u16>(bytes);
  udphdr& uh = *view_as<udphdr>(to);
  uh = {be16(datagram.source), be16(datagram.dest), be16(len), be16(0)};
  copy_bytes(to.subspan(sizeof(udphdr)), datagram.payload);
  const auto pseudo = csum_pseudo_ipv4(saddr, daddr, uapi::ipproto_udp, len);
  uh.check = udp_checksum_on_wire(csum_fold(csum_add_bytes(to.first(bytes), pseudo)));
  return bytes;
}

}  // namespace ph
