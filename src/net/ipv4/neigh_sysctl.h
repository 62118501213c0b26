// Settings of IPv4's neighbour table: net.ipv4.neigh.<device>.*, and .default.* for all devices
// that have nothing of their own set.
#pragma once

#include "kernel/sysctl.h"
#include "net/core/neighbour.h"

namespace ph {

/// The defaults, and the limits of the table.
void neigh_sysctl_init(sysctl_table& settings, neigh_table& neighbours);
/// Listener of net_namespace::netdev_events: devices come and go with theirs.
void neigh_netdev_event(net_namespace& net, const netdev_event& event);

}  // namespace ph
