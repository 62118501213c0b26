// Integers as they lie in packets: stored as bytes, alignment 1, converted explicitly.
//
// A struct made of be16/be32/be64 members can be laid over any byte address without undefined
// behaviour, and host order never leaks into wire order unnoticed: there is no implicit conversion.
#pragma once

#include <array>
#include <bit>
#include <compare>
#include <concepts>
#include <cstddef>
#include <cstdint>

namespace ph {

using u8 = std::uint8_t;
using u16 = std::uint16_t;
using u32 = std::uint32_t;
using u64 = std::uint64_t;
using s8 = std::int8_t;
using s16 = std::int16_t;
using s32 = std::int32_t;
using s64 = std::int64_t;

enum class byte_order { big, little };

/// The bytes of a value in reverse.
template <std::unsigned_integral T>
constexpr T swap_bytes(T value) {
  if constexpr (sizeof(T) == 2) return __builtin_bswap16(value);
  if constexpr (sizeof(T) == 4) return __builtin_bswap32(value);
  if constexpr (sizeof(T) == 8) return __builtin_bswap64(value);
}

/// An unsigned integer stored in a fixed byte order with alignment 1.
template <std::unsigned_integral Host, byte_order Order>
class ordered_int {
 public:
  constexpr ordered_int() = default;
  constexpr explicit ordered_int(Host value) { set(value); }

  /// The value in host order.
  [[nodiscard]] constexpr Host value() const { return swapped(std::bit_cast<Host>(bytes_)); }
  constexpr void set(Host value) { bytes_ = std::bit_cast<stored>(swapped(value)); }
  /// The bytes as stored.
  [[nodiscard]] constexpr const std::array<u8, sizeof(Host)>& bytes() const { return bytes_; }

  friend constexpr bool operator==(const ordered_int&, const ordered_int&) = default;
  friend constexpr std::strong_ordering operator<=>(const ordered_int& a, const ordered_int& b) {
    return a.value() <=> b.value();
  }

 private:
  using stored = std::array<u8, sizeof(Host)>;
  static constexpr Host swapped(Host value) {
    constexpr bool native_is_big = std::endian::native == std::endian::big;
    return native_is_big == (Order == byte_order::big) ? value : swap_bytes(value);
  }
  stored bytes_{};
};

using be16 = ordered_int<u16, byte_order::big>;
using be32 = ordered_int<u32, byte_order::big>;
using be64 = ordered_int<u64, byte_order::big>;
using le16 = ordered_int<u16, byte_order::little>;
using le32 = ordered_int<u32, byte_order::little>;
using le64 = ordered_int<u64, byte_order::little>;

static_assert(sizeof(be32) == 4 && alignof(be64) == 1);

}  // namespace ph
