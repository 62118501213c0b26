// softnet: what each cpu keeps for received packets that no device queue holds: the backlog of
// netif_rx, and the place where packets may be steered to another cpu.
#pragma once

#include "kernel/kernel.h"
#include "net/core/skb_queue.h"

namespace ph {

/// The receive backlog of one cpu. `net.core.netdev_max_backlog` packets at most.
class softnet_backlog final : public poll_source {
 public:
  /// Receives up to `budget` packets.
  int poll(cpu& cx, int budget) override;
  skb_queue queue;
};

/// One per kernel, made by its first namespace.
class softnet final : public slot_object {
 public:
  explicit softnet(kernel& machine);
  ~softnet() override;
  [[nodiscard]] softnet_backlog& of(const cpu& cx) { return backlogs_[cx.id()]; }
  /// Queues for `target` (a cpu of this kernel), or drops: cpu_backlog.
  void enqueue(cpu& cx, cpu& target, skb_ptr skb);
  /// Drops what waits of a device that goes away.
  void flush_dev(net_device& dev);

  /// Receive packet steering: the cpu that shall go on with a packet. Not set: the one it came
  /// in on.
  inline_fn<cpu&(cpu&, const sk_buff&)> steer;
  std::size_t max_backlog = 1000;

 private:
  kernel& machine_;
  percpu<softnet_backlog> backlogs_;
};

inline constexpr slot_key<softnet> softnet_key{"softnet"};

}  // namespace ph
