// A file whose readiness the test sets by hand.
#pragma once

#include "kernel/file.h"

namespace ph {

class fake_file final : public file {
 public:
  [[nodiscard]] u32 poll() override {
    ++polls;
    return ready;
  }
  void release() override { ++releases; }
  /// New readiness, told to the waiters as a socket does.
  void become(u32 events) {
    ready |= events;
    waiters().wake(events);
  }
  u32 ready = 0;
  int polls = 0;
  int releases = 0;
};

}  // namespace ph
