// The Internet checksum against a naive reference: every alignment, every length, odd joints.
#include "wire/checksum.h"

#include <gtest/gtest.h>

#include <vector>

#include "base/rng.h"

namespace ph {
namespace {

/// RFC 1071 §1 word by word, in network order.
u16 naive(byte_view bytes) {
  u32 sum = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    sum += i % 2 == 0 ? u32{bytes[i]} << 8 : u32{bytes[i]};
    sum = (sum & 0xffff) + (sum >> 16);
  }
  return static_cast<u16>(~sum);
}

std::vector<u8> random_bytes(rng& random, std::size_t n) {
  std::vector<u8> out(n);
  for (u8& byte : out) byte = static_cast<u8>(random.next());
  return out;
}

u16 fast(byte_view bytes) { return csum_fold(csum_add_bytes(bytes)).value(); }

/// Equal as numbers modulo 0xffff: 0 and 0xffff are the two zeros of one's complement.
bool same_class(u16 a, u16 b) { return a % 0xffff == b % 0xffff; }

TEST(checksum, rfc1071_example) {
  const u8 bytes[] = {0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7};
  EXPECT_EQ(fast(bytes), static_cast<u16>(~0xddf2));
}

TEST(checksum, known_ipv4_header) {
  const u8 header[] = {0x45, 0x00, 0x00, 0x73, 0x00, 0x00, 0x40, 0x00, 0x40, 0x11,
                       0xb8, 0x61, 0xc0, 0xa8, 0x00, 0x01, 0xc0, 0xa8, 0x00, 0xc7};
  EXPECT_TRUE(csum_ok(csum_add_bytes(header)));
  auto without = std::to_array(header);
  without[10] = without[11] = 0;
  EXPECT_EQ(fast(without), 0xb861);
}

TEST(checksum, nothing_sums_to_zero) {
  EXPECT_EQ(csum_add_bytes({}).sum, 0u);
  EXPECT_EQ(fast({}), 0xffff);
}

TEST(checksum, agrees_with_the_naive_sum_at_every_alignment_and_length) {
  rng random(1);
  for (const int fill : {0, 1, 2}) {  // random, all ones, all zeros: carries and no carries
    std::vector<u8> bytes = random_bytes(random, 320);
    if (fill != 0) std::fill(bytes.begin(), bytes.end(), fill == 1 ? u8{0xff} : u8{0});
    for (std::size_t at = 0; at < 16; ++at) {
      for (std::size_t n = 0; n <= 300; ++n) {
        const byte_view part = byte_view(bytes).subspan(at, n);
        ASSERT_EQ(fast(part), naive(part)) << "at " << at << " length " << n << " fill " << fill;
      }
    }
  }
}

TEST(checksum, long_runs_of_ones_keep_every_carry) {
  const std::vector<u8> bytes(65535, 0xff);
  EXPECT_EQ(fast(bytes), naive(bytes));
}

TEST(checksum, initial_value_is_added) {
  rng random(2);
  for (int round = 0; round < 2000; ++round) {
    const auto bytes = random_bytes(random, random.below(90) + 2);
    const std::size_t cut = random.below(bytes.size() / 2) * 2;
    const csum_partial first = csum_add_bytes(byte_view(bytes).first(cut));
    const csum_partial both = csum_add_bytes(byte_view(bytes).subspan(cut), first);
    ASSERT_EQ(csum_fold(both).value(), naive(bytes));
  }
}

TEST(checksum, blocks_join_at_odd_and_even_offsets) {
  rng random(3);
  for (int round = 0; round < 5000; ++round) {
    const auto bytes = random_bytes(random, random.below(200) + 1);
    csum_partial whole;
    for (std::size_t at = 0; at < bytes.size();) {
      const std::size_t n = std::min<std::size_t>(random.below(40), bytes.size() - at);
      whole = csum_block_add(whole, csum_add_bytes(byte_view(bytes).subspan(at, n)), at);
      at += n;
    }
    ASSERT_EQ(csum_fold(whole).value(), naive(bytes));
  }
}

TEST(checksum, copy_copies_and_sums_the_same) {
  rng random(4);
  const auto source = random_bytes(random, 330);
  for (std::size_t from = 0; from < 9; ++from) {
    for (std::size_t n = 0; n <= 300; ++n) {
      std::vector<u8> target(n + 20, 0xaa);
      const std::size_t to = (from * 3 + n) % 8;
      const byte_view piece = byte_view(source).subspan(from, n);
      const csum_partial sum = csum_and_copy(byte_span(target).subspan(to, n), piece, {12345});
      ASSERT_EQ(sum, csum_add_bytes(piece, {12345}));
      ASSERT_TRUE(std::equal(piece.begin(), piece.end(), target.begin() + static_cast<long>(to)));
      ASSERT_EQ(std::count(target.begin(), target.begin() + static_cast<long>(to), 0xaa),
                static_cast<long>(to));
      ASSERT_EQ(std::count(target.end() - static_cast<long>(20 - to), target.end(), 0xaa),
                static_cast<long>(20 - to));
    }
  }
}

TEST(checksum, add_commutes_and_carries_around) {
  EXPECT_EQ(csum_add({0xffffffff}, {1}).sum, 1u);
  EXPECT_EQ(csum_add({0xffffffff}, {0xffffffff}).sum, 0xffffffffu);
  rng random(5);
  for (int i = 0; i < 1000; ++i) {
    const csum_partial a{random.next32()}, b{random.next32()}, c{random.next32()};
    EXPECT_EQ(csum_add(a, b), csum_add(b, a));
    EXPECT_EQ(csum_fold(csum_add(csum_add(a, b), c)), csum_fold(csum_add(a, csum_add(b, c))));
  }
}

TEST(checksum, ipv4_pseudo_header_is_the_sum_of_its_bytes) {
  rng random(6);
  for (int i = 0; i < 2000; ++i) {
    const ipv4_addr saddr(random.next32()), daddr(random.next32());
    const u8 protocol = static_cast<u8>(random.next());
    const u16 len = static_cast<u16>(random.next());
    std::array<u8, 12> bytes{};
    byte_writer out(bytes);
    out.put(saddr);
    out.put(daddr);
    out.put(u8{0});
    out.put(protocol);
    out.put(be16(len));
    ASSERT_EQ(csum_fold(csum_pseudo_ipv4(saddr, daddr, protocol, len)).value(), naive(bytes));
  }
}

TEST(checksum, ipv6_pseudo_header_is_the_sum_of_its_bytes) {
  rng random(7);
  for (int i = 0; i < 500; ++i) {
    ipv6_addr saddr, daddr;
    for (u8& byte : saddr.bytes) byte = static_cast<u8>(random.next());
    for (u8& byte : daddr.bytes) byte = static_cast<u8>(random.next());
    const u32 len = random.next32();
    std::array<u8, 40> bytes{};
    byte_writer out(bytes);
    out.put(saddr);
    out.put(daddr);
    out.put(be32(len));
    out.put(be32(58));
    ASSERT_EQ(csum_fold(csum_pseudo_ipv6(saddr, daddr, 58, len)).value(), naive(bytes));
  }
}

TEST(checksum, rfc1624_example) {
  // RFC 1624 §4: HC = 0xdd2f, m = 0x5555, m' = 0x3285: eqn. 3 gives 0x0000, not 0xffff.
  EXPECT_EQ(csum_replace2(be16(0xdd2f), be16(0x5555), be16(0x3285)).value(), 0x0000);
}

TEST(checksum, incremental_update_equals_full_recomputation) {
  rng random(8);
  for (int i = 0; i < 20000; ++i) {
    auto bytes = random_bytes(random, 40);
    bytes[0] |= 1;  // the data are never all zero: there eqn. 3 and the full sum agree exactly
    const u16 before = naive(bytes);
    const std::size_t at = 2 + random.below(18) * 2;
    be16& field = *view_as<be16>(byte_span(bytes), at);
    const be16 old = field;
    field = random.chance(0.2) ? be16(0xffff) : be16(static_cast<u16>(random.next()));
    ASSERT_EQ(csum_replace2(be16(before), old, field).value(), naive(bytes));
    const u16 middle = naive(bytes);
    const std::size_t at4 = 2 + random.below(17) * 2;
    be32& word = *view_as<be32>(byte_span(bytes), at4);
    const be32 old4 = word;
    word = random.chance(0.2) ? be32(0xffffffff) : be32(random.next32());
    ASSERT_TRUE(same_class(csum_replace4(be16(middle), old4, word).value(), naive(bytes)));
    ASSERT_EQ(csum_replace4(be16(middle), old4, word).value(), naive(bytes));
  }
}

}  // namespace
}  // namespace ph
