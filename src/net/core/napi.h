// NAPI: a receive queue that is polled with a budget while it has packets and sleeps when not.
#pragma once

#include "kernel/poll_source.h"
#include "net/core/net_device.h"

namespace ph {

/// A driver derives from it, implements poll() and schedules it (cpu::schedule) when frames wait.
class napi : public poll_source {
 public:
  explicit napi(net_device& dev) : dev_(dev) {}
  [[nodiscard]] net_device& dev() const { return dev_; }

 private:
  net_device& dev_;
};

/// Hands a frame (link header pulled, protocol set) to the stack; the place where GRO merges.
void napi_gro_receive(cpu& cx, napi& source, skb_ptr skb);

}  // namespace ph
