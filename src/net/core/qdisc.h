// A queueing discipline: what stands between dev_queue_xmit and the driver.
#pragma once

#include <memory>
#include <string_view>

#include "base/inline_fn.h"
#include "net/core/skb_queue.h"

namespace ph {

struct qdisc_stats {
  u64 packets = 0, bytes = 0;        ///< handed to the device
  u64 drops = 0, requeues = 0;
};

class qdisc {
 public:
  virtual ~qdisc() = default;
  /// "pfifo_fast", as tc prints it.
  [[nodiscard]] virtual std::string_view kind() const = 0;
  /// Keeps the packet, or drops it (or another) with a reason and says so.
  virtual xmit_result enqueue(cpu& cx, skb_ptr skb) = 0;
  virtual skb_ptr dequeue(cpu& cx) = 0;
  [[nodiscard]] virtual const sk_buff* peek() = 0;
  virtual void reset(cpu& cx, skb_drop_reason why) = 0;
  [[nodiscard]] virtual std::size_t len() const = 0;
  [[nodiscard]] virtual u64 backlog_bytes() const = 0;
  /// When dequeue may next give a packet although it gave none now; `never`: on enqueue only.
  [[nodiscard]] virtual instant next_wake() const { return never; }
  /// A packet that finds it empty may go straight to the driver (TCQ_F_CAN_BYPASS).
  [[nodiscard]] virtual bool can_bypass() const { return false; }
  qdisc_stats stats;
};

/// Makes the discipline that a device's queue gets when the device is opened first.
using qdisc_factory = inline_fn<std::unique_ptr<qdisc>(net_device&)>;

}  // namespace ph
