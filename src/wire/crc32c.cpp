// CRC32c by table, eight bytes a step: table k holds the effect of a byte followed by k zeros.
#include "wire/crc32c.h"

namespace ph {
namespace {

constexpr u32 reflected_polynomial = 0x82f63b78;  // 0x1edc6f41, lowest bit first

using crc_tables = std::array<std::array<u32, 256>, 8>;

constexpr crc_tables make_tables() {
  crc_tables t{};
  for (u32 byte = 0; byte < 256; ++byte) {
    u32 crc = byte;
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc >> 1) ^ ((crc & 1) != 0 ? reflected_polynomial : 0);
    }
    t[0][byte] = crc;
  }
  for (std::size_t k = 1; k < 8; ++k) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const u32 before = t[k - 1][byte];
      t[k][byte] = (before >> 8) ^ t[0][before & 255];
    }
  }
  return t;
}

constexpr crc_tables tables = make_tables();

}  // namespace

u32 crc32c(byte_view bytes, u32 continued) {
  u32 crc = ~continued;
  while (bytes.size() >= 8) {
    const u64 word = view_as<le64>(bytes)->value() ^ crc;
    crc = 0;
    for (std::size_t k = 0; k < 8; ++k) crc ^= tables[7 - k][(word >> (8 * k)) & 255];
    bytes = bytes.subspan(8);
  }
  for (const u8 byte : bytes) crc = (crc >> 8) ^ tables[0][(crc ^ byte) & 255];
  return ~crc;
}

}  // namespace ph
