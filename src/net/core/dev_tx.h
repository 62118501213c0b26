// The way out: queue discipline, validation, taps, driver.
#pragma once

#include "net/core/net_device.h"

namespace ph {

/// Sends a frame with a complete link header by skb->dev. Consumes it.
xmit_result dev_queue_xmit(cpu& cx, skb_ptr skb);
/// Goes on sending from a queue: dequeues until empty, stopped, or the quota is spent.
void qdisc_run(cpu& cx, netdev_queue& queue);

}  // namespace ph
