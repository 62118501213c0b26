// Time as plain nanoseconds. There is no clock here: whoever runs a kernel passes `now` in.
#pragma once

#include <compare>
#include <limits>

#include "base/byteorder.h"

namespace ph {

/// A span of time in nanoseconds.
struct duration {
  s64 ns = 0;
  friend constexpr auto operator<=>(const duration&, const duration&) = default;
  constexpr duration operator+(duration o) const { return {ns + o.ns}; }
  constexpr duration operator-(duration o) const { return {ns - o.ns}; }
  constexpr duration operator-() const { return {-ns}; }
  constexpr duration operator*(s64 k) const { return {ns * k}; }
  constexpr duration operator/(s64 k) const { return {ns / k}; }
  constexpr s64 operator/(duration o) const { return ns / o.ns; }
  constexpr duration& operator+=(duration o) { ns += o.ns; return *this; }
  [[nodiscard]] constexpr s64 us() const { return ns / 1000; }
  [[nodiscard]] constexpr s64 ms() const { return ns / 1'000'000; }
  [[nodiscard]] constexpr double seconds() const { return static_cast<double>(ns) / 1e9; }
};

constexpr duration nanoseconds(s64 n) { return {n}; }
constexpr duration microseconds(s64 n) { return {n * 1000}; }
constexpr duration milliseconds(s64 n) { return {n * 1'000'000}; }
constexpr duration seconds(s64 n) { return {n * 1'000'000'000}; }

/// A point in time: nanoseconds since the machine's epoch (its boot).
struct instant {
  s64 ns = 0;
  friend constexpr auto operator<=>(const instant&, const instant&) = default;
  constexpr instant operator+(duration d) const { return {ns + d.ns}; }
  constexpr instant operator-(duration d) const { return {ns - d.ns}; }
  constexpr duration operator-(instant o) const { return {ns - o.ns}; }
  constexpr instant& operator+=(duration d) { ns += d.ns; return *this; }
  [[nodiscard]] constexpr s64 us() const { return ns / 1000; }
  [[nodiscard]] constexpr s64 ms() const { return ns / 1'000'000; }
};

/// Later than everything: "no deadline".
inline constexpr instant never{std::numeric_limits<s64>::max()};

/// A rate in bits per second; 0 means unlimited.
struct bit_rate {
  u64 bps = 0;
  friend constexpr auto operator<=>(const bit_rate&, const bit_rate&) = default;
  /// How long `bytes` occupy the wire, rounded down to a nanosecond; zero when unlimited.
  [[nodiscard]] constexpr duration transmit_time(u64 bytes) const {
    if (bps == 0) return {0};
    constexpr u64 ns_per_second = 1'000'000'000;
    const u64 bits = bytes * 8;  // fits below 2^61 bytes
    if (bits <= std::numeric_limits<u64>::max() / ns_per_second) {
      return {static_cast<s64>(bits * ns_per_second / bps)};  // any packet: one exact division
    }
    const u64 whole = bits / bps;
    const auto rest = static_cast<long double>(bits % bps) * ns_per_second / bps;
    return {static_cast<s64>(whole * ns_per_second + static_cast<u64>(rest))};
  }
};

namespace literals {
constexpr duration operator""_ns(unsigned long long n) { return {static_cast<s64>(n)}; }
constexpr duration operator""_us(unsigned long long n) { return microseconds(static_cast<s64>(n)); }
constexpr duration operator""_ms(unsigned long long n) { return milliseconds(static_cast<s64>(n)); }
constexpr duration operator""_s(unsigned long long n) { return seconds(static_cast<s64>(n)); }
constexpr bit_rate operator""_mbit(unsigned long long n) { return {n * 1'000'000}; }
constexpr bit_rate operator""_gbit(unsigned long long n) { return {n * 1'000'000'000}; }
}  // namespace literals

}  // namespace ph
