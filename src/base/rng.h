// Repeatable randomness: xoshiro256** seeded by splitmix64. fork(label) gives an independent
// stream by name, so that adding a consumer does not disturb the others. Not for secrets.
#pragma once

#include <array>
#include <bit>
#include <string_view>

#include "base/byteorder.h"

namespace ph {

class rng {
 public:
  explicit rng(u64 seed);
  /// The next 64 random bits.
  u64 next();
  /// Uniform in [0, bound); 0 when bound is 0.
  u64 below(u64 bound);
  /// Uniform in [0, 1).
  double uniform();
  /// True with the given probability.
  bool chance(double probability);
  u32 next32() { return static_cast<u32>(next() >> 32); }
  /// A stream of its own for `label`; does not advance this one.
  [[nodiscard]] rng fork(std::string_view label) const;

 private:
  std::array<u64, 4> state_;
};

}  // namespace ph
