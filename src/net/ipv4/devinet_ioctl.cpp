// SIOCGIFCONF, SIOCGIFADDR, SIOCGIFNETMASK, SIOCGIFBRDADDR, SIOCGIFDSTADDR: netdevice(7).
#include <algorithm>

#include "kernel/task.h"
#include "net/core/net_device.h"
#include "net/ipv4/devinet.h"
#include "uapi/packet.h"
#include "uapi/socket.h"

namespace ph {

using namespace uapi;

namespace {

void put_name(byte_span ifreq, std::string_view name) {
  std::fill_n(ifreq.begin(), ifreq_bytes, u8{0});
  copy_bytes(ifreq.first(ifnamsiz - 1), bytes_of(name));
}

void put_addr(byte_span ifreq, ipv4_addr addr) {
  sockaddr_in value;
  value.sin_family.set(af_inet);
  value.sin_addr = addr.raw;
  copy_bytes(ifreq.subspan(ifreq_value_offset), bytes_of(value));
}

/// struct ifconf with the buffer right behind its length: | int len | pad | entries ... |. The
/// pointer's place holds the entries here, since nothing in the stack reads a client's memory.
/// A buffer too small for entries at all asks for the length that would do.
result<int> ifconf(task& who, byte_span arg) {
  constexpr std::size_t head = 16;  // sizeof(struct ifconf)
  if (arg.size() < head) return fail(errc::fault);
  byte_span room = arg.subspan(head);
  std::size_t used = 0;
  for (const auto& dev : who.net().devices()) {
    const in_device* in_dev = in_dev_of(*dev);
    if (in_dev == nullptr) continue;
    for (const in_ifaddr& ifa : in_dev->addrs) {
      if (room.size() >= used + ifreq_bytes) {
        put_name(room.subspan(used), ifa.label);
        put_addr(room.subspan(used), ifa.local);
      } else if (!room.empty()) {
        continue;
      }
      used += ifreq_bytes;
    }
  }
  copy_bytes(arg, bytes_of(le32(static_cast<u32>(used))));
  return 0;
}

/// The address that a name ("eth0", or the label of an alias) means: the first one.
const in_ifaddr* find_address(net_namespace& net, std::string_view name) {
  const net_device* dev = net.device(name.substr(0, name.find(':')));
  const in_device* in_dev = dev != nullptr ? in_dev_of(*dev) : nullptr;
  if (in_dev == nullptr) return nullptr;
  const auto found = std::find_if(in_dev->addrs.begin(), in_dev->addrs.end(),
                                  [&](const in_ifaddr& ifa) { return ifa.label == name; });
  return found != in_dev->addrs.end() ? &*found : nullptr;
}

}  // namespace

result<int> inet_ioctl(task& who, u32 command, byte_span arg) {
  if (command == siocgifconf) return ifconf(who, arg);
  const bool sets = command == siocsifaddr || command == siocsifnetmask ||
                    command == siocsifbrdaddr || command == siocsifflags;
  if (!sets && command != siocgifaddr && command != siocgifnetmask && command != siocgifbrdaddr &&
      command != siocgifdstaddr) {
    return fail(errc::notty);
  }
  if (arg.size() < ifreq_bytes) return fail(errc::fault);
  std::string_view name = text_of(arg.first(ifnamsiz - 1));
  name = name.substr(0, name.find('\0'));
  if (sets) return inet_set_ioctl(who, command, name, arg.subspan(ifreq_value_offset));
  if (who.net().device(name.substr(0, name.find(':'))) == nullptr) return fail(errc::nodev);
  const in_ifaddr* ifa = find_address(who.net(), name);
  if (ifa == nullptr) return fail(errc::addrnotavail);
  switch (command) {
    case siocgifaddr: put_addr(arg, ifa->local); break;
    case siocgifnetmask: put_addr(arg, ipv4_mask(ifa->prefix_len)); break;
    case siocgifbrdaddr: put_addr(arg, ifa->broadcast); break;
    default: put_addr(arg, ifa->address); break;
  }
  return 0;
}

}  // namespace ph
