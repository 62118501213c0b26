// Checking, recording, echoing and fragmenting of IP options.
#include "net/ipv4/ip_options.h"

#include <algorithm>

#include "net/core/net_device.h"
#include "net/core/net_namespace.h"
#include "net/ipv4/devinet.h"
#include "net/ipv4/icmp.h"
#include "net/ipv4/ipv4_net.h"
#include "net/ipv4/route.h"
#include "uapi/inet.h"

namespace ph {
namespace {

/// The IP header with its options, private and writable.
byte_span own_header(cpu& cx, sk_buff& skb) {
  skb.unshare_head(cx);
  const auto bytes = skb.network_header<iphdr>().header_bytes();
  return skb.writable().subspan(static_cast<std::size_t>(skb.network_offset()), bytes);
}

/// Where the option that begins at `at` ends; a length that cannot be ends with all of them.
std::size_t option_end(byte_view options, std::size_t at) {
  const u8 type = options[at];
  if (type == uapi::ipopt_eol) return options.size();
  if (type == uapi::ipopt_noop) return at + 1;
  const std::size_t len = at + 1 < options.size() ? options[at + 1] : 0;
  return len < 2 ? options.size() : std::min(at + len, options.size());
}

/// As Linux: nobody here knows a domain of interpretation, so every security label is a fault: in
/// its length when it is too short to name a domain, else in the domain.
u8 label_fault(byte_view options, const ipv4_options& parsed) {
  constexpr u8 shortest = 8;
  const u8 length = options[parsed.cipso - sizeof(iphdr) + 1];
  return static_cast<u8>(parsed.cipso + (length < shortest ? 1 : 2));
}

/// Options that can be taken as they are, and what is wrong with the one behind them.
struct checked_options {
  byte_view good;
  ipv4_options parsed{};
  std::optional<u8> fault{};  ///< offset in the header
};

/// The options before the one with the byte at `at_fault`.
byte_view options_before(byte_view options, std::size_t at_fault) {
  std::size_t good = 0;
  for (std::size_t at = 0; at <= at_fault && at < options.size(); at = option_end(options, at)) {
    good = at;
  }
  return options.first(good);
}

/// What stands before the first option at fault is taken; of a label, itself as well.
checked_options check_options(byte_view options) {
  checked_options out{options};
  const auto all = parse_ipv4_options(options);
  if (!all) {
    out.fault = all.error();
    out.good = options_before(options, *out.fault - sizeof(iphdr));
  }
  out.parsed = all ? *all : parse_ipv4_options(out.good).value_or(ipv4_options{});
  if (out.parsed.cipso == 0) return out;
  out.fault = label_fault(options, out.parsed);
  out.good = options.first(option_end(options, out.parsed.cipso - sizeof(iphdr)));
  out.parsed = parse_ipv4_options(out.good).value_or(ipv4_options{});
  return out;
}

void record_route(byte_span option, ipv4_addr addr) {
  const std::size_t at = option[2] - 1u;
  copy_bytes(option.subspan(at, 4), bytes_of(addr));
  option[2] = static_cast<u8>(option[2] + 4);
}

/// An address that a timestamp option gives is somebody else's to fill, unless it is no host's.
bool is_anothers(net_namespace& net, ipv4_addr addr) {
  return ipv4_of(net).fib.addr_type(addr) == route_type::unicast;
}

/// RFC 791: flag 0 times only, 1 address and time, 3 addresses are given.
void record_timestamp(net_namespace& net, byte_span option, ipv4_addr addr, be32 when) {
  const u8 flags = option[3] & 15u;
  const std::size_t at = option[2] - 1u;
  if (flags == uapi::ipopt_ts_tsonly) {
    copy_bytes(option.subspan(at, 4), bytes_of(when));
    option[2] = static_cast<u8>(option[2] + 4);
    return;
  }
  const byte_span place = option.subspan(at, 8);
  if (flags == uapi::ipopt_ts_prespec) {
    if (is_anothers(net, *view_as<ipv4_addr>(byte_view(place)))) return;
  } else {
    copy_bytes(place, bytes_of(addr));
  }
  copy_bytes(place.subspan(4), bytes_of(when));
  option[2] = static_cast<u8>(option[2] + 8);
}

void record(net_namespace& net, byte_span header, const ipv4_options& parsed, ipv4_addr addr,
            u32 when) {
  if (parsed.rr_has_room) record_route(header.subspan(parsed.rr), addr);
  if (parsed.ts_has_room) record_timestamp(net, header.subspan(parsed.ts), addr, be32(when));
}

/// What a packet that came shows of us: where it was sent, or the address that its sender knows.
ipv4_addr address_towards(const sk_buff& skb, const net_device& dev) {
  const iphdr& iph = skb.network_header<iphdr>();
  if (static_cast<const rtable&>(*skb.dst).type == route_type::local) return iph.daddr;
  return inet_select_addr(dev, iph.saddr, static_cast<u8>(route_scope::link));
}

/// Where the list ends: what follows its end counts for nothing.
std::size_t list_end(byte_view options) {
  std::size_t at = 0;
  while (at < options.size() && options[at] != uapi::ipopt_eol) at = option_end(options, at);
  return at;
}

/// Bytes of one entry of a timestamp option of a kind that we fill.
unsigned entry_bytes(u8 flags) { return flags == uapi::ipopt_ts_tsonly ? 4 : 8; }

bool is_known(u8 flags) {
  return flags == uapi::ipopt_ts_tsonly || flags == uapi::ipopt_ts_tsandaddr ||
         flags == uapi::ipopt_ts_prespec;
}

/// Whether the next entry of a timestamp option is ours to fill.
bool fills(net_namespace& net, byte_view option) {
  const u8 flags = option[3] & 15u;
  if (flags != uapi::ipopt_ts_prespec || option[2] == 0) return is_known(flags);
  const auto* const given = view_as<ipv4_addr>(option, option[2] - 1u);
  return given == nullptr || !is_anothers(net, *given);
}

/// Options that were judged before; since then they may have become full.
ipv4_options find_options(byte_view options) {
  ipv4_options out;
  std::size_t end = 0;
  for (std::size_t at = 0; at < options.size(); at = end) {
    end = option_end(options, at);
    const byte_view option = options.subspan(at, end - at);
    const auto in_header = static_cast<u8>(sizeof(iphdr) + at);
    if (option[0] == uapi::ipopt_rr && option.size() >= 3 && out.rr == 0) {
      out.rr = in_header;
      out.rr_has_room = option[2] >= 4 && option[2] + 3u <= option.size();
    } else if (option[0] == uapi::ipopt_timestamp && option.size() >= 4 && out.ts == 0) {
      out.ts = in_header;
      out.ts_flags = option[3] & 15u;
      out.ts_has_room = option[2] >= 5 && is_known(out.ts_flags) &&
                        option[2] + entry_bytes(out.ts_flags) - 1 <= option.size();
    } else if (option[0] == uapi::ipopt_cipso && out.cipso == 0) {
      out.cipso = in_header;
    }
  }
  return out;
}

/// The bytes of an option that find_options() found.
byte_view option_at(byte_view options, u8 in_header) {
  const std::size_t at = in_header - sizeof(iphdr);
  return options.subspan(at, option_end(options, at) - at);
}

/// There is room, but not for what an answer must enter.
bool has_no_use(net_namespace& net, byte_view option) {
  if (option[2] > option.size()) return false;
  if (option[0] == uapi::ipopt_rr) return option[2] + 3u > option.size();
  const u8 flags = option[3] & 15u;
  const unsigned least = flags == uapi::ipopt_ts_prespec ? 4 : entry_bytes(flags);
  return fills(net, option) && option[2] + least - 1 > option.size();
}

}  // namespace

u32 ip_timestamp(cpu& cx) {
  constexpr s64 day_ms = 24 * 60 * 60 * 1000;
  return static_cast<u32>(cx.machine().wall_clock(cx.now()).ms() % day_ms);
}

skb_drop_reason ip_rcv_options(cpu& cx, sk_buff& skb, net_device& dev) {
  const checked_options checked = check_options(ip_options_of(skb));
  const ipv4_options& parsed = checked.parsed;
  const std::size_t good = checked.good.size();
  if (parsed.rr_has_room || parsed.ts != 0 || list_end(checked.good) != good) {
    const byte_span header = own_header(cx, skb);
    record(dev.net(), header, parsed, address_towards(skb, dev), ip_timestamp(cx));
    const byte_span options = header.subspan(sizeof(iphdr), good);
    std::fill(options.begin() + static_cast<std::ptrdiff_t>(list_end(options)), options.end(),
              uapi::ipopt_eol);
    const bool counts = parsed.ts != 0 && parsed.ts_flags != uapi::ipopt_ts_prespec;
    const bool full = counts && header[parsed.ts + 2u] > header[parsed.ts + 1u];
    if (full && !parsed.ts_has_room) {  // one more hop without room
      header[parsed.ts + 3u] = static_cast<u8>(header[parsed.ts + 3u] + 16);
    }
  }
  if (checked.fault) {
    icmp_parameter_problem(cx, skb, *checked.fault, good);
    return drop_reason::ip_options_bad;
  }
  // RFC 1812 §5.2.4.1, RFC 6814: source routes are refused.
  if (parsed.srr != 0) return drop_reason::ip_source_route;
  return drop_reason::none;
}

void ip_options_forward(cpu& cx, sk_buff& skb, net_device& in, net_device& out) {
  const byte_span header = own_header(cx, skb);
  const ipv4_options found = find_options(header.subspan(sizeof(iphdr)));
  const byte_span option = header.subspan(found.rr);
  if (found.rr != 0 && option[2] >= 8 && option[2] - 1u <= option[1]) {
    const byte_span last = option.subspan(option[2] - 5u, 4);  // what was entered last
    if (*view_as<ipv4_addr>(byte_view(last)) == address_towards(skb, in)) {
      const auto link = static_cast<u8>(route_scope::link);
      copy_bytes(last, bytes_of(inet_select_addr(out, {}, link)));
    }
  }
  ip_send_check(header);
}

void ip_options_origin(cpu& cx, sk_buff& skb, net_namespace& net, ipv4_addr addr) {
  const ipv4_options found = find_options(ip_options_of(skb));
  if (!found.rr_has_room && !found.ts_has_room) return;
  const byte_span header = own_header(cx, skb);
  record(net, header, found, addr, ip_timestamp(cx));
  ip_send_check(header);
}

std::optional<ip_option_list> ip_options_echo(net_namespace& net, byte_view options) {
  ip_option_list out;
  const ipv4_options found = find_options(options);
  for (const u8 at : {found.rr, found.ts, found.cipso}) {
    if (at == 0) continue;
    const byte_view option = option_at(options, at);
    if (at != found.cipso && has_no_use(net, option)) return std::nullopt;
    out.len += copy_bytes(byte_span(out.bytes).subspan(out.len), option);
  }
  out.len = (out.len + 3) / 4 * 4;  // the rest is the end of the list
  return out;
}

void ip_options_fragment(byte_span options) {
  constexpr u8 copied = 0x80;  // RFC 791: the copied flag
  std::size_t at = 0;
  while (at < options.size() && options[at] != uapi::ipopt_eol) {
    if (options[at] == uapi::ipopt_noop) {
      ++at;
      continue;
    }
    if (at + 1 >= options.size()) return;
    const std::size_t len = options[at + 1];
    if (len < 2 || len > options.size() - at) return;
    if ((options[at] & copied) == 0) {
      std::fill_n(options.begin() + static_cast<std::ptrdiff_t>(at), len, uapi::ipopt_noop);
    }
    at += len;
  }
}

}  // namespace ph
