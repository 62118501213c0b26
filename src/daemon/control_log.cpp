// Events of the control plane in words, the latest last.
#include "daemon/control_log.h"

#include <fmt/format.h>

#include "net/ipv4/devinet.h"

namespace ph {
namespace {

const char* words_of(netdev_event_kind kind) {
  switch (kind) {
    case netdev_event_kind::up: return "is up";
    case netdev_event_kind::down: return "is down";
    case netdev_event_kind::change_mtu: return "has another MTU";
    case netdev_event_kind::change_addr: return "has another hardware address";
    case netdev_event_kind::unregister: return "is gone";
    default: return nullptr;
  }
}

const char* words_of(fib_event_kind kind) {
  switch (kind) {
    case fib_event_kind::added: return "is there";
    case fib_event_kind::replaced: return "is another";
    case fib_event_kind::removed: return "is gone";
  }
  return "";
}

}  // namespace

control_log::control_log(net_namespace& net) : net_(net) {
  links_.set_callback([this](const netdev_event& e) { on_link(e); });
  addresses_.set_callback([this](const inetaddr_event& e) { on_addresses(e); });
  routes_.set_callback([this](const fib_event& e) { on_route(e); });
  neighbours_.set_callback([this](const neigh_event& e) { on_neighbour(e); });
  ipv4_net& v4 = ipv4_of(net);
  net.netdev_events().add(links_);
  v4.inetaddr_events.add(addresses_);
  v4.fib.events.add(routes_);
  v4.arp_table->events.add(neighbours_);
}

/// What repeats itself leaves room for the rest.
void control_log::note(std::string what) {
  const instant now = net_.machine().boot_cpu().now();
  if (!entries_.empty() && entries_.back().what == what) {
    ++entries_.back().times;
    entries_.back().when = now;
    return;
  }
  if (entries_.size() == most) entries_.pop_front();
  entries_.push_back({now, std::move(what)});
}

void control_log::on_link(const netdev_event& event) {
  if (event.kind == netdev_event_kind::change) {
    return note(fmt::format("{} {}", event.dev->name(),
                            event.dev->carrier() ? "has a carrier" : "lost its carrier"));
  }
  const char* const words = words_of(event.kind);
  if (words != nullptr) note(fmt::format("{} {}", event.dev->name(), words));
}

void control_log::on_addresses(const inetaddr_event& event) {
  const bool added = event.kind == inetaddr_event_kind::added;
  for (const in_ifaddr& ifa : event.addrs) {
    note(fmt::format("{}/{} on {} is {}", ifa.local.to_string(), ifa.prefix_len,
                     event.dev->name(), added ? "there" : "gone"));
  }
}

/// Routes of addresses come and go with these.
void control_log::on_route(const fib_event& event) {
  constexpr u8 rtprot_kernel = 2;
  if (event.route->protocol == rtprot_kernel) return;
  note(fmt::format("the route to {} {}", event.route->dst.to_string(), words_of(event.kind)));
}

/// Of the states of neighbours only the one that somebody looks for.
void control_log::on_neighbour(const neigh_event& event) {
  if (event.neigh->state() != nud_failed || event.neigh->dead()) return;
  note(fmt::format("{} on {} does not answer", event.neigh->key().ipv4().to_string(),
                   event.neigh->dev().name()));
}

}  // namespace ph
