// SipHash and Toeplitz against their published vectors.
#include "base/hash.h"

#include <gtest/gtest.h>

#include <numeric>
#include <set>
#include <vector>

#include "base/rng.h"

namespace ph {
namespace {

TEST(siphash, published_vectors) {
  // SipHash-2-4 of 00, 01 ... with key 00 ... 0f (appendix A of the paper, and its test program).
  const siphash_key key{0x0706050403020100, 0x0f0e0d0c0b0a0908};
  const u64 expected[] = {0x726fdb47dd0e0e31, 0x74f839c593dc67fd, 0x0d6c8009d9a94f5a,
                          0x85676696d7fb7e2d, 0xcf2794e0277187b7, 0x18765564cd99a68d,
                          0xcbc9466e58fee3ce, 0xab0200f58b01d137, 0x93f5f5799a932462,
                          0x9e0082df0ba9e4b0, 0x7a5dbbc594ddb9f3, 0xf4b32f46226bada7,
                          0x751e8fbc860ee5fb, 0x14ea5627c0843d90, 0xf723ca908e7af2ee,
                          0xa129ca6149be45e5};
  std::vector<u8> bytes(16);
  std::iota(bytes.begin(), bytes.end(), 0);
  for (std::size_t n = 0; n < 16; ++n) {
    EXPECT_EQ(siphash(key, byte_view(bytes).first(n)), expected[n]) << n;
  }
}

TEST(toeplitz, published_vectors) {
  // The RSS verification suite: destination 161.142.100.80:1766, source 66.9.149.187:2794.
  const u8 with_ports[] = {66, 9, 149, 187, 161, 142, 100, 80, 0x0a, 0xea, 0x06, 0xe6};
  EXPECT_EQ(toeplitz(rss_default_key, with_ports), 0x51ccc178u);
  EXPECT_EQ(toeplitz(rss_default_key, byte_view(with_ports).first(8)), 0x323e8fc2u);
  // IPv6: 3ffe:2501:200:1fff::7:2794 to 3ffe:2501:200:3::1:1766.
  const u8 ipv6[] = {0x3f, 0xfe, 0x25, 0x01, 0x02, 0x00, 0x1f, 0xff, 0, 0, 0, 0, 0, 0, 0, 7,
                     0x3f, 0xfe, 0x25, 0x01, 0x02, 0x00, 0x00, 0x03, 0, 0, 0, 0, 0, 0, 0, 1,
                     0x0a, 0xea, 0x06, 0xe6};
  EXPECT_EQ(toeplitz(rss_default_key, ipv6), 0x40207d3du);
  EXPECT_EQ(toeplitz(rss_default_key, byte_view(ipv6).first(32)), 0x2cc18cd5u);
}

TEST(toeplitz, is_linear) {
  rng random(14);
  for (int i = 0; i < 200; ++i) {
    std::array<u8, 12> a{}, b{}, both{};
    for (std::size_t k = 0; k < a.size(); ++k) {
      a[k] = static_cast<u8>(random.next());
      b[k] = static_cast<u8>(random.next());
      both[k] = a[k] ^ b[k];
    }
    EXPECT_EQ(toeplitz(rss_default_key, both),
              toeplitz(rss_default_key, a) ^ toeplitz(rss_default_key, b));
  }
  EXPECT_EQ(toeplitz(rss_default_key, {}), 0u);
}

TEST(mix64, is_a_bijection_on_samples_and_moves_low_bits_up) {
  std::set<u64> seen;
  for (u64 i = 0; i < 10000; ++i) EXPECT_TRUE(seen.insert(mix64(i)).second);
  EXPECT_EQ(mix64(0), 0u);
  EXPECT_NE(mix64(1) >> 32, mix64(2) >> 32);
}

}  // namespace
}  // namespace ph
