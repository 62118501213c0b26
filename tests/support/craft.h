// Packets made by hand, for tests that inject them.
#pragma once

#include <functional>
#include <vector>

#include "uapi/inet.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"
#include "wire/udp.h"

namespace ph {

/// An IPv4 packet; `change` may spoil the header, after which the checksum is made right again
/// unless it says otherwise by returning false.
inline std::vector<u8> craft_ip(ipv4_header h, byte_view payload,
                                const std::function<bool(iphdr&)>& change = {}) {
  std::vector<u8> out(60 + payload.size());
  const std::size_t header = emit(out, h, payload.size());
  ph_check(header != 0);
  copy_bytes(byte_span(out).subspan(header), payload);
  out.resize(header + payload.size());
  iphdr& iph = *view_as<iphdr>(byte_span(out));
  if (change && change(iph)) {
    iph.check.set(0);
    iph.check = csum_fold(csum_add_bytes(byte_view(out).first(header)));
  }
  return out;
}

inline ipv4_header craft_header(ipv4_addr from, ipv4_addr to, u8 protocol) {
  ipv4_header h;
  h.saddr = from;
  h.daddr = to;
  h.protocol = protocol;
  h.id = 0x1234;
  return h;
}

inline std::vector<u8> craft_udp(ipv4_addr from, u16 sport, ipv4_addr to, u16 dport,
                                 byte_view data) {
  std::vector<u8> udp(8 + data.size());
  emit(udp, udp_datagram{sport, dport, data}, from, to);
  return craft_ip(craft_header(from, to, uapi::ipproto_udp), udp);
}

inline std::vector<u8> craft_icmp(ipv4_addr from, ipv4_addr to, u8 type, u8 code, u32 rest,
                                  byte_view data) {
  std::vector<u8> icmp(8 + data.size());
  emit(icmp, icmp_message{type, code, rest, data});
  return craft_ip(craft_header(from, to, uapi::ipproto_icmp), icmp);
}

}  // namespace ph
