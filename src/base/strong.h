// Small integers with a meaning: an interface index is not a port.
#pragma once

#include <compare>

#include "base/byteorder.h"

namespace ph {

template <class Raw, class Tag>
struct strong {
  Raw value{};
  constexpr strong() = default;
  constexpr explicit strong(Raw v) : value(v) {}
  friend constexpr auto operator<=>(const strong&, const strong&) = default;
  /// False for zero, which in all of these means "none".
  constexpr explicit operator bool() const { return value != Raw{}; }
};

using ifindex = strong<u32, struct ifindex_tag>;
using port_no = strong<u16, struct port_tag>;  // host order
using mark32 = strong<u32, struct mark_tag>;
using cpu_id = strong<u32, struct cpu_tag>;

}  // namespace ph
