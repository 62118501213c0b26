// An address of either IP family, as sockets keep it.
#pragma once

#include <cstring>
#include <string>

#include "base/strong.h"
#include "wire/inet_addr.h"

namespace ph {

/// 16 bytes; an IPv4 address is kept in its IPv4-mapped form (::ffff:a.b.c.d, RFC 4291 §2.5.5.2),
/// so that equality and hashing need not know the family.
struct inet_addr {
  std::array<u8, 16> bytes{};
  friend constexpr auto operator<=>(const inet_addr&, const inet_addr&) = default;
  static constexpr inet_addr of(ipv4_addr a) {
    inet_addr out;
    out.bytes[10] = out.bytes[11] = 0xff;
    for (std::size_t i = 0; i < 4; ++i) out.bytes[12 + i] = a.raw.bytes()[i];
    return out;
  }
  static constexpr inet_addr of(const ipv6_addr& a) { return inet_addr{a.bytes}; }
  [[nodiscard]] constexpr bool is_ipv4() const {
    for (std::size_t i = 0; i < 10; ++i) {
      if (bytes[i] != 0) return false;
    }
    return bytes[10] == 0xff && bytes[11] == 0xff;
  }
  /// The IPv4 address of a mapped one.
  [[nodiscard]] constexpr ipv4_addr ipv4() const {
    return ipv4_addr(bytes[12], bytes[13], bytes[14], bytes[15]);
  }
  [[nodiscard]] constexpr ipv6_addr ipv6() const { return ipv6_addr{bytes}; }
  /// 0.0.0.0 or ::, i.e. "any".
  [[nodiscard]] constexpr bool is_any() const {
    return is_ipv4() ? ipv4().is_any() : *this == inet_addr{};
  }
};

/// Does a socket bound to `bound` hear what is sent to `addr`? "::" takes IPv4, too, unless the
/// socket is for IPv6 only.
constexpr bool covers(const inet_addr& bound, const inet_addr& addr, bool v6only = false) {
  if (bound == addr) return true;
  if (!bound.is_any()) return false;
  return bound.is_ipv4() ? addr.is_ipv4() : !v6only || !addr.is_ipv4();
}
/// Is there something that sockets bound to either would both hear?
constexpr bool overlaps(const inet_addr& a, const inet_addr& b) {
  return covers(a, b) || covers(b, a);
}

/// The four-tuple of a flow as a receiver sees it: local is ours.
struct inet_tuple {
  inet_addr laddr, raddr;
  port_no lport{}, rport{};
  friend constexpr auto operator<=>(const inet_tuple&, const inet_tuple&) = default;
};

}  // namespace ph
