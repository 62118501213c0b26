// Time and chance as interfaces: implemented by the simulator (virtual, seeded) and by the
// platform (monotonic clock, getrandom).
#pragma once

#include "base/bytes.h"
#include "base/rng.h"
#include "base/time.h"

namespace ph {

/// Tells the time. A kernel never asks; whoever runs it does and passes `now` in.
class clock_source {
 public:
  virtual ~clock_source() = default;
  [[nodiscard]] virtual instant now() = 0;
};

/// The clocks of the world in which a machine lives, if it is a real one: for what programs see of
/// the time. A machine's own time stands still during a call.
class outer_clocks {
 public:
  virtual ~outer_clocks() = default;
  /// The machine's own time, as it is at this moment.
  [[nodiscard]] virtual instant now() = 0;
  /// What the wall clock would have shown when the machine's time was 0; it changes as that is set.
  [[nodiscard]] virtual instant wall_epoch() = 0;
};

/// Bytes that nobody can guess, for keys (RFC 6528 ISN, hash tables, cookies).
class entropy {
 public:
  virtual ~entropy() = default;
  virtual void fill(byte_span out) = 0;
};

/// Entropy of a simulation: repeatable from a seed.
class seeded_entropy final : public entropy {
 public:
  explicit seeded_entropy(u64 seed) : random_(seed) {}
  void fill(byte_span out) override {
    for (u8& byte : out) byte = static_cast<u8>(random_.next());
  }

 private:
  rng random_;
};

}  // namespace ph
