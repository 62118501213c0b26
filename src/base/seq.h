// Sequence numbers that wrap: order is by signed distance (RFC 1982, RFC 9293 §3.4).
#pragma once

#include <concepts>
#include <type_traits>

#include "base/byteorder.h"

namespace ph {

/// A number on a circle of 2^N. `a < b` holds when b lies less than half the circle ahead of a.
template <std::unsigned_integral Raw, class Tag>
struct serial_number {
  using distance = std::make_signed_t<Raw>;
  Raw raw = 0;

  constexpr serial_number() = default;
  constexpr explicit serial_number(Raw r) : raw(r) {}
  friend constexpr bool operator==(serial_number, serial_number) = default;
  friend constexpr bool operator<(serial_number a, serial_number b) { return (a - b) < 0; }
  friend constexpr bool operator>(serial_number a, serial_number b) { return b < a; }
  friend constexpr bool operator<=(serial_number a, serial_number b) { return !(b < a); }
  friend constexpr bool operator>=(serial_number a, serial_number b) { return !(a < b); }
  /// Signed distance from b to a.
  friend constexpr distance operator-(serial_number a, serial_number b) {
    return static_cast<distance>(static_cast<Raw>(a.raw - b.raw));
  }
  friend constexpr serial_number operator+(serial_number a, Raw n) {
    return serial_number(static_cast<Raw>(a.raw + n));
  }
  friend constexpr serial_number operator-(serial_number a, Raw n) {
    return serial_number(static_cast<Raw>(a.raw - n));
  }
  constexpr serial_number& operator+=(Raw n) { return *this = *this + n; }
  constexpr serial_number& operator++() { return *this += Raw{1}; }
};

using seq32 = serial_number<u32, struct tcp_seq_tag>;
using tsn = serial_number<u32, struct sctp_tsn_tag>;
using ssn = serial_number<u16, struct sctp_ssn_tag>;

/// Later (resp. earlier) of two, on the circle.
template <class Seq>
constexpr Seq seq_max(Seq a, Seq b) { return a < b ? b : a; }
template <class Seq>
constexpr Seq seq_min(Seq a, Seq b) { return b < a ? b : a; }
/// RFC 9293 notation low <= x <= high on the circle.
template <class Seq>
constexpr bool between(Seq x, Seq low, Seq high) {
  using raw = decltype(x.raw);
  return static_cast<raw>(high.raw - low.raw) >= static_cast<raw>(x.raw - low.raw);
}

}  // namespace ph
