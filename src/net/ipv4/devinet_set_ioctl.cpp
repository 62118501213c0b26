// SIOCSIFADDR, SIOCSIFNETMASK, SIOCSIFBRDADDR: an interface's address as ifconfig(8) sets it. A
// name has one address; what else there is needs another label ("eth0:1") or netlink. An alias
// that goes down (SIOCSIFFLAGS) is one whose address goes.
#include <algorithm>
#include <bit>

#include "kernel/kernel.h"
#include "kernel/task.h"
#include "net/core/net_device.h"
#include "net/ipv4/devinet.h"
#include "uapi/inet.h"
#include "uapi/packet.h"
#include "uapi/socket.h"

namespace ph {

using namespace uapi;

namespace {

/// The prefix length of the address's class (RFC 791 §2.3), or -1 for a group.
int class_prefix(ipv4_addr addr) {
  const u32 first = addr.value() >> 24;
  if (first == 0 || addr == ipv4_addr(inaddr_broadcast)) return 0;
  if (first < 192) return first < 128 ? 8 : 16;
  return first < 224 ? 24 : first < 240 ? -1 : 32;
}

bool has_broadcast(const net_device& dev, const in_ifaddr& ifa) {
  return (dev.flags() & iff_broadcast) != 0 && ifa.prefix_len < 31;
}

ipv4_addr broadcast_of(const in_ifaddr& ifa) {
  return ipv4_addr(ifa.local.value() | ~ipv4_mask(ifa.prefix_len).value());
}

/// The change that a command means to an address. Errors: inval.
result<void> apply(const net_device& dev, u32 command, ipv4_addr value, in_ifaddr& ifa) {
  if (command == siocsifbrdaddr) {
    ifa.broadcast = value;
    return {};
  }
  if (command == siocsifaddr) {
    const int prefix = class_prefix(value);
    if (prefix < 0) return fail(errc::inval);
    ifa.local = ifa.address = value;
    ifa.scope = 0;  // a loopback address's is narrower
    ifa.prefix_len = static_cast<u8>(prefix);
    ifa.broadcast = has_broadcast(dev, ifa) ? broadcast_of(ifa) : ipv4_addr();
    return {};
  }
  const u8 len = static_cast<u8>(std::countl_one(value.value()));
  if (ipv4_mask(len).value() != value.value()) return fail(errc::inval);
  const bool usual = has_broadcast(dev, ifa) && ifa.broadcast == broadcast_of(ifa);
  ifa.prefix_len = len;
  if (usual) ifa.broadcast = has_broadcast(dev, ifa) ? broadcast_of(ifa) : ipv4_addr();
  return {};
}

/// The first address of this label, or nullptr.
const in_ifaddr* labelled(const net_device& dev, std::string_view label) {
  const in_device* const in_dev = in_dev_of(dev);
  if (in_dev == nullptr) return nullptr;
  const auto found = std::find_if(in_dev->addrs.begin(), in_dev->addrs.end(),
                                  [&](const in_ifaddr& known) { return known.label == label; });
  return found != in_dev->addrs.end() ? &*found : nullptr;
}

result<int> set_alias_flags(task& who, std::string_view label, u32 flags) {
  net_device* const dev = who.net().device(label.substr(0, label.find(':')));
  if (dev == nullptr) return fail(errc::nodev);
  const in_ifaddr* const ifa = labelled(*dev, label);
  if (ifa == nullptr) return fail(errc::addrnotavail);
  if ((flags & iff_up) != 0) return 0;
  const ipv4_addr local = ifa->local;
  const rtnl_guard rtnl(who.machine().rtnl());
  TRY_VOID(inet_addr_del(rtnl.held(), who.machine().boot_cpu(), *dev, local, ifa->prefix_len));
  return 0;
}

}  // namespace

result<int> inet_set_ioctl(task& who, u32 command, std::string_view label, byte_view value) {
  if (!who.cred.net_admin) return fail(errc::perm);
  if (command == siocsifflags) return set_alias_flags(who, label, byte_reader(value).take<u16>());
  const auto* const sin = view_as<sockaddr_in>(value);
  if (sin == nullptr) return fail(errc::fault);
  if (sin->sin_family.value() != af_inet) return fail(errc::inval);
  net_device* const dev = who.net().device(label.substr(0, label.find(':')));
  if (dev == nullptr) return fail(errc::nodev);
  const in_ifaddr* const known = labelled(*dev, label);
  const bool present = known != nullptr;
  in_ifaddr ifa = present ? *known : in_ifaddr();
  if (!present && command != siocsifaddr) return fail(errc::addrnotavail);
  const in_ifaddr before = ifa;
  TRY_VOID(apply(*dev, command, ipv4_addr(sin->sin_addr.value()), ifa));
  if (command == siocsifaddr && present && before.local == ifa.local) return 0;
  ifa.label = label;
  const rtnl_guard rtnl(who.machine().rtnl());
  cpu& cx = who.machine().boot_cpu();
  if (present) TRY_VOID(inet_addr_del(rtnl.held(), cx, *dev, before.local, before.prefix_len));
  if (!ifa.local.is_any()) TRY_VOID(inet_addr_add(rtnl.held(), cx, *dev, ifa));
  return 0;
}

}  // namespace ph
