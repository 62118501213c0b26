// From a lab's value to hosts, wires and routes, in the order in which they need each other.
#include "daemon/running_lab.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <new>
#include <numeric>
#include <optional>

#include "daemon/control_log.h"
#include "net/ipv4/devinet.h"
#include "net/tcp/tcp.h"
#include "platform/memory_limit.h"

namespace ph {
namespace {

/// The words of `ip route` for a route of a lab file.
std::string route_words(const lab_route& route) {
  std::string words;
  switch (route.kind) {
    case lab_route_kind::unicast: break;
    case lab_route_kind::blackhole: words = "blackhole "; break;
    case lab_route_kind::unreachable: words = "unreachable "; break;
    case lab_route_kind::prohibit: words = "prohibit "; break;
  }
  words += route.to.len == 0 ? std::string("default") : route.to.to_string();
  if (route.via) words += " via " + route.via->to_string();
  if (!route.dev.empty()) words += " dev " + route.dev;
  if (route.src) words += " src " + route.src->to_string();
  if (route.metric != 0) words += fmt::format(" metric {}", route.metric);
  return words;
}

sim::attachment attachment_of(const lab_end& end, u32 mtu) {
  sim::attachment out;
  out.mtu = mtu;
  out.host = end.host;
  out.device = end.dev;
  for (const ipv4_prefix& prefix : end.addresses) out.addresses.push_back(prefix.to_string());
  return out;
}

sim::link_config config_of(const lab_link& link) {
  sim::link_config out;
  out.rate = link.rate;
  out.delay = link.delay;
  out.jitter = link.jitter;
  out.jitter_reorders = link.jitter_reorders;
  out.loss = link.loss;
  out.reorder = link.reorder;
  out.duplicate = link.duplicate;
  out.corrupt = link.corrupt;
  out.queue_packets = link.queue_packets;
  out.offload = true;
  return out;
}

sim::world_config config_of(const lab& what, entropy& secrets) {
  sim::world_config out;
  out.seed = what.seed;
  out.secrets = &secrets;
  out.most_events_at_once = ~u64{0};  // programs, not time, decide how much happens at once
  return out;
}

/// f(device, address) for the addresses of a host that lives, loopback's left out.
template <class F>
void for_each_address(sim::host& h, F&& f) {
  if (h.dead()) return;
  for (const auto& dev : h.net().devices()) {
    const in_device* in = dev->is_loopback() ? nullptr : in_dev_of(*dev);
    if (in == nullptr) continue;
    for (const in_ifaddr& addr : in->addrs) f(*dev, addr);
  }
}

bool on_subnet_of(sim::host& h, ipv4_addr addr) {
  bool found = false;
  for_each_address(
      h, [&](net_device&, const in_ifaddr& own) { found = found || own.subnet().contains(addr); });
  return found;
}

/// How many letters must be added, taken away or changed to make one word of the other.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);  // to the beginnings of b
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i + 1);
    for (std::size_t k = 0; k < b.size(); ++k) {
      const std::size_t change = diagonal + (a[i] == b[k] ? 0 : 1);
      diagonal = row[k + 1];
      row[k + 1] = std::min({change, row[k] + 1, diagonal + 1});
    }
  }
  return row.back();
}

/// The word that whoever wrote `word` probably meant.
std::string nearest(std::string_view word, const std::vector<std::string>& words) {
  const auto found = std::min_element(words.begin(), words.end(),
                                      [word](const std::string& a, const std::string& b) {
                                        return distance(word, a) < distance(word, b);
                                      });
  return found == words.end() ? "none" : *found;
}

std::string_view first_label(std::string_view name) { return name.substr(0, name.find('.')); }

std::string lower_case_of(std::string_view name) {
  std::string out(name);
  std::transform(out.begin(), out.end(), out.begin(), lower_case);
  return out;
}

}  // namespace

tl::expected<std::unique_ptr<running_lab>, std::string> running_lab::build(const lab& what,
                                                                           entropy& secrets) {
  try {
    return std::make_unique<running_lab>(what, secrets);
  } catch (const sim::setup_error& error) {
    return tl::unexpected(std::string(error.what()));
  } catch (const std::bad_alloc&) {
    return tl::unexpected(fmt::format(
        "not enough memory for {} hosts and {} links: make the lab smaller, or use a larger "
        "machine",
        what.hosts.size(), what.links.size()));
  }
}

running_lab::running_lab(const lab& what, entropy& secrets)
    : description_(what), world_(config_of(what, secrets)) {
  const std::optional<u64> memory = process_memory();
  for (const lab_host& h : what.hosts) {
    sim::host_config config;
    config.cpus = h.cpus;
    config.mortal = true;
    net_namespace& net = world_.add_host(h.name, config).net();
    net.slots().set(control_log_key, std::make_unique<control_log>(net));
    if (memory) tcp_set_limits(net, *memory);
  }
  for (const lab_link& l : what.links) {
    world_.connect(attachment_of(l.ends[0], l.mtu), attachment_of(l.ends[1], l.mtu), config_of(l));
  }
  for (const lab_device& d : what.devices) add_tap(d);
  for (const lab_host& h : what.hosts) {  // after the devices: some settings are about one
    for (const lab_sysctl& s : h.sysctls) set_sysctl(world_.host_at(h.name), s);
  }
  for (const lab_route& r : what.routes) world_.host_at(r.host).add_route(route_words(r));
}

