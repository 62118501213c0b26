// SIOCADDRT and SIOCDELRT: routes as route(8) states them (struct rtentry).
#include <algorithm>
#include <bit>

#include "kernel/kernel.h"
#include "kernel/task.h"
#include "net/ipv4/fib_frontend.h"
#include "net/ipv4/ipv4_net.h"
#include "uapi/socket.h"

namespace ph {

using namespace uapi;

namespace {

// struct rtentry on 64-bit machines; the device's name, to which it points, follows it here.
constexpr std::size_t dst_at = 8, gateway_at = 24, mask_at = 40, flags_at = 56, metric_at = 80;
constexpr std::size_t mtu_at = 96, window_at = 104, rtentry_bytes = 120;

constexpr u16 rtf_gateway = 0x2, rtf_host = 0x4, rtf_mtu = 0x40, rtf_window = 0x80,
              rtf_reject = 0x200;
constexpr u32 tcp_ip_headers = 40;
constexpr errc no_such_route{3};  // ESRCH, which nothing else here gives

template <class T>
T field(byte_view entry, std::size_t at) {
  return byte_reader(entry.subspan(at)).take<T>();
}

/// The address in a sockaddr of the entry; any when there is none. Errors: afnosupport.
result<ipv4_addr> address_at(byte_view entry, std::size_t at) {
  const auto* const sin = view_as<sockaddr_in>(entry.subspan(at));
  if (sin->sin_family.value() == 0) return ipv4_addr();
  if (sin->sin_family.value() != af_inet) return fail(errc::afnosupport);
  return ipv4_addr(sin->sin_addr.value());
}

result<ipv4_prefix> destination(byte_view entry, u16 flags) {
  if (field<u16>(entry, dst_at) != af_inet) return fail(errc::afnosupport);
  TRY(const ipv4_addr dst, address_at(entry, dst_at));
  if ((flags & rtf_host) != 0) return ipv4_prefix{dst, 32};
  TRY(const ipv4_addr mask, address_at(entry, mask_at));
  const u8 len = static_cast<u8>(std::countl_one(mask.value()));
  const bool whole = ipv4_mask(len).value() == mask.value();
  if (!whole || (dst.value() & ~mask.value()) != 0) return fail(errc::inval);
  return ipv4_prefix{dst, len};
}

result<fib_nh> next_hop(net_namespace& net, byte_view entry, u16 flags) {
  fib_nh nh;
  std::string_view name = text_of(entry.subspan(rtentry_bytes));
  name = name.substr(0, name.find('\0'));
  if (!name.empty()) {
    const net_device* const dev = net.device(name.substr(0, name.find(':')));
    if (dev == nullptr) return fail(errc::nodev);
    nh.oif = dev->index();
  }
  TRY(nh.gateway, address_at(entry, gateway_at));
  if ((flags & rtf_gateway) != 0 && nh.gateway.is_any()) return fail(errc::inval);
  return nh;
}

result<fib_route> route_of(net_namespace& net, byte_view entry) {
  const auto flags = field<u16>(entry, flags_at);
  fib_route route;
  TRY(route.dst, destination(entry, flags));
  const auto metric = field<u16>(entry, metric_at);
  if (metric != 0) route.priority = metric - 1u;
  if ((flags & rtf_reject) != 0) {
    route.type = route_type::unreachable;
    route.scope = route_scope::host;
    return route;
  }
  TRY(fib_nh nh, next_hop(net, entry, flags));
  if (nh.gateway.is_any()) route.scope = route_scope::link;
  route.nexthops.push_back(nh);
  const u64 mtu = std::min(field<u64>(entry, mtu_at), u64{65535});
  if ((flags & rtf_mtu) != 0 && mtu > tcp_ip_headers) {
    route.metrics.advmss = static_cast<u32>(mtu) - tcp_ip_headers;
  }
  if ((flags & rtf_window) != 0) route.metrics.window = field<u32>(entry, window_at);
  return route;
}

}  // namespace

result<int> ip_rt_ioctl(task& who, u32 command, byte_span arg) {
  if (command != siocaddrt && command != siocdelrt) return fail(errc::notty);
  if (!who.cred.net_admin) return fail(errc::perm);
  if (arg.size() < rtentry_bytes) return fail(errc::fault);
  TRY(fib_route route, route_of(who.net(), arg));
  fib_tables& fib = ipv4_of(who.net()).fib;
  const rtnl_guard rtnl(who.machine().rtnl());
  if (command == siocaddrt) {
    TRY_VOID(fib.add(rtnl.held(), std::move(route)));
    return 0;
  }
  const auto erased = fib.erase(rtnl.held(), route);
  if (erased) return 0;
  return fail(erased.error() == errc::noent ? no_such_route : erased.error());
}

}  // namespace ph
