// Writing IPv4 headers and checking their options.
#include "wire/ipv4.h"

namespace ph {
namespace {

using option_check = tl::expected<void, u8>;

tl::unexpected<u8> bad_octet(std::size_t offset) {
  return tl::unexpected<u8>(static_cast<u8>(offset));
}

/// One option: its bytes and where they lie in the header.
struct option {
  byte_view bytes;
  std::size_t at = 0;
  [[nodiscard]] u8 length() const { return bytes[1]; }
  /// The pointer octet of RR, TS and the source routes: 1-based position of the next free entry.
  [[nodiscard]] u8 pointer() const { return bytes[2]; }
};

// RFC 791: "The pointer is relative to this option, and the smallest legal value is 4."
option_check check_source_route(const option& o, ipv4_options& out, bool strict) {
  if (o.length() < 3) return bad_octet(o.at + 1);
  if (o.pointer() < 4) return bad_octet(o.at + 2);
  if (out.srr != 0) return bad_octet(o.at);  // RFC 1812 §5.2.4.1: at most one source route
  out.srr = static_cast<u8>(o.at);
  out.strict = strict;
  return {};
}

option_check check_record_route(const option& o, ipv4_options& out) {
  if (out.rr != 0) return bad_octet(o.at);
  if (o.length() < 3) return bad_octet(o.at + 1);
  if (o.pointer() < 4) return bad_octet(o.at + 2);
  if (o.pointer() <= o.length()) {
    if (o.pointer() + 3 > o.length()) return bad_octet(o.at + 2);  // no room for an address
    out.rr_has_room = true;
  }
  out.rr = static_cast<u8>(o.at);
  return {};
}

option_check check_timestamp(const option& o, ipv4_options& out) {
  if (out.ts != 0) return bad_octet(o.at);
  if (o.length() < 4) return bad_octet(o.at + 1);
  if (o.pointer() < 5) return bad_octet(o.at + 2);
  const u8 flags = o.bytes[3] & 15u;
  const unsigned overflow = o.bytes[3] >> 4u;
  if (o.pointer() <= o.length()) {
    // A kind of entries that nobody knows is none of ours to fill, but no error either (Linux).
    const bool known = flags == uapi::ipopt_ts_tsonly || flags == uapi::ipopt_ts_tsandaddr ||
                       flags == uapi::ipopt_ts_prespec;
    // A time alone, or an address too.
    const unsigned entry = known && flags != uapi::ipopt_ts_tsonly ? 8 : 4;
    if (o.pointer() + entry - 1 > o.length()) return bad_octet(o.at + 2);
    out.ts_has_room = known;
  } else if (overflow == 15 && flags != uapi::ipopt_ts_prespec) {
    // RFC 791: when the overflow count itself overflows, the datagram is in error. Where addresses
    // are given nobody counts (Linux).
    return bad_octet(o.at + 3);
  }
  out.ts = static_cast<u8>(o.at);
  out.ts_flags = flags;
  return {};
}

option_check check_option(const option& o, ipv4_options& out) {
  switch (o.bytes[0]) {
    case uapi::ipopt_lsrr: return check_source_route(o, out, false);
    case uapi::ipopt_ssrr: return check_source_route(o, out, true);
    case uapi::ipopt_rr: return check_record_route(o, out);
    case uapi::ipopt_timestamp: return check_timestamp(o, out);
    case uapi::ipopt_ra:
      if (o.length() < 4) return bad_octet(o.at + 1);
      if (o.bytes[2] == 0 && o.bytes[3] == 0) out.router_alert = static_cast<u8>(o.at);
      return {};
    case uapi::ipopt_cipso:
      if (out.cipso != 0) return bad_octet(o.at);
      out.cipso = static_cast<u8>(o.at);
      return {};
    default: return {};  // RFC 1122 §3.2.1.8: unknown options are silently ignored
  }
}

}  // namespace

std::size_t emit(byte_span to, const ipv4_header& header, std::size_t payload_bytes) {
  if (header.options.size() > uapi::max_ipoptlen) return 0;
  const std::size_t bytes = sizeof(iphdr) + (header.options.size() + 3) / 4 * 4;
  if (to.size() < bytes || bytes + payload_bytes > ipv4_max_packet) return 0;
  iphdr& iph = *view_as<iphdr>(to);
  iph.set_header_bytes(bytes);
  iph.tos = header.tos;
  iph.tot_len.set(static_cast<u16>(bytes + payload_bytes));
  iph.id.set(header.id);
  iph.frag_off.set(static_cast<u16>((header.dont_fragment ? ip_df : 0) |
                                    (header.more_fragments ? ip_mf : 0) |
                                    (header.fragment_offset / 8)));
  iph.ttl = header.ttl;
  iph.protocol = header.protocol;
  iph.saddr = header.saddr;
  iph.daddr = header.daddr;
  const byte_span options = to.subspan(sizeof(iphdr), bytes - sizeof(iphdr));
  std::fill(options.begin() + static_cast<std::ptrdiff_t>(copy_bytes(options, header.options)),
            options.end(), uapi::ipopt_eol);
  ip_send_check(to.first(bytes));
  return bytes;
}

tl::expected<ipv4_options, u8> parse_ipv4_options(byte_view options) {
  ipv4_options out;
  std::size_t at = 0;
  while (at < options.size()) {
    const u8 type = options[at];
    if (type == uapi::ipopt_eol) break;
    if (type == uapi::ipopt_noop) {
      ++at;
      continue;
    }
    const std::size_t in_header = sizeof(iphdr) + at;
    const std::size_t rest = options.size() - at;
    if (rest < 2) return bad_octet(in_header);
    const std::size_t length = options[at + 1];
    if (length < 2 || length > rest) return bad_octet(in_header);
    const option_check checked = check_option({options.subspan(at, length), in_header}, out);
    if (!checked) return tl::unexpected<u8>(checked.error());
    at += length;
  }
  return out;
}

}  // namespace ph
