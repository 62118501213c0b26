// SIOCGARP, SIOCSARP, SIOCDARP: the neighbour table as arp(8) sees it (arp(7), struct arpreq).
#include "kernel/kernel.h"
#include "kernel/task.h"
#include "net/ipv4/arp.h"
#include "net/ipv4/ipv4_net.h"
#include "uapi/packet.h"
#include "uapi/socket.h"

namespace ph {

using namespace uapi;

namespace {

// struct arpreq: two addresses, flags, a mask and the device's name.
constexpr std::size_t hardware_at = 16, flags_at = 32, dev_at = 52, arpreq_bytes = 68;
constexpr s32 atf_com = 2, atf_perm = 4, atf_publ = 8;

struct arp_request {
  ipv4_addr addr;
  s32 flags = 0;
  net_device* dev = nullptr;
};

/// The device that the entry names, or the one behind which the address is.
result<net_device*> device_of(net_namespace& net, byte_view arg, ipv4_addr addr) {
  std::string_view name = text_of(arg.subspan(dev_at, ifnamsiz - 1));
  name = name.substr(0, name.find('\0'));
  if (!name.empty()) {
    net_device* const dev = net.device(name);
    if (dev == nullptr) return fail(errc::nodev);
    return dev;
  }
  flowi4 flow;
  flow.daddr = addr;
  TRY(const fib_result found, ipv4_of(net).fib.lookup(flow));
  net_device* const dev = found.nh != nullptr ? net.device(found.nh->oif) : nullptr;
  if (dev == nullptr) return fail(errc::inval);
  return dev;
}

result<arp_request> request_of(net_namespace& net, byte_view arg) {
  if (arg.size() < arpreq_bytes) return fail(errc::fault);
  const auto* const sin = view_as<sockaddr_in>(arg);
  if (sin->sin_family.value() != af_inet) return fail(errc::pfnosupport);
  arp_request out;
  out.addr = ipv4_addr(sin->sin_addr.value());
  out.flags = byte_reader(arg.subspan(flags_at)).take<s32>();
  TRY(out.dev, device_of(net, arg, out.addr));
  return out;
}

result<int> get(neigh_table& table, const arp_request& wanted, byte_span arg) {
  const ref<neighbour> found = table.lookup(neigh_key::of(wanted.addr), *wanted.dev);
  if (!found || (found->state() & nud_noarp) != 0) return fail(errc::nxio);
  sockaddr hardware;
  hardware.sa_family.set(wanted.dev->type());
  std::copy(found->ha().bytes.begin(), found->ha().bytes.end(), hardware.sa_data);
  copy_bytes(arg.subspan(hardware_at), bytes_of(hardware));
  s32 flags = found->valid() ? atf_com : 0;
  if ((found->state() & nud_permanent) != 0) flags = atf_com | atf_perm;
  copy_bytes(arg.subspan(flags_at), bytes_of(flags));
  std::ranges::fill(arg.subspan(dev_at, ifnamsiz), u8{0});
  copy_bytes(arg.subspan(dev_at, ifnamsiz - 1), bytes_of(wanted.dev->name()));
  return 0;
}

result<int> set(cpu& cx, neigh_table& table, const arp_request& wanted, byte_view arg) {
  const auto* const hardware = view_as<sockaddr>(arg.subspan(hardware_at));
  if (hardware->sa_family.value() != wanted.dev->type()) return fail(errc::inval);
  mac_addr ha;
  std::copy_n(hardware->sa_data, ha.bytes.size(), ha.bytes.begin());
  TRY(const ref<neighbour> entry,
      table.lookup_or_create(cx, neigh_key::of(wanted.addr), *wanted.dev));
  const u8 state = (wanted.flags & atf_perm) != 0 ? nud_permanent : nud_stale;
  TRY_VOID(table.update(cx, *entry, &ha, state, neigh_update_override | neigh_update_admin));
  return 0;
}

}  // namespace

result<int> arp_ioctl(task& who, u32 command, byte_span arg) {
  if (command != siocgarp && command != siocsarp && command != siocdarp) return fail(errc::notty);
  if (command != siocgarp && !who.cred.net_admin) return fail(errc::perm);
  TRY(const arp_request wanted, request_of(who.net(), arg));
  if ((wanted.flags & atf_publ) != 0) return fail(errc::opnotsupp);  // no proxy ARP here
  neigh_table& table = *ipv4_of(who.net()).arp_table;
  if (command == siocgarp) return get(table, wanted, arg);
  cpu& cx = who.machine().boot_cpu();
  if (command == siocsarp) return set(cx, table, wanted, arg);
  const ref<neighbour> found = table.lookup(neigh_key::of(wanted.addr), *wanted.dev);
  if (!found) return fail(errc::nxio);
  const rtnl_guard rtnl(who.machine().rtnl());
  TRY_VOID(table.erase(rtnl.held(), cx, *found));
  return 0;
}

}  // namespace ph
