// Building by name, and the loop over events.
#include "sim/world.h"

#include <fmt/format.h>

namespace ph::sim {

world::world(world_config config) : config_(config), chance_(config.seed) {}

world::~world() {
  apps_.clear();
  links_.clear();
  hosts_.clear();
}

host& world::add_host(const std::string& name, const host_config& config) {
  if (find_host(name) != nullptr) throw setup_error(fmt::format("two hosts named {}", name));
  kernel_config machine;
  machine.name = name;
  machine.cpus = config.cpus;
  machine.seed = config_.seed;
  machine.memory = memory_.get();
  machine.trace = &tracer_;
  machine.secrets = config_.secrets;
  machine.buggify = config_.buggify;
  hosts_.push_back(std::make_unique<host>(events_, std::move(machine), config));
  host& made = *hosts_.back();
  by_name_[name] = &made;
  made.add_on_death([this, &made] { bury(made); });
  return made;
}

/// Somebody is at the other end of its wire, or nobody any more.
void world::set_carrier(net_device& dev, bool on) {
  host* const its = find_host(dev.net().machine().name());
  if (its == nullptr) return;
  its->call([&] { dev.set_carrier(its->machine().boot_cpu(), on); });
}

/// Nothing that belongs to a dead host's machine is destroyed, nor the memory that it shares.
void world::bury(host& dead) {
  keep_forever(memory_);
  for (const auto& wire : links_) {
    wire->host_died(dead.machine());
    for (const link_end e : {link_end::a, link_end::b}) {
      if (&wire->port(e).device().net().machine() == &dead.machine()) {
        set_carrier(wire->port(other_end(e)).device(), false);
      }
    }
  }
  for (const auto& a : apps_) {
    if (&a->at() == &dead) a->host_died();
  }
}

host* world::find_host(std::string_view name) {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : found->second;
}

host& world::host_at(std::string_view name) {
  host* found = find_host(name);
  if (found == nullptr) throw setup_error(fmt::format("no host named {}", name));
  return *found;
}

mem_port& world::plug(const attachment& at, const link_config& config) {
  host& h = host_at(at.host);
  const bool offload = config.offload && config.rate.bps == 0 && !config.has_faults();
  mem_config device;
  device.name = at.device;
  device.mtu = at.mtu;
  device.features = netif_f_sg;
  if (offload) device.features |= netif_f_hw_csum | netif_f_rxcsum | netif_f_tso;
  return h.add_device(device);
}

link& world::connect(const attachment& a, const attachment& b, const link_config& config) {
  const std::string name = fmt::format("{}:{}-{}:{}", a.host, a.device, b.host, b.device);
  mem_port& port_a = plug(a, config);
  mem_port& port_b = plug(b, config);
  links_.push_back(std::make_unique<link>(events_, name, port_a, port_b, config,
                                          chance_.fork("link " + name)));
  links_.back()->set_carrier_change([this](net_device& dev, bool on) { set_carrier(dev, on); });
  for (const attachment* at : {&a, &b}) {
    host& h = host_at(at->host);
    for (const std::string& prefix : at->addresses) h.add_address(at->device, prefix);
  }
  return *links_.back();
}

link& world::connect(const std::string& host_a, const std::string& device_a,
                     const std::string& addr_a, const std::string& host_b,
                     const std::string& device_b, const std::string& addr_b,
                     const link_config& config) {
  return connect(attachment{host_a, device_a, {addr_a}}, attachment{host_b, device_b, {addr_b}},
                 config);
}

app& world::spawn(std::string_view host_name, std::string name, app::body main) {
  return spawn(host_at(host_name), std::move(name), std::move(main));
}

app& world::spawn(host& where, std::string name, app::body main) {
  where.enter();
  auto process = std::make_shared<task>(where.machine(), where.net(), name);
  apps_.push_back(std::make_unique<app>(*this, where, std::move(process), std::move(name),
                                        std::move(main)));
  return *apps_.back();
}

bool world::step() {
  if (!events_.run_one(never)) return false;
  check_progress();
  rethrow_failure();
  return true;
}

void world::run_until(instant t) { run_some_until(t, ~u64{0}); }

bool world::run_some_until(instant t, u64 most) {
  for (u64 n = 0; events_.next_deadline() <= t; ++n) {
    if (n == most) return false;
    step();
  }
  events_.advance_to(t);
  return true;
}

bool world::run_until_idle(duration limit) {
  const instant end = now() + limit;
  while (events_.next_deadline() <= end) step();
  return events_.next_deadline() == never;
}

void world::run_apps(duration limit) {
  const instant end = now() + limit;
  while (running_apps_ != 0 && events_.next_deadline() <= end) step();
  if (running_apps_ == 0) return;
  std::string who;
  for (const auto& a : apps_) {
    if (a->done()) continue;
    who += fmt::format("\n  {} on {} {}", a->name(), a->at().name(), a->waits_for());
  }
  throw stuck_error(fmt::format("at {:.6f} s, with {}, these programs have not ended:{}",
                                static_cast<double>(now().ns) / 1e9,
                                next_deadline() == never ? "nothing scheduled" : "time over", who));
}

void world::check_progress() {
  if (events_.now() != busy_since_) {
    busy_since_ = events_.now();
    events_at_once_ = 0;
  }
  if (++events_at_once_ > config_.most_events_at_once) {
    throw stuck_error(fmt::format("time does not move on at {} ns", events_.now().ns));
  }
}

void world::rethrow_failure() {
  if (failed_ != nullptr) std::exchange(failed_, nullptr)->rethrow();
}

}  // namespace ph::sim
