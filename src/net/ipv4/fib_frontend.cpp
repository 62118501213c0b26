// The routes that addresses bring with them, and what a device's state means for routes.
#include "net/ipv4/fib_frontend.h"

#include "net/core/net_device.h"
#include "net/ipv4/ipv4_net.h"

namespace ph {
namespace {

fib_route kernel_route(const net_device& dev, route_type type, ipv4_prefix dst, ipv4_addr src) {
  fib_route route;
  route.dst = dst;
  route.type = type;
  route.table = type == route_type::unicast ? route_table::main : route_table::local;
  route.scope = type == route_type::local ? route_scope::host : route_scope::link;
  route.protocol = 2;
  route.prefsrc = src;
  route.nexthops.push_back({dev.index(), {}, 1, false});
  return route;
}

/// Routes of one address: itself always, the subnet and its broadcasts while the device is up.
void add_routes(const rtnl_held& rtnl, net_device& dev, const in_ifaddr& ifa) {
  fib_tables& fib = ipv4_of(dev.net()).fib;
  // Two addresses of one device may bring the same route; one is enough.
  const auto add = [&](route_type type, ipv4_prefix dst) {
    static_cast<void>(fib.add(rtnl, kernel_route(dev, type, dst, ifa.local)));
  };
  add(route_type::local, {ifa.local, 32});
  if (!dev.is_up()) return;
  if (!ifa.broadcast.is_any() && !ifa.broadcast.is_limited_broadcast()) {
    add(route_type::broadcast, {ifa.broadcast, 32});
  }
  const ipv4_prefix subnet = ifa.subnet();
  if (subnet.addr.is_any() || ifa.secondary) return;
  if (subnet.len == 32 && subnet.addr == ifa.local) return;
  add(dev.is_loopback() ? route_type::local : route_type::unicast, subnet);
  if (subnet.len < 31) {
    add(route_type::broadcast,
        {ipv4_addr(subnet.addr.value() | ~ipv4_mask(subnet.len).value()), 32});
  }
}

void sync_routes(const rtnl_held& rtnl, net_device& dev) {
  ipv4_of(dev.net()).fib.flush_kernel(rtnl, dev);
  if (const in_device* in_dev = in_dev_of(dev)) {
    for (const in_ifaddr& ifa : in_dev->addrs) add_routes(rtnl, dev, ifa);
  }
}

}  // namespace

void fib_netdev_event(net_namespace& net, const netdev_event& event) {
  fib_tables& fib = ipv4_of(net).fib;
  switch (event.kind) {
    case netdev_event_kind::registered:
    case netdev_event_kind::going_down:
    case netdev_event_kind::change_addr: break;
    case netdev_event_kind::up:
      sync_routes(*event.rtnl, *event.dev);
      fib.bump_generation();
      break;
    case netdev_event_kind::down: fib.flush_dev(*event.rtnl, *event.dev); break;
    case netdev_event_kind::change:
    case netdev_event_kind::change_mtu: fib.bump_generation(); break;
    case netdev_event_kind::unregister: fib.flush_dev(*event.rtnl, *event.dev, true); break;
  }
}

void fib_inetaddr_event(net_namespace& net, const inetaddr_event& event) {
  fib_tables& fib = ipv4_of(net).fib;
  if (event.kind == inetaddr_event_kind::added) {
    for (const in_ifaddr& ifa : event.addrs) add_routes(*event.rtnl, *event.dev, ifa);
    return;
  }
  sync_routes(*event.rtnl, *event.dev);
  for (const in_ifaddr& ifa : event.addrs) {
    if (fib.addr_type(ifa.local) != route_type::local) fib.flush_prefsrc(*event.rtnl, ifa.local);
  }
  fib.bump_generation();
}

}  // namespace ph
