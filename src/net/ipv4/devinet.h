// IPv4 addresses of devices: in_device, primary and secondary addresses, and the routes they
// bring with them.
#pragma once

#include <map>
#include <span>
#include <vector>

#include "net/core/net_namespace.h"

namespace ph {

class task;

struct in_ifaddr {
  ipv4_addr local;
  ipv4_addr address;         ///< peer on point-to-point links, else local
  u8 prefix_len = 0;
  ipv4_addr broadcast;       ///< any: none
  u8 scope = 0;              ///< RT_SCOPE_UNIVERSE; host for loopback
  bool secondary = false;
  std::string label;
  [[nodiscard]] ipv4_prefix subnet() const {
    return {ipv4_addr(address.value() & ipv4_mask(prefix_len).value()), prefix_len};
  }
};

struct in_device : slot_object {
  std::vector<in_ifaddr> addrs;
  std::map<ipv4_addr, u32> groups;  ///< multicast groups joined, and how often
};
inline constexpr slot_key<in_device> in_device_key{"ipv4"};
/// The device's IPv4 state, or nullptr.
inline in_device* in_dev_of(const net_device& dev) {
  return const_cast<net_device&>(dev).slots().find(in_device_key);
}

enum class inetaddr_event_kind : u8 { added, removed };
/// Addresses of a device came or are gone (Linux's inetaddr_chain); removed ones come together.
struct inetaddr_event {
  inetaddr_event_kind kind;
  const rtnl_held* rtnl;
  cpu* cx;
  net_device* dev;
  std::span<const in_ifaddr> addrs;
};

/// Adds an address; its routes and its announcement are others' (ipv4_net::inetaddr_events).
/// Errors: exist, inval.
result<void> inet_addr_add(const rtnl_held&, cpu& cx, net_device& dev, in_ifaddr addr);
/// Errors: addrnotavail.
result<void> inet_addr_del(const rtnl_held&, cpu& cx, net_device& dev, ipv4_addr local,
                           u8 prefix_len);
/// The address to use as source on a device toward `dst` (scope-limited), any if none.
ipv4_addr inet_select_addr(const net_device& dev, ipv4_addr dst, u8 scope);
/// Gives devices their IPv4 state and lo its address, and takes addresses of devices that go.
void devinet_event(net_namespace& net, const netdev_event& event);
/// SIOCGIFCONF, SIOCGIFADDR and the other questions about addresses (netdevice(7)).
result<int> inet_ioctl(task& who, u32 command, byte_span arg);
/// SIOCSIFADDR, SIOCSIFNETMASK and SIOCSIFBRDADDR of what `label` names, and SIOCSIFFLAGS of an
/// alias; `value` is what an ifreq has behind the name.
result<int> inet_set_ioctl(task& who, u32 command, std::string_view label, byte_view value);
/// The device that has this local address, or nullptr.
net_device* ip_dev_find(net_namespace& net, ipv4_addr addr);
/// Joins / leaves a group on a device (IGMP reports come with multicast routing).
result<void> ip_mc_join(cpu& cx, net_device& dev, ipv4_addr group);
result<void> ip_mc_leave(cpu& cx, net_device& dev, ipv4_addr group);
bool ip_mc_member(net_device& dev, ipv4_addr group);

}  // namespace ph
