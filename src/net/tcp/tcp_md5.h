// The TCP MD5 signature option, RFC 2385: MD5 over pseudo header, TCP header without options, data
// and key. Old and weak, and what BGP peers still ask for.
#pragma once

#include "net/tcp/tcp_auth.h"

namespace ph {

/// The key with the longest prefix that is for the peer, or nullptr. A key for the device goes
/// before one for all.
const tcp_md5_key* tcp_md5_find(const tcp_auth* auth, const inet_addr& peer, ifindex dev);
/// The digest of a segment: `header` with its options, payload of `skb` from `payload_at` on.
std::array<u8, 16> tcp_md5_digest(const tcp_md5_key& key, byte_view pseudo, byte_view header,
                                  const sk_buff& skb, u32 payload_at);
/// TCP_MD5SIG and TCP_MD5SIG_EXT. Errors: inval, noent (nothing to delete).
result<void> tcp_md5_setsockopt(tcp_sock& tp, int name, byte_view value);

}  // namespace ph
