// Addresses of devices. Who needs to know of a change is told by inetaddr_events.
#include "net/ipv4/devinet.h"

#include <algorithm>

#include "net/core/net_device.h"
#include "net/ipv4/ipv4_net.h"
#include "uapi/inet.h"
#include "uapi/packet.h"

namespace ph {
namespace {

constexpr ipv4_addr all_hosts{uapi::inaddr_allhosts_group};

in_device& in_device_for(net_device& dev) {
  if (in_device* found = in_dev_of(dev)) return *found;
  in_device& made = dev.slots().set(in_device_key, std::make_unique<in_device>());
  made.groups[all_hosts] = 1;  // RFC 1112 §4: every host, for ever
  return made;
}

bool same_subnet(const in_ifaddr& a, const in_ifaddr& b) {
  return a.prefix_len == b.prefix_len && a.subnet() == b.subnet();
}

/// Primary addresses stand before secondary ones, wider scopes before narrower.
void insert_address(in_device& in_dev, in_ifaddr ifa) {
  auto at = in_dev.addrs.end();
  if (!ifa.secondary) {
    at = std::find_if(in_dev.addrs.begin(), in_dev.addrs.end(), [&](const in_ifaddr& other) {
      return other.secondary || other.scope > ifa.scope;
    });
  }
  in_dev.addrs.insert(at, std::move(ifa));
}

void tell(inetaddr_event_kind kind, const rtnl_held& rtnl, cpu& cx, net_device& dev,
          std::span<const in_ifaddr> addrs) {
  ipv4_of(dev.net()).inetaddr_events.tell({kind, &rtnl, &cx, &dev, addrs});
}

void give_lo_its_address(const netdev_event& event) {
  in_ifaddr ifa;
  ifa.local = ifa.address = ipv4_addr(uapi::inaddr_loopback);
  ifa.prefix_len = 8;
  ifa.scope = static_cast<u8>(route_scope::host);
  static_cast<void>(inet_addr_add(*event.rtnl, *event.cx, *event.dev, ifa));
}

}  // namespace

void devinet_event(net_namespace&, const netdev_event& event) {
  in_device& in_dev = in_device_for(*event.dev);
  if (event.kind == netdev_event_kind::up && event.dev->is_loopback() && in_dev.addrs.empty()) {
    give_lo_its_address(event);
  }
  if (event.kind == netdev_event_kind::unregister && !in_dev.addrs.empty()) {
    const std::vector<in_ifaddr> gone = std::exchange(in_dev.addrs, {});
    tell(inetaddr_event_kind::removed, *event.rtnl, *event.cx, *event.dev, gone);
  }
}

result<void> inet_addr_add(const rtnl_held& rtnl, cpu& cx, net_device& dev, in_ifaddr ifa) {
  if (ifa.prefix_len > 32 || ifa.local.is_any()) return fail(errc::inval);
  in_device& in_dev = in_device_for(dev);
  if (ifa.address.is_any()) ifa.address = ifa.local;
  if (ifa.label.empty()) ifa.label = dev.name();
  if (ifa.local.is_loopback()) ifa.scope = static_cast<u8>(route_scope::host);
  ifa.secondary = false;
  for (const in_ifaddr& other : in_dev.addrs) {
    if (!same_subnet(other, ifa)) continue;
    if (other.local == ifa.local) return fail(errc::exist);
    if (other.scope != ifa.scope) return fail(errc::inval);
    ifa.secondary = true;
  }
  insert_address(in_dev, ifa);
  tell(inetaddr_event_kind::added, rtnl, cx, dev, {&ifa, 1});
  return {};
}

result<void> inet_addr_del(const rtnl_held& rtnl, cpu& cx, net_device& dev, ipv4_addr local,
                           u8 prefix_len) {
  in_device* in_dev = in_dev_of(dev);
  if (in_dev == nullptr) return fail(errc::addrnotavail);
  const auto found =
      std::find_if(in_dev->addrs.begin(), in_dev->addrs.end(), [&](const in_ifaddr& ifa) {
        return ifa.local == local && ifa.prefix_len == prefix_len;
      });
  if (found == in_dev->addrs.end()) return fail(errc::addrnotavail);
  const in_ifaddr gone = *found;
  std::vector<in_ifaddr> lost;
  // promote_secondaries is off, as Linux's default: secondaries go with their primary.
  std::erase_if(in_dev->addrs, [&](const in_ifaddr& ifa) {
    const bool goes = (ifa.local == gone.local && same_subnet(ifa, gone)) ||
                      (!gone.secondary && ifa.secondary && same_subnet(ifa, gone));
    if (goes) lost.push_back(ifa);
    return goes;
  });
  tell(inetaddr_event_kind::removed, rtnl, cx, dev, lost);
  return {};
}

ipv4_addr inet_select_addr(const net_device& dev, ipv4_addr dst, u8 scope) {
  const in_device* in_dev = in_dev_of(dev);
  std::span<const in_ifaddr> own;
  if (in_dev != nullptr) own = in_dev->addrs;
  ipv4_addr out;
  for (const in_ifaddr& ifa : own) {
    if (ifa.secondary || ifa.scope > scope) continue;
    if (dst.is_any() || ifa.subnet().contains(dst)) return ifa.local;
    if (out.is_any()) out = ifa.local;
  }
  if (!out.is_any()) return out;
  // None on the device itself: any of a scope wide enough to be seen elsewhere.
  for (const auto& other : dev.net().devices()) {
    const in_device* in_other = in_dev_of(*other);
    if (in_other == nullptr) continue;
    for (const in_ifaddr& ifa : in_other->addrs) {
      if (ifa.secondary || ifa.scope == static_cast<u8>(route_scope::link)) continue;
      if (ifa.scope <= scope) return ifa.local;
    }
  }
  return {};
}

net_device* ip_dev_find(net_namespace& net, ipv4_addr addr) {
  flowi4 flow;
  flow.daddr = addr;
  const fib_tables& fib = ipv4_of(net).fib;
  if (fib.addr_type(addr) != route_type::local) return nullptr;
  const result<fib_result> found = fib.lookup(flow);
  return found && found->nh != nullptr ? net.device(found->nh->oif) : nullptr;
}

result<void> ip_mc_join(cpu&, net_device& dev, ipv4_addr group) {
  if (!group.is_multicast()) return fail(errc::inval);
  if (++in_device_for(dev).groups[group] != 1) return {};
  ipv4_of(dev.net()).fib.bump_generation();  // who receives a group is part of cached routes
  return {};
}

result<void> ip_mc_leave(cpu&, net_device& dev, ipv4_addr group) {
  auto& groups = in_device_for(dev).groups;
  const auto found = groups.find(group);
  if (found == groups.end() || (group == all_hosts && found->second == 1)) {
    return fail(errc::addrnotavail);
  }
  if (--found->second != 0) return {};
  groups.erase(found);
  ipv4_of(dev.net()).fib.bump_generation();
  return {};
}

bool ip_mc_member(net_device& dev, ipv4_addr group) {
  const in_device* in_dev = in_dev_of(dev);
  return in_dev != nullptr && in_dev->groups.contains(group);
}

}  // namespace ph
