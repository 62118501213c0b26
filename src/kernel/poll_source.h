// The abstract "has work" of a cpu: a NAPI instance, a stalled transmit queue, a shim channel.
#pragma once

#include "base/intrusive.h"

namespace ph {

class cpu;

/// Something a cpu polls until it is out of work. Scheduled by cpu::schedule; leaves the list by
/// itself when destroyed.
class poll_source : public list_hook<struct poll_tag> {
 public:
  virtual ~poll_source() = default;
  /// Does at most `budget` units of work and returns how many it did; returning `budget` keeps
  /// it scheduled, less takes it off the list until scheduled again.
  virtual int poll(cpu& cx, int budget) = 0;
  [[nodiscard]] bool scheduled() const { return is_linked(); }
};

}  // namespace ph
