// Keeps the routing tables in step with devices and their addresses.
#pragma once

#include "net/ipv4/devinet.h"

namespace ph {

/// Listener of net_namespace::netdev_events.
void fib_netdev_event(net_namespace& net, const netdev_event& event);
/// SIOCADDRT, SIOCDELRT: `arg` is a struct rtentry and behind it the name of the device, if any.
result<int> ip_rt_ioctl(task& who, u32 command, byte_span arg);
/// Listener of ipv4_net::inetaddr_events.
void fib_inetaddr_event(net_namespace& net, const inetaddr_event& event);

}  // namespace ph