void running_lab::set_sysctl(sim::host& h, const lab_sysctl& s) {
  h.enter();
  sysctl_table& table = h.net().sysctls();
  const auto set = table.set(s.name, s.value);
  if (set) return;
  lab_error error{description_.file, s.line, fmt::format("`{}` for {}", s.value, s.name), ""};
  switch (set.error()) {
    case errc::noent:
      error.found = fmt::format("unknown sysctl `{}`", s.name);
      error.expected = nearest(s.name, table.names());
      break;
    case errc::acces: error.expected = "nothing: it can only be read"; break;
    default:
      error.expected =
          fmt::format("a value like `{}`, in the setting's range", table.get(s.name).value_or(""));
  }
  throw sim::setup_error(error.to_string());
}

void running_lab::add_tap(const lab_device& device) {
  sim::host& h = world_.host_at(device.host);
  tap_config config;
  config.name = device.name;
  config.host_name = device.tap;
  config.mtu = device.mtu;
  config.addr = sim::mac_of(device.host, device.name);
  h.enter();
  {
    const rtnl_guard rtnl(h.machine().rtnl());
    const auto made = tap_create(rtnl.held(), h.net(), config);
    if (!made) throw sim::setup_error(fmt::format("{}: {}", device.host, made.error().text));
    if (const auto up = (*made)->device().open(rtnl.held(), h.machine().boot_cpu()); !up) {
      throw sim::setup_error(fmt::format("{}: {} does not come up: {}", device.host, device.name,
                                         errc_name(up.error())));
    }
    taps_.push_back({*made, &h});
  }
  if (device.address) h.add_address(device.name, *device.address);
}

void running_lab::set_reserve(const memory_reserve& reserve) {
  reserve_ = &reserve;
  for (const auto& wire : world_.links()) wire->set_starved(reserve.nearly_out());
  for (const tap& t : taps_) t.port->set_starved(reserve.nearly_out());
}

sim::host* running_lab::find_host(std::string_view name) {
  if (!name.empty()) return find_named(name);
  return world_.hosts().size() == 1 ? world_.hosts().front().get() : nullptr;
}

/// By its name in any case, or by the part before its first dot when no other host has that.
sim::host* running_lab::find_named(std::string_view name) {
  if (sim::host* const exactly = world_.find_host(name)) return exactly;
  sim::host* by_label = nullptr;
  std::size_t labels = 0;
  for (const auto& h : world_.hosts()) {
    if (same_host_name(h->name(), name)) return h.get();
    if (!same_host_name(first_label(h->name()), name)) continue;
    by_label = h.get();
    ++labels;
  }
  return labels == 1 ? by_label : nullptr;
}

std::string running_lab::no_such_host(std::string_view name) const {
  std::string names;
  for (const lab_host& h : description_.hosts) {
    if (names.size() > 200) {
      names += " ...";
      break;
    }
    names += " " + h.name;
  }
  return name.empty() ? fmt::format("which host? This lab has:{}", names)
                      : fmt::format("no host {} in this lab, which has:{}", name, names);
}

std::string running_lab::dead_host(const sim::host& h) {
  return fmt::format(
      "host {} has died of a bug in posthaste ({}); the other hosts go on: "
      "`ph down` and `ph up` bring it back",
      h.name(), h.death());
}

std::vector<ipv4_addr> running_lab::resolve(sim::host& asker, std::string_view name) {
  const ipv4_addr local(127, 0, 0, 1);
  sim::host* named = find_named(name);  // a name of the lab may itself end with a dot
  if (named == nullptr && name.size() > 1 && name.ends_with('.')) name.remove_suffix(1);
  if (same_host_name(name, "localhost")) return {local};
  if (named == nullptr) named = find_named(name);
  if (named == nullptr) return {};
  std::vector<ipv4_addr> out;
  for_each_address(*named, [&](net_device&, const in_ifaddr& addr) { out.push_back(addr.local); });
  std::stable_partition(out.begin(), out.end(),
                        [&](ipv4_addr addr) { return on_subnet_of(asker, addr); });
  if (out.empty() && named == &asker) out.push_back(local);
  return out;
}

std::string running_lab::name_of(sim::host& asker, ipv4_addr addr) {
  if (addr == ipv4_addr(127, 0, 0, 1)) return "localhost";  // as its line of /etc/hosts has it
  std::string out;
  const auto look_at = [&](sim::host& h) {
    for_each_address(h, [&](net_device&, const in_ifaddr& own) {
      if (out.empty() && own.local == addr) out = h.name();
    });
  };
  look_at(asker);
  for (const auto& h : world_.hosts()) {
    if (!out.empty()) break;
    look_at(*h);
  }
  return out;
}

std::string running_lab::names_file(sim::host& asker) {
  std::map<std::string, int> labels;  // how many hosts answer to each, in any case
  for (const auto& h : world_.hosts()) ++labels[lower_case_of(first_label(h->name()))];
  const auto names_of = [&](const sim::host& h) {
    const std::string_view label = first_label(h.name());
    const bool both = label != h.name() && labels[lower_case_of(label)] == 1;
    return both ? fmt::format("{} {}", h.name(), label) : h.name();
  };
  std::string out = "127.0.0.1\tlocalhost\n";
  for (const auto& h : world_.hosts()) {
    if (same_host_name(h->name(), "localhost")) continue;  // of a lab of one program's own
    for (const ipv4_addr addr : resolve(asker, h->name())) {
      fmt::format_to(std::back_inserter(out), "{}\t{}\n", addr.to_string(), names_of(*h));
    }
  }
  return out;
}

}  // namespace ph
