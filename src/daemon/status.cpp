// Reading counters; changes nothing.
#include "daemon/status.h"

#include "daemon/control_log.h"
#include "net/ipv4/devinet.h"
#include "net/ipv4/fib.h"
#include "net/ipv4/ipv4_net.h"

namespace ph {
namespace {

using nlohmann::json;

json device_status(net_device& dev) {
  const netdev_stats s = dev.total_stats();
  json addresses = json::array();
  if (const in_device* in = in_dev_of(dev); in != nullptr) {
    for (const in_ifaddr& a : in->addrs) {
      addresses.push_back(ipv4_prefix{a.local, a.prefix_len}.to_string());
    }
  }
  return {{"name", dev.name()},
          {"up", dev.is_up()},
          {"carrier", dev.carrier()},
          {"mac", dev.dev_addr().to_string()},
          {"mtu", dev.mtu()},
          {"addresses", std::move(addresses)},
          {"rx_packets", s.rx_packets},
          {"tx_packets", s.tx_packets},
          {"rx_bytes", s.rx_bytes},
          {"tx_bytes", s.tx_bytes},
          {"rx_errors", s.rx_errors},
          {"tx_errors", s.tx_errors},
          {"rx_dropped", s.rx_dropped + s.rx_missed_errors},
          {"tx_dropped", s.tx_dropped}};
}

/// Counters that are not zero, by nstat's names.
json counters_of(net_namespace& net) {
  json out = json::object();
  net.mib().for_each([&](mib_counter, std::string_view name, u64 value) {
    if (value != 0) out[std::string(name)] = value;
  });
  return out;
}

json drops_of(sim::host& h) {
  json out = json::object();
  h.machine().drops().for_each([&](const drop_reason_info& why, u64 packets) {
    out[std::string(why.name())] = {{"packets", packets}, {"text", why.text()}};
  });
  return out;
}

/// Those that a program made, by protocol.
json sockets_of(net_namespace& net) {
  json out = json::object();
  for (const sock_list& of : net.sock_lists()) {
    if (of.size() != 0) out[std::string(of.name())] = of.size();
  }
  return out;
}

json events_of(net_namespace& net) {
  json out = json::array();
  const control_log* const log = net.slots().find(control_log_key);
  if (log == nullptr) return out;
  for (const control_log::entry& e : log->entries()) {
    out.push_back(
        {{"at_s", static_cast<double>(e.when.ns) / 1e9}, {"what", e.what}, {"times", e.times}});
  }
  return out;
}

/// Of a dead host only its death is told: nobody may look into its machine.
json death_of(const sim::host& h) {
  return {{"name", h.name()},
          {"dead", h.death()},
          {"died_at_s", static_cast<double>(h.died_at().ns) / 1e9},
          {"cpus", 0},
          {"sockets", 0},
          {"devices", json::array()},
          {"counters", json::object()},
          {"drops", json::object()}};
}

json host_status(sim::host& h) {
  if (h.dead()) return death_of(h);
  json devices = json::array();
  for (const auto& dev : h.net().devices()) devices.push_back(device_status(*dev));
  return {{"name", h.name()},
          {"cpus", h.machine().cpu_count()},
          {"sockets", h.net().sockets},
          {"sockets_by_protocol", sockets_of(h.net())},
          {"devices", std::move(devices)},
          {"events", events_of(h.net())},
          {"counters", counters_of(h.net())},
          {"drops", drops_of(h)}};
}

json direction_status(const sim::link& l, sim::link_end sender) {
  const sim::link_stats& s = l.stats(sender);
  return {{"packets", s.frames},
          {"bytes", s.bytes},
          {"delivered", s.delivered},
          {"fault_loss", s.lost},
          {"link_queue_full", s.queue_full},
          {"link_flight_full", s.flight_full},
          {"fault_corrupt", s.corrupt_dropped},
          {"nomem", s.starved},
          {"corrupted", s.corrupted},
          {"duplicated", s.duplicated},
          {"reordered", s.reordered},
          {"longest_queue", s.longest_queue},
          {"in_flight", l.in_flight(sender)}};
}

std::string end_name(const sim::link& l, sim::link_end end) {
  net_device& dev = l.port(end).device();
  return dev.net().machine().name() + ":" + dev.name();
}

json link_status(const sim::link& l) {
  using sim::link_end;
  return {{"ends", {end_name(l, link_end::a), end_name(l, link_end::b)}},
          {"forth", direction_status(l, link_end::a)},
          {"back", direction_status(l, link_end::b)}};
}

}  // namespace

json lab_status(running_lab& lab) {
  json hosts = json::array();
  for (const auto& h : lab.world().hosts()) hosts.push_back(host_status(*h));
  json links = json::array();
  for (const auto& l : lab.world().links()) links.push_back(link_status(*l));
  return {{"seed", lab.world().seed()},
          {"hosts", std::move(hosts)},
          {"links", std::move(links)},
          {"live_packets", lab.world().memory().live_packets()},
          {"memory_low", lab.memory_low()}};
}

}  // namespace ph
