// CRC32c against the examples of RFC 3720 appendix B.4 and a bit-by-bit reference.
#include "wire/crc32c.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "base/rng.h"
#include "tests/wire/golden.h"

namespace ph {
namespace {

u32 bit_by_bit(byte_view bytes) {
  u32 crc = ~u32{0};
  for (const u8 byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) ? 0x82f63b78u : 0);
  }
  return ~crc;
}

TEST(crc32c, rfc3720_examples) {
  std::vector<u8> bytes(32, 0);
  EXPECT_EQ(crc32c(bytes), 0x8a9136aau);
  std::fill(bytes.begin(), bytes.end(), 0xff);
  EXPECT_EQ(crc32c(bytes), 0x62a8ab43u);
  std::iota(bytes.begin(), bytes.end(), 0);
  EXPECT_EQ(crc32c(bytes), 0x46dd794eu);
  std::reverse(bytes.begin(), bytes.end());
  EXPECT_EQ(crc32c(bytes), 0x113fdb5cu);
  const auto read_command = golden::from_hex(
      "01c00000 00000000 00000000 00000000 14000000 00000400 00000014 00000018"
      "28000000 00000000 02000000 00000000");
  EXPECT_EQ(crc32c(read_command), 0xd9963a56u);
}

TEST(crc32c, check_value) {
  EXPECT_EQ(crc32c(bytes_of(std::string_view("123456789"))), 0xe3069283u);
}

TEST(crc32c, every_length_and_alignment_and_any_cut) {
  rng random(31);
  std::vector<u8> bytes(120);
  for (u8& byte : bytes) byte = static_cast<u8>(random.next());
  for (std::size_t at = 0; at < 8; ++at) {
    for (std::size_t n = 0; n <= 100; ++n) {
      const byte_view part = byte_view(bytes).subspan(at, n);
      ASSERT_EQ(crc32c(part), bit_by_bit(part));
      const std::size_t cut = random.below(n + 1);
      ASSERT_EQ(crc32c(part.subspan(cut), crc32c(part.first(cut))), bit_by_bit(part));
    }
  }
}

}  // namespace
}  // namespace ph
