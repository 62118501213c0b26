// What happens to IP options on the way (RFC 791 §3.1, RFC 1122 §3.2.1.8, RFC 1812 §5.3.13).
#pragma once

#include <optional>

#include "net/core/skbuff.h"
#include "uapi/inet.h"
#include "wire/ipv4.h"

namespace ph {

class net_device;
class net_namespace;

/// Options for a header, padded to words.
struct ip_option_list {
  std::array<u8, uapi::max_ipoptlen> bytes{};
  std::size_t len = 0;
  [[nodiscard]] byte_view view() const { return byte_view(bytes).first(len); }
};

/// The options in the header of a packet (empty: it has none).
inline byte_view ip_options_of(const sk_buff& skb) {
  const std::size_t header = skb.network_header<iphdr>().header_bytes();
  return skb.network_bytes().subspan(sizeof(iphdr), header - sizeof(iphdr));
}
/// Checks the options of a packet that came by `dev` and was routed (network header at data), and
/// enters us where a record route or timestamp option has room. On an error the sender is told
/// (parameter problem), options before the one at fault are entered all the same, and the reason to
/// drop is returned; none: go on. The header checksum stays as it came, which is what errors quote
/// and raw sockets see.
skb_drop_reason ip_rcv_options(cpu& cx, sk_buff& skb, net_device& dev);
/// A packet that came by `in` leaves for another host by `out`: the route that is recorded shows
/// the address there, and the header checksum is right again. Makes the header private.
void ip_options_forward(cpu& cx, sk_buff& skb, net_device& in, net_device& out);
/// Enters `addr` and the time into the options of a packet of our own, and repairs the header
/// checksum. Makes the header private.
void ip_options_origin(cpu& cx, sk_buff& skb, net_namespace& net, ipv4_addr addr);
/// The options for an answer to a packet that ip_rcv_options() has seen: record route, timestamp
/// and security label (CIPSO) as they are now, no others. No value: they leave no room that an
/// answer could use, so there is no answer.
std::optional<ip_option_list> ip_options_echo(net_namespace& net, byte_view options);
/// Options of fragments after the first: those without the copy bit become no-operations.
void ip_options_fragment(byte_span options);
/// Milliseconds since midnight UT, as timestamps of IP and ICMP count (RFC 791 §3.1).
u32 ip_timestamp(cpu& cx);

}  // namespace ph
