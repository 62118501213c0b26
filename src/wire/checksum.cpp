// The Internet checksum: 64-bit words in four lanes, carries counted apart, folded at the end.
//
// RFC 1071 §2: the sum does not depend on the byte order of the machine, nor on the width of the
// words that are added, as long as carries go around. Incremental update: RFC 1624 eqn. 3.
#include "wire/checksum.h"

#include <bit>

namespace ph {
namespace {

/// The next sizeof(Word) bytes in the machine's order, copied on the way when asked.
template <class Word, bool copy>
Word load(const u8* from, u8* to) {
  Word word;
  std::memcpy(&word, from, sizeof(word));
  if constexpr (copy) std::memcpy(to, &word, sizeof(word));
  return word;
}

constexpr u32 fold64(u64 sum) {
  sum = (sum & 0xffffffff) + (sum >> 32);
  sum = (sum & 0xffffffff) + (sum >> 32);
  return static_cast<u32>(sum);
}

constexpr u16 fold32(u32 sum) {
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<u16>(sum);
}

/// One lane: a 64-bit sum and how often it wrapped (each wrap is worth one, RFC 1071 §2(A)).
struct lane {
  u64 sum = 0;
  u64 wraps = 0;
  void add(u64 word) {
    sum += word;
    wraps += sum < word ? 1 : 0;
  }
  /// Sum and wraps as one number below 2^33.
  [[nodiscard]] u64 folded() const { return u64{fold64(sum)} + wraps; }
};

/// HOT: sums n bytes; with `copy` also copies them to `to`.
template <bool copy>
u32 sum_bytes(const u8* from, u8* to, std::size_t n, u32 initial) {
  lane a, b, c, d;
  const auto at = [&](std::size_t i) { return copy ? to + i : nullptr; };
  while (n >= 32) {
    a.add(load<u64, copy>(from, at(0)));
    b.add(load<u64, copy>(from + 8, at(8)));
    c.add(load<u64, copy>(from + 16, at(16)));
    d.add(load<u64, copy>(from + 24, at(24)));
    from += 32;
    n -= 32;
    if constexpr (copy) to += 32;
  }
  const auto step = [&](std::size_t width) {
    from += width;
    n -= width;
    if constexpr (copy) to += width;
  };
  while (n >= 8) {
    a.add(load<u64, copy>(from, to));
    step(8);
  }
  u64 tail = initial;
  if (n >= 4) {
    tail += load<u32, copy>(from, to);
    step(4);
  }
  if (n >= 2) {
    tail += load<u16, copy>(from, to);
    step(2);
  }
  if (n != 0) {  // RFC 1071 §1: an odd byte is padded with a zero after it
    const std::array<u8, 2> padded{*from, 0};
    tail += std::bit_cast<u16>(padded);
    if constexpr (copy) *to = *from;
  }
  return fold64(a.folded() + b.folded() + c.folded() + d.folded() + tail);
}

u32 native(be16 field) { return std::bit_cast<u16>(field); }
u32 native(be32 field) { return std::bit_cast<u32>(field); }

}  // namespace

csum_partial csum_add_bytes(byte_view bytes, csum_partial initial) {
  return {sum_bytes<false>(bytes.data(), nullptr, bytes.size(), initial.sum)};
}

csum_partial csum_add(csum_partial a, csum_partial b) { return {fold64(u64{a.sum} + b.sum)}; }

csum_partial csum_block_add(csum_partial whole, csum_partial block, std::size_t offset) {
  // RFC 1071 §2(B): at an odd offset every byte of the block changes its half of a word.
  if (offset % 2 != 0) block.sum = std::rotl(block.sum, 8);
  return csum_add(whole, block);
}

csum_partial csum_and_copy(byte_span to, byte_view from, csum_partial initial) {
  ph_check(to.size() == from.size());
  return {sum_bytes<true>(from.data(), to.data(), from.size(), initial.sum)};
}

be16 csum_fold(csum_partial sum) {
  return std::bit_cast<be16>(static_cast<u16>(~fold32(sum.sum)));
}

csum_partial csum_pseudo_ipv4(ipv4_addr saddr, ipv4_addr daddr, u8 protocol, u16 len) {
  const u64 sum = u64{native(saddr.raw)} + native(daddr.raw) + native(be16(protocol)) +
                  native(be16(len));
  return {fold64(sum)};
}

csum_partial csum_pseudo_ipv6(const ipv6_addr& saddr, const ipv6_addr& daddr, u8 next_header,
                              u32 len) {
  csum_partial sum = csum_add_bytes(saddr.bytes);
  sum = csum_add_bytes(daddr.bytes, sum);
  return {fold64(u64{sum.sum} + native(be32(len)) + native(be32(next_header)))};
}

be16 csum_replace2(be16 checksum, be16 from, be16 to) {
  const u32 sum = (~native(checksum) & 0xffff) + (~native(from) & 0xffff) + native(to);
  return csum_fold({sum});
}

be16 csum_replace4(be16 checksum, be32 from, be32 to) {
  const u64 sum = (~native(checksum) & 0xffff) + u64{~native(from)} + native(to);
  return csum_fold({fold64(sum)});
}

}  // namespace ph
