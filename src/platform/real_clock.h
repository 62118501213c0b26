// The clocks of the operating system, clock_gettime(2).
#pragma once

#include "kernel/clock.h"

namespace ph {

/// CLOCK_MONOTONIC: never goes back, not set by anybody. What kernels run on.
class real_clock final : public clock_source {
 public:
  [[nodiscard]] instant now() override;
};

/// CLOCK_REALTIME as nanoseconds since 1970, for what people read (SO_TIMESTAMP, captures).
[[nodiscard]] instant wall_clock_now();

}  // namespace ph
