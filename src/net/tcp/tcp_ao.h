// The TCP Authentication Option, RFC 5925, with the algorithms of RFC 5926: HMAC-SHA-1-96 and
// AES-128-CMAC-96. Keys are set by the program; which of them is in use changes by RNextKeyID while
// the connection goes on.
//
// Does not: other algorithms than the two that every implementation must have;
// remember traffic keys (they are derived for each segment).
#pragma once

#include "net/tcp/tcp_auth.h"

namespace ph {

/// Source and destination of segments that a traffic key signs (RFC 5925 §5.2).
struct tcp_ao_context {
  inet_addr src, dst;
  u16 sport = 0, dport = 0;
  u32 sisn = 0, disn = 0;
};
tcp_traffic_key tcp_ao_derive(const tcp_ao_key& key, const tcp_ao_context& context);

/// The authentication code of a segment (RFC 5925 §5.1); the first `key.maclen` bytes count.
/// `mac_at`: where it lies in `header`; what lies there does not matter.
std::array<u8, 20> tcp_ao_mac(const tcp_ao_key& key, const tcp_traffic_key& traffic, u32 sne,
                              byte_view pseudo, byte_view header, std::size_t mac_at,
                              const sk_buff& skb, u32 payload_at);

/// A key for the peer: by the identifier in segments that arrive, in those that leave, or any.
tcp_ao_key* tcp_ao_by_rcvid(tcp_ao_state& ao, const inet_addr& peer, ifindex dev, u8 id);
const tcp_ao_key* tcp_ao_by_sndid(const tcp_ao_state& ao, const inet_addr& peer, ifindex dev,
                                  u8 id);
const tcp_ao_key* tcp_ao_any(const tcp_ao_state& ao, const inet_addr& peer, ifindex dev);

/// TCP_AO_ADD_KEY, TCP_AO_DEL_KEY, TCP_AO_INFO, TCP_AO_REPAIR; TCP_AO_GET_KEYS and the last two.
result<void> tcp_ao_setsockopt(tcp_sock& tp, int name, byte_view value);
result<std::size_t> tcp_ao_getsockopt(tcp_sock& tp, int name, byte_span out);

}  // namespace ph
