// A namespace's devices and packet types, and where the namespaces of a kernel are kept.
#include "net/core/net_namespace.h"

#include <algorithm>

#include "net/core/dev_tx.h"
#include "net/core/softnet.h"

namespace ph {
namespace {

constexpr std::size_t ifnamsiz = 16;  // netdevice(7), with the final zero byte

/// As Linux; "default" and "all" are names of settings.
bool name_ok(std::string_view name) {
  if (name == "default" || name == "all") return false;
  if (name.empty() || name.size() >= ifnamsiz || name == "." || name == "..") return false;
  return std::none_of(name.begin(), name.end(), [](char c) {
    return c == '/' || c == ':' || c == ' ' || (c >= '\t' && c <= '\r');
  });
}

std::size_t ptype_bucket(u16 ethertype) { return (ethertype ^ (ethertype >> 8)) & 15; }

}  // namespace

// --- HOT: receive lookups ---------------------------------------------------------------------

packet_type* net_namespace::find_packet_type(u16 ethertype, const net_device& dev) {
  packet_type* any = nullptr;
  for (packet_type& type : ptypes_[ptype_bucket(ethertype)]) {
    if (type.type != ethertype) continue;
    if (type.dev == &dev) return &type;
    if (type.dev == nullptr && any == nullptr) any = &type;
  }
  return any;
}

void net_namespace::deliver_taps(cpu& cx, const sk_buff& skb, net_device& dev, bool outgoing) {
  for (auto it = taps_.begin(); it != taps_.end();) {
    packet_tap& tap = *it++;
    if (tap.dev == nullptr || tap.dev == &dev) tap.func(cx, skb, dev, outgoing);
  }
}

// --- lifetime ---------------------------------------------------------------------------------

net_namespace::net_namespace(kernel& machine, std::string name)
    : machine_(machine), name_(std::move(name)), mib_(machine.cpu_count()) {
  if (machine.slots().find(softnet_key) == nullptr) {
    machine.slots().set(softnet_key, std::make_unique<softnet>(machine));
  }
}

net_namespace::~net_namespace() {
  const rtnl_guard rtnl(machine_.rtnl());
  while (!devices_.empty()) unregister_device(rtnl.held(), *devices_.back());
}

void net_namespace::add_packet_type(packet_type& type) {
  ptypes_[ptype_bucket(type.type)].push_back(type);
}

net_namespace& init_net(kernel& machine) {
  const net_namespaces& namespaces = machine.slots().get(net_namespaces_key);
  ph_check(!namespaces.all.empty());
  return *namespaces.all.front();
}

// --- devices ----------------------------------------------------------------------------------

net_device* net_namespace::device(std::string_view name) const {
  for (const auto& dev : devices_) {
    if (dev->name() == name) return dev.get();
  }
  return nullptr;
}

net_device* net_namespace::device(ifindex index) const {
  for (const auto& dev : devices_) {
    if (dev->index() == index) return dev.get();
  }
  return nullptr;
}

result<net_device*> net_namespace::register_device(const rtnl_held& rtnl,
                                                   net_device_config config,
                                                   std::unique_ptr<netdev_ops> ops) {
  if (const std::size_t at = config.name.find("%d"); at != std::string::npos) {
    const std::string before = config.name.substr(0, at), after = config.name.substr(at + 2);
    u32 number = 0;
    do {
      config.name = before + std::to_string(number++) + after;
    } while (device(config.name) != nullptr);
  }
  if (!name_ok(config.name)) return fail(errc::inval);
  if (device(config.name) != nullptr) return fail(errc::exist);
  auto owned = std::make_unique<net_device>(*this, std::move(config), std::move(ops));
  net_device* dev = owned.get();
  dev->index_ = ifindex(next_index_++);
  devices_.push_back(std::move(owned));
  netdev_events_.tell({netdev_event_kind::registered, &rtnl, &machine_.boot_cpu(), dev});
  return dev;
}

void net_namespace::unregister_device(const rtnl_held& rtnl, net_device& dev) {
  cpu& cx = machine_.boot_cpu();
  dev.close(rtnl, cx);
  netdev_events_.tell({netdev_event_kind::unregister, &rtnl, &cx, &dev});
  machine_.slots().get(softnet_key).flush_dev(dev);
  dev.reset_tx_queues(drop_reason::dev_gone);
  dev.slots().clear();
  if (loopback == &dev) loopback = nullptr;
  std::erase_if(devices_, [&](const auto& each) { return each.get() == &dev; });
}

}  // namespace ph
