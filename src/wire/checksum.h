// The Internet checksum: RFC 1071 (sum), RFC 1624 (incremental update), pseudo headers.
#pragma once

#include "wire/inet_addr.h"

namespace ph {

/// An unfolded one's-complement sum in "native" byte order of the packet's bytes: sums of pieces of
/// even length add; a piece that starts at an odd offset is added with csum_block_add.
struct csum_partial {
  u32 sum = 0;
  friend constexpr bool operator==(csum_partial, csum_partial) = default;
};

/// The sum of `bytes`, added to `initial`.
csum_partial csum_add_bytes(byte_view bytes, csum_partial initial = {});
/// a + b, with end-around carry.
csum_partial csum_add(csum_partial a, csum_partial b);
/// The sum of a block that begins at byte `offset` of the whole (matters when odd).
csum_partial csum_block_add(csum_partial whole, csum_partial block, std::size_t offset);
/// Copies and sums in one pass. `to` must be as long as `from`.
csum_partial csum_and_copy(byte_span to, byte_view from, csum_partial initial = {});
/// Folds and complements: the value to store in a header. Never changes 0xffff/0 for you.
be16 csum_fold(csum_partial sum);
/// True when data that includes its own checksum sums to zero.
inline bool csum_ok(csum_partial sum) { return csum_fold(sum) == be16(0); }
/// The IPv4 pseudo header (RFC 9293 §3.1; RFC 768). len: bytes of transport header and data.
csum_partial csum_pseudo_ipv4(ipv4_addr saddr, ipv4_addr daddr, u8 protocol, u16 len);
/// The IPv6 pseudo header (RFC 8200 §8.1).
csum_partial csum_pseudo_ipv6(const ipv6_addr& saddr, const ipv6_addr& daddr, u8 next_header,
                              u32 len);
/// RFC 1624 eqn. 3: the checksum after a 16-bit field changed from `from` to `to`.
be16 csum_replace2(be16 checksum, be16 from, be16 to);
be16 csum_replace4(be16 checksum, be32 from, be32 to);

}  // namespace ph
