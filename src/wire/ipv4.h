// The IPv4 header and its options (RFC 791 §3.1; checks: RFC 1122 §3.2.1.8, RFC 1812 §5.2.4).
//
//   0       4       8               16    19                      31
//   |version|  ihl  |      tos      |            tot_len            |
//   |              id               |0 D M|   fragment offset / 8   |
//   |      ttl      |   protocol    |             check             |
//   |                             saddr                             |
//   |                             daddr                             |
//   |                   options, 0 to 40 bytes                      |
//
// Does not: verify the checksum while parsing (checksum_ok() does), reassemble, act on options.
#pragma once

#include "base/result.h"
#include "uapi/inet.h"
#include "wire/checksum.h"

namespace ph {

// Bits of frag_off, in host order.
inline constexpr u16 ip_df = 0x4000;      ///< don't fragment
inline constexpr u16 ip_mf = 0x2000;      ///< more fragments follow
inline constexpr u16 ip_offset = 0x1fff;  ///< fragment offset in units of 8 bytes

inline constexpr std::size_t ipv4_max_packet = 65535;

struct iphdr {
  u8 version_ihl = 0;
  u8 tos = 0;
  be16 tot_len;
  be16 id;
  be16 frag_off;
  u8 ttl = 0;
  u8 protocol = 0;
  be16 check;
  ipv4_addr saddr;
  ipv4_addr daddr;

  [[nodiscard]] constexpr unsigned version() const { return version_ihl >> 4; }
  /// Header length in 32-bit words, as on the wire.
  [[nodiscard]] constexpr unsigned ihl() const { return version_ihl & 15u; }
  [[nodiscard]] constexpr std::size_t header_bytes() const { return std::size_t{ihl()} * 4; }
  /// Version 4 and a header of `bytes` (a multiple of 4, 20 to 60).
  constexpr void set_header_bytes(std::size_t bytes) {
    version_ihl = static_cast<u8>(0x40u | (bytes / 4));
  }
  /// Where this fragment's payload belongs, in bytes.
  [[nodiscard]] constexpr unsigned fragment_offset() const {
    return (frag_off.value() & ip_offset) * 8u;
  }
  [[nodiscard]] constexpr bool more_fragments() const { return (frag_off.value() & ip_mf) != 0; }
  [[nodiscard]] constexpr bool dont_fragment() const { return (frag_off.value() & ip_df) != 0; }
  [[nodiscard]] constexpr bool is_fragment() const {
    return (frag_off.value() & (ip_mf | ip_offset)) != 0;
  }
};
static_assert(sizeof(iphdr) == 20 && overlay<iphdr>);

/// The header in host order, with a view of its options.
struct ipv4_header {
  u8 tos = 0;
  u16 id = 0;
  bool dont_fragment = false;
  bool more_fragments = false;
  u16 fragment_offset = 0;  ///< bytes, a multiple of 8
  u8 ttl = 64;
  u8 protocol = 0;
  ipv4_addr saddr;
  ipv4_addr daddr;
  byte_view options;  ///< up to 40 bytes
};

struct ipv4_view {
  const iphdr* iph = nullptr;
  byte_view options;
  byte_view payload;  ///< ends where tot_len says; link-layer padding is cut off

  /// errc::badmsg: header incomplete, version not 4, ihl or tot_len impossible.
  /// errc::msgsize: fewer bytes than tot_len (a truncated packet).
  static result<ipv4_view> parse(byte_view packet) {
    const iphdr* iph = view_as<iphdr>(packet);
    if (iph == nullptr || iph->version() != 4) return fail(errc::badmsg);
    const std::size_t header = iph->header_bytes();
    if (header < sizeof(iphdr) || header > packet.size()) return fail(errc::badmsg);
    const std::size_t total = iph->tot_len.value();
    if (total < header) return fail(errc::badmsg);
    if (total > packet.size()) return fail(errc::msgsize);
    return ipv4_view{iph, packet.subspan(sizeof(iphdr), header - sizeof(iphdr)),
                     packet.subspan(header, total - header)};
  }
  /// The header with its options.
  [[nodiscard]] byte_view header_bytes() const {
    return {reinterpret_cast<const u8*>(iph), iph->header_bytes()};
  }
  [[nodiscard]] bool checksum_ok() const { return csum_ok(csum_add_bytes(header_bytes())); }
  [[nodiscard]] ipv4_header header() const {
    return {iph->tos, iph->id.value(), iph->dont_fragment(), iph->more_fragments(),
            static_cast<u16>(iph->fragment_offset()), iph->ttl, iph->protocol, iph->saddr,
            iph->daddr, options};
  }
};

/// Computes and stores the header checksum; `header` is exactly the header with its options.
inline void ip_send_check(byte_span header) {
  iphdr* iph = view_as<iphdr>(header);
  ph_check(iph != nullptr);
  iph->check = be16(0);
  iph->check = csum_fold(csum_add_bytes(header));
}

/// Writes header, options (padded with zeros to a multiple of 4) and checksum for a payload of
/// `payload_bytes`; returns the header's bytes, 0 when it does not fit or is too long.
std::size_t emit(byte_span to, const ipv4_header& header, std::size_t payload_bytes);

/// What the options of a received header contain. Offsets count from the first byte of the IP
/// header to the option's type octet; 0 means absent.
struct ipv4_options {
  u8 srr = 0;           ///< loose or strict source route
  bool strict = false;  ///< the source route is strict
  u8 rr = 0;            ///< record route
  u8 ts = 0;            ///< timestamp
  u8 router_alert = 0;  ///< RFC 2113, value 0
  u8 cipso = 0;
  bool rr_has_room = false;  ///< record route can take one more address
  bool ts_has_room = false;  ///< timestamp can take one more entry
  u8 ts_flags = 0;           ///< ipopt_ts_tsonly, ..._tsandaddr or ..._prespec
  friend bool operator==(const ipv4_options&, const ipv4_options&) = default;
};

/// Checks the option bytes of a header. The error is the offset, from the first byte of the IP
/// header, of the octet at fault: the pointer of an ICMP parameter problem (RFC 792).
tl::expected<ipv4_options, u8> parse_ipv4_options(byte_view options);

}  // namespace ph
