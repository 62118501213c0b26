// SIOCGIF*: questions about interfaces that any socket answers, netdevice(7). Questions about
// addresses go to the families. The label of an alias ("eth0:1") stands for its interface, but its
// flags are changed by the family whose address it names.
#include <algorithm>

#include "kernel/kernel.h"
#include "net/core/net_device.h"
#include "net/socket/socket.h"
#include "uapi/packet.h"
#include "uapi/socket.h"

namespace ph {

using namespace uapi;

namespace {

/// struct ifreq: a name and a value behind it.
struct ifreq_view {
  byte_span bytes;
  [[nodiscard]] std::string_view name() const {
    const std::string_view all = text_of(bytes.first(ifnamsiz - 1));
    return all.substr(0, all.find('\0'));
  }
  [[nodiscard]] byte_span value() const { return bytes.subspan(ifreq_value_offset); }
  template <class T>
  void put(const T& v) const { copy_bytes(value(), bytes_of(v)); }
  [[nodiscard]] s32 number() const { return byte_reader(value()).take<s32>(); }
};

void put_hwaddr(const ifreq_view& req, const net_device& dev) {
  sockaddr hw;
  hw.sa_family.set(dev.type());
  std::copy(dev.dev_addr().bytes.begin(), dev.dev_addr().bytes.end(), hw.sa_data);
  req.put(hw);
}

result<int> set_flags(task& who, net_device& dev, u32 wanted) {
  if (!who.cred.net_admin) return fail(errc::perm);
  const rtnl_guard rtnl(who.machine().rtnl());
  cpu& cx = who.machine().boot_cpu();
  if ((wanted & iff_up) != 0 && !dev.is_up()) TRY_VOID(dev.open(rtnl.held(), cx));
  if ((wanted & iff_up) == 0 && dev.is_up()) dev.close(rtnl.held(), cx);
  return 0;
}

result<int> set_mtu(task& who, net_device& dev, s32 mtu) {
  if (!who.cred.net_admin) return fail(errc::perm);
  if (mtu < 0) return fail(errc::inval);
  const rtnl_guard rtnl(who.machine().rtnl());
  TRY_VOID(dev.set_mtu(rtnl.held(), static_cast<u32>(mtu)));
  return 0;
}

bool known(u32 command) {
  constexpr std::array commands = {siocgifflags, siocsifflags, siocgifmtu,   siocsifmtu,
                                   siocgifhwaddr, siocgifindex, siocgiftxqlen, siocgifmetric};
  return std::find(commands.begin(), commands.end(), command) != commands.end();
}

}  // namespace

result<int> netdev_ioctl(task& who, u32 command, byte_span arg) {
  if (command != siocgifname && !known(command)) return fail(errc::notty);
  if (arg.size() < ifreq_bytes) return fail(errc::fault);
  const ifreq_view req{arg};
  if (command == siocgifname) {
    const net_device* dev = who.net().device(ifindex(static_cast<u32>(req.number())));
    if (dev == nullptr) return fail(errc::nodev);
    std::fill_n(arg.begin(), ifnamsiz, u8{0});
    copy_bytes(arg, bytes_of(std::string_view(dev->name())));
    return 0;
  }
  const std::string_view name = req.name();
  const std::size_t colon = name.find(':');
  if (command == siocsifflags && colon != std::string_view::npos) return fail(errc::notty);
  net_device* dev = who.net().device(name.substr(0, colon));
  if (dev == nullptr) return fail(errc::nodev);
  switch (command) {
    case siocgifflags: req.put(static_cast<u16>(dev->flags())); return 0;
    case siocsifflags: return set_flags(who, *dev, static_cast<u16>(req.number()));
    case siocgifmtu: req.put(static_cast<s32>(dev->mtu())); return 0;
    case siocsifmtu: return set_mtu(who, *dev, req.number());
    case siocgifhwaddr: put_hwaddr(req, *dev); return 0;
    case siocgifindex: req.put(static_cast<s32>(dev->index().value)); return 0;
    case siocgiftxqlen: req.put(static_cast<s32>(dev->tx_queue_len())); return 0;
    default: req.put(s32{0}); return 0;  // SIOCGIFMETRIC: not used on Linux, always 0
  }
}

}  // namespace ph
