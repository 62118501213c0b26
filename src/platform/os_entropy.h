// Unguessable bytes from the operating system, getrandom(2).
#pragma once

#include "kernel/clock.h"

namespace ph {

class os_entropy final : public entropy {
 public:
  /// Blocks only before the system's generator is first seeded.
  void fill(byte_span out) override;
};

}  // namespace ph
