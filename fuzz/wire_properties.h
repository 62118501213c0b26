// What must hold for wire/ on any bytes; shared by the fuzzer and by the test that replays the
// corpus with other compilers.
#pragma once

#include <string>
#include <vector>

#include "base/bytes.h"
#include "wire/arp.h"
#include "wire/crc32c.h"
#include "wire/dissect.h"
#include "wire/ethernet.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"
#include "wire/print.h"
#include "wire/tcp.h"
#include "wire/udp.h"

namespace ph::fuzz {

inline void check_inside(byte_view part, byte_view whole) {
  if (part.empty()) return;
  ph_check(part.data() >= whole.data());
  ph_check(part.data() + part.size() <= whole.data() + whole.size());
}

inline void check_line(const std::string& text) {
  ph_check(!text.empty());
  for (const char c : text) ph_check(c >= ' ' && c <= '~');
}

inline void arp_properties(byte_view bytes) {
  const auto arp = arp_view::parse(bytes);
  if (!arp) return;
  std::array<u8, sizeof(arp_ether_ipv4)> again{};
  ph_check(emit(again, arp->message()) == again.size());
  ph_check(arp_view::parse(again)->message() == arp->message());
}

inline void udp_properties(byte_view bytes, ipv4_addr saddr, ipv4_addr daddr) {
  const auto udp = udp_view::parse(bytes);
  if (!udp) return;
  check_inside(udp->payload, bytes);
  static_cast<void>(udp->checksum_ok(saddr, daddr));
  std::vector<u8> again(udp->bytes.size());
  ph_check(emit(again, udp->datagram(), saddr, daddr) == again.size());
  ph_check(udp_view::parse(again)->checksum_ok(saddr, daddr));
}

inline void tcp_properties(byte_view bytes, ipv4_addr saddr, ipv4_addr daddr) {
  const auto tcp = tcp_view::parse(bytes);
  if (!tcp) return;
  check_inside(tcp->options, bytes);
  check_inside(tcp->payload, bytes);
  static_cast<void>(tcp->checksum_ok(saddr, daddr));
  const auto on_syn = tcp_parse_options(tcp->options, true);
  const auto later = tcp_parse_options(tcp->options, false);
  ph_check(on_syn.num_sacks <= tcp_max_sacks && on_syn.snd_wscale <= uapi::tcp_max_winshift);
  ph_check(on_syn.saw_tstamp == later.saw_tstamp && later.mss == 0 && !later.fastopen.present());
  ph_check(on_syn.md5_offset == 0 || on_syn.md5_offset + 16u <= tcp->th->header_bytes());
  u32 tsval = 0, tsecr = 0;
  if (tcp_parse_aligned_timestamp(tcp->options, tsval, tsecr)) {
    ph_check(later.saw_tstamp && later.rcv_tsval == tsval && later.rcv_tsecr == tsecr);
  }
  check_line(print_tcp_options(tcp->options));
  if (bytes.size() > 65535) return;
  std::vector<u8> again(bytes.size());
  ph_check(emit(again, tcp->segment(), saddr, daddr) == again.size());
  const auto second = tcp_view::parse(again);
  ph_check(second && second->checksum_ok(saddr, daddr));
  ph_check(tcp_parse_options(second->options, true) == on_syn);
}

inline void icmp_properties(byte_view bytes) {
  const auto icmp = icmp_view::parse(bytes);
  if (!icmp) return;
  check_inside(icmp->payload, bytes);
  std::vector<u8> again(bytes.size());
  ph_check(emit(again, icmp->message()) == again.size());
  ph_check(icmp_view::parse(again)->checksum_ok());
}

inline void ipv4_properties(byte_view bytes) {
  check_line(print_ipv4(bytes));
  const auto keys = dissect_ipv4(bytes);
  const auto ip = ipv4_view::parse(bytes);
  ph_check(keys.has_value() == ip.has_value());
  if (!ip) return;
  check_inside(ip->options, bytes);
  check_inside(ip->payload, bytes);
  static_cast<void>(rss_hash(*keys, rss_default_key));
  ph_check(flow_hash(*keys, {1, 2}) == flow_hash(keys->reversed().reversed(), {1, 2}));
  const auto options = parse_ipv4_options(ip->options);
  if (!options) {
    ph_check(options.error() >= 20 && options.error() < ip->iph->header_bytes());
  }
  std::vector<u8> again(ip->iph->header_bytes());
  ph_check(emit(again, ip->header(), ip->payload.size()) == again.size());
  ph_check(csum_ok(csum_add_bytes(again)));
  if (ip->iph->is_fragment()) return;
  udp_properties(ip->payload, ip->iph->saddr, ip->iph->daddr);
  tcp_properties(ip->payload, ip->iph->saddr, ip->iph->daddr);
  icmp_properties(ip->payload);
}

inline void ethernet_properties(byte_view bytes) {
  check_line(print_ethernet(bytes));
  static_cast<void>(dissect_ethernet(bytes));
  const auto eth = ethernet_view::parse(bytes);
  if (!eth) return;
  check_inside(eth->payload, bytes);
  arp_properties(eth->payload);
  ipv4_properties(eth->payload);
}

/// Sums cut in two at any place are the sum of the whole.
inline void checksum_properties(byte_view bytes) {
  if (bytes.empty()) return;
  const std::size_t cut = bytes[0] % bytes.size();
  const csum_partial head = csum_add_bytes(bytes.first(cut));
  const csum_partial whole = csum_block_add(head, csum_add_bytes(bytes.subspan(cut)), cut);
  ph_check(csum_fold(whole) == csum_fold(csum_add_bytes(bytes)));
  std::vector<u8> copy(bytes.size());
  ph_check(csum_and_copy(copy, bytes) == csum_add_bytes(bytes));
  ph_check(std::equal(copy.begin(), copy.end(), bytes.begin()));
  ph_check(crc32c(bytes.subspan(cut), crc32c(bytes.first(cut))) == crc32c(bytes));
}

/// Aborts when some promise of wire/ does not hold for these bytes.
inline void wire_properties(byte_view input) {
  if (input.empty()) return;
  // A block of its own, so that sanitizers see a read past its end.
  const std::vector<u8> block(input.begin() + 1, input.end());
  const byte_view bytes(block);
  checksum_properties(bytes);
  const ipv4_addr saddr(10, 0, 0, 1), daddr(10, 0, 0, 2);
  switch (input[0] % 8) {
    case 0: ethernet_properties(bytes); break;
    case 1: ipv4_properties(bytes); break;
    case 2: tcp_properties(bytes, saddr, daddr); break;
    case 3: udp_properties(bytes, saddr, daddr); break;
    case 4: icmp_properties(bytes); break;
    case 5: arp_properties(bytes); break;
    case 6: check_line(print_tcp_options(bytes)); break;
    default:
      static_cast<void>(parse_ipv4_options(bytes.first(std::min<std::size_t>(40, bytes.size()))));
  }
}

}  // namespace ph::fuzz
