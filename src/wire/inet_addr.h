// Addresses as they lie in packets (alignment 1): IPv4, IPv6 and MAC, with text forms.
#pragma once

#include <array>
#include <compare>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"

namespace ph {

/// An IPv4 address, stored in network order.
struct ipv4_addr {
  be32 raw;

  constexpr ipv4_addr() = default;
  constexpr explicit ipv4_addr(u32 host_order) : raw(host_order) {}
  constexpr ipv4_addr(u8 a, u8 b, u8 c, u8 d)
      : raw((u32{a} << 24) | (u32{b} << 16) | (u32{c} << 8) | d) {}
  [[nodiscard]] constexpr u32 value() const { return raw.value(); }
  friend constexpr bool operator==(const ipv4_addr&, const ipv4_addr&) = default;
  friend constexpr auto operator<=>(const ipv4_addr& a, const ipv4_addr& b) {
    return a.value() <=> b.value();
  }
  [[nodiscard]] constexpr bool is_any() const { return value() == 0; }
  [[nodiscard]] constexpr bool is_loopback() const { return (value() >> 24) == 127; }
  [[nodiscard]] constexpr bool is_multicast() const { return (value() >> 28) == 0xe; }
  [[nodiscard]] constexpr bool is_limited_broadcast() const { return value() == 0xffffffff; }
  [[nodiscard]] constexpr bool is_zeronet() const { return (value() >> 24) == 0; }
  [[nodiscard]] constexpr bool is_link_local() const { return (value() >> 16) == 0xa9fe; }
  [[nodiscard]] std::string to_string() const;
  /// Dotted quad only ("10.0.0.1"); nullopt for anything else.
  static std::optional<ipv4_addr> parse(std::string_view text);
};
static_assert(sizeof(ipv4_addr) == 4 && alignof(ipv4_addr) == 1);

/// The netmask of a prefix length 0..32.
constexpr ipv4_addr ipv4_mask(unsigned prefix_len) {
  return ipv4_addr(prefix_len == 0 ? 0 : ~u32{0} << (32 - prefix_len));
}

/// An IPv4 prefix such as 10.0.0.0/8.
struct ipv4_prefix {
  ipv4_addr addr;
  u8 len = 0;
  [[nodiscard]] constexpr bool contains(ipv4_addr a) const {
    return ((a.value() ^ addr.value()) & ipv4_mask(len).value()) == 0;
  }
  friend constexpr bool operator==(const ipv4_prefix&, const ipv4_prefix&) = default;
  [[nodiscard]] std::string to_string() const;
  /// "10.0.0.0/8", or an address alone (/32). Host bits are kept as written.
  static std::optional<ipv4_prefix> parse(std::string_view text);
};

/// An IPv6 address.
struct ipv6_addr {
  std::array<u8, 16> bytes{};
  friend constexpr auto operator<=>(const ipv6_addr&, const ipv6_addr&) = default;
  [[nodiscard]] constexpr bool is_any() const { return *this == ipv6_addr{}; }
};

/// An Ethernet address.
struct mac_addr {
  std::array<u8, 6> bytes{};
  friend constexpr auto operator<=>(const mac_addr&, const mac_addr&) = default;
  [[nodiscard]] constexpr bool is_zero() const { return *this == mac_addr{}; }
  /// Group bit: broadcast and multicast frames.
  [[nodiscard]] constexpr bool is_multicast() const { return (bytes[0] & 1) != 0; }
  [[nodiscard]] constexpr bool is_broadcast() const { return *this == broadcast(); }
  static constexpr mac_addr broadcast() {
    return mac_addr{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
  }
  [[nodiscard]] std::string to_string() const;
  static std::optional<mac_addr> parse(std::string_view text);
};

}  // namespace ph
