// ICMP messages (RFC 792; next-hop MTU: RFC 1191 §4; extended layout: RFC 4884 not interpreted).
//
//   |  type  |  code  |    checksum     |
//   | echo: id        |    sequence     |   unreachable, needs fragments: 0 | mtu
//   | data ...                          |   redirect: gateway · parameter problem: pointer | 0
#pragma once

#include "base/result.h"
#include "uapi/inet.h"
#include "wire/checksum.h"

namespace ph {

struct icmphdr {
  u8 type = 0;
  u8 code = 0;
  be16 checksum;
  be16 rest_high;  ///< meaning depends on the type: see the functions below
  be16 rest_low;

  [[nodiscard]] constexpr u16 echo_id() const { return rest_high.value(); }
  [[nodiscard]] constexpr u16 echo_sequence() const { return rest_low.value(); }
  [[nodiscard]] constexpr u16 frag_mtu() const { return rest_low.value(); }
  [[nodiscard]] constexpr u32 rest() const {
    return (u32{rest_high.value()} << 16) | rest_low.value();
  }
  [[nodiscard]] constexpr ipv4_addr gateway() const { return ipv4_addr(rest()); }
  [[nodiscard]] constexpr u8 pointer() const { return static_cast<u8>(rest_high.value() >> 8); }
  constexpr void set_rest(u32 value) {
    rest_high.set(static_cast<u16>(value >> 16));
    rest_low.set(static_cast<u16>(value));
  }
  constexpr void set_echo(u16 id, u16 sequence) {
    rest_high.set(id);
    rest_low.set(sequence);
  }
};
static_assert(sizeof(icmphdr) == 8 && overlay<icmphdr>);

/// True for types that report a problem with an earlier packet and so carry its beginning.
constexpr bool icmp_is_error(u8 type) {
  return type == uapi::icmp_dest_unreach || type == uapi::icmp_source_quench ||
         type == uapi::icmp_redirect || type == uapi::icmp_time_exceeded ||
         type == uapi::icmp_parameterprob;
}

/// A message in host order.
struct icmp_message {
  u8 type = 0;
  u8 code = 0;
  u32 rest = 0;  ///< the four bytes after the checksum
  byte_view payload;
};

struct icmp_view {
  const icmphdr* icmph = nullptr;
  byte_view bytes;  ///< header and payload
  byte_view payload;

  /// errc::badmsg when shorter than the header.
  static result<icmp_view> parse(byte_view bytes) {
    const icmphdr* icmph = view_as<icmphdr>(bytes);
    if (icmph == nullptr) return fail(errc::badmsg);
    return icmp_view{icmph, bytes, bytes.subspan(sizeof(icmphdr))};
  }
  [[nodiscard]] bool checksum_ok() const { return csum_ok(csum_add_bytes(bytes)); }
  [[nodiscard]] icmp_message message() const {
    return {icmph->type, icmph->code, icmph->rest(), payload};
  }
};

/// Writes header, payload and checksum; returns the bytes, 0 when `to` is too short.
inline std::size_t emit(byte_span to, const icmp_message& message) {
  const std::size_t bytes = sizeof(icmphdr) + message.payload.size();
  if (to.size() < bytes) return 0;
  icmphdr& icmph = *view_as<icmphdr>(to);
  icmph.type = message.type;
  icmph.code = message.code;
  icmph.checksum.set(0);
  icmph.set_rest(message.rest);
  copy_bytes(to.subspan(sizeof(icmphdr)), message.payload);
  icmph.checksum = csum_fold(csum_add_bytes(to.first(bytes)));
  return bytes;
}

}  // namespace ph
