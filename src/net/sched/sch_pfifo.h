// First come, first served: pfifo (one queue), and pfifo_fast, the default of a device: three
// bands by priority, the lower-numbered always first.
#pragma once

#include "net/core/net_device.h"
#include "net/core/qdisc.h"

namespace ph {

/// One queue of at most `limit` packets; a packet too many is dropped (qdisc_overlimit).
std::unique_ptr<qdisc> pfifo_create(std::size_t limit);
/// Three bands of at most the device's tx_queue_len packets each. A qdisc_factory.
std::unique_ptr<qdisc> pfifo_fast_create(net_device& dev);

}  // namespace ph
