// Configuration of a host through the stack's control functions, and its turns in the event queue.
#include "sim/host.h"

#include <fmt/format.h>

#include <optional>

#include "base/hash.h"
#include "init/builtin.h"
#include "net/core/mib.h"
#include "net/inet/inet_sock.h"
#include "net/ipv4/devinet.h"
#include "net/ipv4/fib.h"
#include "net/ipv4/ipv4_net.h"

namespace ph::sim {
namespace {

[[noreturn]] void refuse(const host& h, std::string_view what, errc why) {
  throw setup_error(fmt::format("{}: {}: {}", h.name(), what, errc_name(why)));
}

}  // namespace

mac_addr mac_of(std::string_view host, std::string_view device) {
  const std::string names = fmt::format("{}:{}", host, device);
  const u64 hash = siphash({0x706f737468617374, 0x6d6163}, bytes_of(names));
  mac_addr out{{0x02}};
  for (std::size_t i = 1; i < 6; ++i) out.bytes[i] = static_cast<u8>(hash >> (8 * i));
  return out;
}

host::host(event_queue& events, kernel_config config, const host_config& settings)
    : events_(events), machine_(std::make_shared<kernel>(std::move(config))),
      mortal_(settings.mortal),
      turn_([this] { run(); }) {
  machine_->set_on_wake([this] { wake(); });
  machine_->set_on_post([this] { wake(); });
  enter();
  builtin_init(*machine_);
  for (const auto& [key, value] : settings.sysctls) set_sysctl(key, value);
}

cpu& host::cx() {
  if (dead()) refuse(*this, "it is dead", errc::hostdown);
  enter();
  return machine_->boot_cpu();
}

/// The machine has work: its turn comes at this instant, after what is scheduled there already.
void host::wake() {
  if (!running_ && !dead()) events_.schedule(turn_, events_.now());
}

void host::run() {
  instant next = never;
  running_ = true;
  call([&] { next = machine_->run(events_.now()); });
  running_ = false;
  if (!dead() && next != never) events_.schedule(turn_, next);
}

void host::die(std::string why) {
  death_ = std::move(why);
  died_at_ = events_.now();
  events_.cancel(turn_);
  keep_forever(machine_);
  for (const auto& told : std::exchange(on_death_, {})) told();
}

mem_port& host::add_device(mem_config config) {
  if (config.addr.is_zero()) config.addr = mac_of(name(), config.name);
  const std::string device_name = config.name;
  cpu& boot = cx();
  const rtnl_guard rtnl(machine_->rtnl());
  const auto made = mem_create(rtnl.held(), net(), std::move(config));
  if (!made) refuse(*this, fmt::format("device {}", device_name), made.error());
  if (const auto up = (*made)->device().open(rtnl.held(), boot); !up) {
    refuse(*this, fmt::format("device {}", device_name), up.error());
  }
  return **made;
}

void host::add_address(const std::string& device_name, const std::string& prefix) {
  const auto parsed = ipv4_prefix::parse(prefix);
  if (!parsed) throw setup_error(fmt::format("{}: no address: {}", name(), prefix));
  add_address(device_name, *parsed);
}

void host::add_address(const std::string& device_name, const ipv4_prefix& prefix) {
  cpu& boot = cx();
  net_device& dev = device(device_name);
  in_ifaddr addr;
  addr.local = addr.address = prefix.addr;
  addr.prefix_len = prefix.len;
  if (prefix.len < 31) {
    addr.broadcast = ipv4_addr(prefix.addr.value() | ~ipv4_mask(prefix.len).value());
  }
  addr.label = device_name;
  const rtnl_guard rtnl(machine_->rtnl());
  if (const auto added = inet_addr_add(rtnl.held(), boot, dev, addr); !added) {
    refuse(*this, fmt::format("address {} on {}", prefix.to_string(), device_name),
           added.error());
  }
}

void host::add_route(const std::string& words) {
  enter();
  std::string why;
  auto route = fib_route_parse(net(), words, &why);
  if (!route) throw setup_error(fmt::format("{}: route '{}': {}", name(), words, why));
  const rtnl_guard rtnl(machine_->rtnl());
  if (const auto added = ipv4_of(net()).fib.add(rtnl.held(), std::move(*route)); !added) {
    refuse(*this, fmt::format("route '{}'", words), added.error());
  }
}

void host::set_sysctl(const std::string& key, const std::string& value) {
  enter();
  if (const auto set = net().sysctls().set(key, value); !set) {
    refuse(*this, fmt::format("sysctl {} = '{}'", key, value), set.error());
  }
}

net_device& host::device(const std::string& device_name) {
  net_device* dev = net().device(device_name);
  if (dev == nullptr) throw setup_error(fmt::format("{}: no device {}", name(), device_name));
  return *dev;
}

u64 host::drops(skb_drop_reason why) const { return machine_->drops().get(why.info()); }

u64 host::counter(std::string_view counter_name) {
  std::optional<u64> out;
  net().mib().for_each([&](mib_counter, std::string_view known, u64 value) {
    if (known == counter_name) out = value;
  });
  if (!out) throw setup_error(fmt::format("no counter {}", counter_name));
  return *out;
}

}  // namespace ph::sim
