// Checking, recording, echoing and fragmenting of IP options.
#include "net/ipv4/ip_options.h"

#include "net/core/net_device.h"
#include "net/core/net_namespace.h"
#include "net/ipv4/icmp.h"
#include "net/ipv4/ipv4_net.h"
#include "uapi/inet.h"

namespace ph {
namespace {

byte_view options_of(const sk_buff& skb) {
  const iphdr& iph = skb.network_header<iphdr>();
  return skb.network_bytes().subspan(sizeof(iphdr), iph.header_bytes() - sizeof(iphdr));
}

void record_route(byte_span option, ipv4_addr addr) {
  const std::size_t at = option[2] - 1u;
  copy_bytes(option.subspan(at, 4), bytes_of(addr));
  option[2] = static_cast<u8>(option[2] + 4);
}

/// RFC 791: flag 0 times only, 1 address and time, 3 addresses are given. Times are milliseconds
/// since midnight UT; with the top bit they are only our own count, which is what we have.
void record_timestamp(byte_span option, ipv4_addr addr, be32 when) {
  const u8 flags = option[3] & 15u;
  const std::size_t at = option[2] - 1u;
  if (flags == uapi::ipopt_ts_tsonly) {
    copy_bytes(option.subspan(at, 4), bytes_of(when));
    option[2] = static_cast<u8>(option[2] + 4);
    return;
  }
  const byte_span place = option.subspan(at, 8);
  if (flags == uapi::ipopt_ts_prespec && *view_as<ipv4_addr>(byte_view(place)) != addr) return;
  copy_bytes(place, bytes_of(addr));
  copy_bytes(place.subspan(4), bytes_of(when));
  option[2] = static_cast<u8>(option[2] + 8);
}

}  // namespace

skb_drop_reason ip_rcv_options(cpu& cx, sk_buff& skb) {
  const auto parsed = parse_ipv4_options(options_of(skb));
  if (!parsed) {
    icmp_send(cx, skb, uapi::icmp_parameterprob, 0, u32{parsed.error()} << 24);
    return drop_reason::ip_options_bad;
  }
  // RFC 1812 §5.2.4.1, RFC 6814: source routes are refused.
  if (parsed->srr != 0) return drop_reason::ip_source_route;
  return drop_reason::none;
}

void ip_options_record(cpu& cx, sk_buff& skb, ipv4_addr addr) {
  const auto parsed = parse_ipv4_options(options_of(skb));
  if (!parsed || (parsed->rr == 0 && parsed->ts == 0)) return;
  skb.unshare_head(cx);
  const auto bytes = skb.network_header<iphdr>().header_bytes();
  const auto skip = static_cast<std::size_t>(skb.network_offset());
  const byte_span header = skb.writable().subspan(skip, bytes);
  if (parsed->rr_has_room) record_route(header.subspan(parsed->rr), addr);
  if (parsed->ts_has_room) {
    const auto ms = static_cast<u32>(cx.now().ms() & 0x7fffffff);
    record_timestamp(header.subspan(parsed->ts), addr, be32(ms | 0x80000000));
  } else if (parsed->ts != 0) {
    u8& overflow = header[parsed->ts + 3u];  // one more hop without room
    if ((overflow >> 4) != 15) overflow = static_cast<u8>(overflow + 16);
  }
  ip_send_check(header);
}

std::vector<u8> ip_options_echo(byte_view options) {
  std::vector<u8> out;
  const auto parsed = parse_ipv4_options(options);
  if (!parsed) return out;
  for (const u8 at : {parsed->rr, parsed->ts}) {
    if (at == 0) continue;
    const std::size_t begin = at - sizeof(iphdr);
    const byte_view option = options.subspan(begin, options[begin + 1]);
    out.insert(out.end(), option.begin(), option.end());
  }
  out.resize((out.size() + 3) / 4 * 4, uapi::ipopt_eol);
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
