// The clocks of a running lab: the lab's own time, which is 0 when it starts and goes on with
// CLOCK_MONOTONIC, and what CLOCK_REALTIME shows beside it.
#pragma once

#include "platform/real_clock.h"

namespace ph {

class lab_clocks final : public outer_clocks {
 public:
  lab_clocks();
  [[nodiscard]] instant now() override;
  /// Looked at again every now and then: the wall clock is set, and runs at a pace of its own.
  [[nodiscard]] instant wall_epoch() override;

 private:
  real_clock clock_;
  instant started_;
  instant last_{};  ///< what now() said last
  instant looked_{};
  instant epoch_{};
};

}  // namespace ph
