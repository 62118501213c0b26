// The routing tables: lookups through the three built-in tables, and what makes a route
// acceptable (scopes, reachable gateways, sources that are ours).
#include "net/ipv4/fib.h"

#include <algorithm>

#include "base/hash.h"
#include "net/core/net_namespace.h"
#include "net/ipv4/devinet.h"
#include "net/ipv4/fib_trie.h"

namespace ph {
namespace {

constexpr u8 rtprot_kernel = 2;

/// What a route without next hops answers.
errc refusal(route_type type) {
  switch (type) {
    case route_type::unreachable: return errc::hostunreach;
    case route_type::prohibit: return errc::acces;
    case route_type::throw_: return errc::again;
    case route_type::blackhole: return errc::inval;
    default: return errc::ok;
  }
}
bool refuses(route_type type) { return refusal(type) != errc::ok; }

bool uses(const fib_route& route, ifindex dev) {
  return std::any_of(route.nexthops.begin(), route.nexthops.end(),
                     [&](const fib_nh& nh) { return nh.oif == dev; });
}

bool same_nexthops(const fib_route& a, const fib_route& b) {
  return std::equal(a.nexthops.begin(), a.nexthops.end(), b.nexthops.begin(), b.nexthops.end(),
                    [](const fib_nh& x, const fib_nh& y) {
                      return x.oif == y.oif && x.gateway == y.gateway && x.weight == y.weight;
                    });
}
bool identical(const fib_route& a, const fib_route& b) {
  return a.type == b.type && a.scope == b.scope && a.protocol == b.protocol &&
         a.prefsrc == b.prefsrc && a.metrics == b.metrics && same_nexthops(a, b);
}

/// Within a prefix the longer TOS comes first, then the smaller metric.
bool before(const fib_route& a, const fib_route& b) {
  return a.tos != b.tos ? a.tos > b.tos : a.priority < b.priority;
}
bool same_rank(const fib_route& a, const fib_route& b) {
  return a.tos == b.tos && a.priority == b.priority;
}

ipv4_prefix masked(const ipv4_prefix& p) {
  return {ipv4_addr(p.addr.value() & ipv4_mask(p.len).value()), p.len};
}

}  // namespace

fib_tables::fib_tables(net_namespace& net)
    : net_(net), local_(std::make_unique<fib_trie>()), main_(std::make_unique<fib_trie>()),
      default_(std::make_unique<fib_trie>()) {}
fib_tables::~fib_tables() = default;

fib_trie* fib_tables::table(route_table id) const {
  switch (id) {
    case route_table::local: return local_.get();
    case route_table::main: case route_table::unspec: return main_.get();
    case route_table::default_: return default_.get();
  }
  return nullptr;
}

// --- lookup -----------------------------------------------------------------------------------

/// A next hop of the route that suits the flow. Several share the flows by weight, chosen by
/// addresses as fib_multipath_hash_policy 0 does. Errors: nodev (none suits).
result<fib_result> fib_tables::resolve(const fib_route& route, const flowi4& flow) const {
  const auto suits = [&](const fib_nh& nh) {
    if (flow.oif && flow.oif != nh.oif) return false;
    if (route.nexthops.size() == 1) return true;
    const net_device* dev = net_.device(nh.oif);
    return dev != nullptr && dev->is_up();
  };
  u64 total = 0;
  for (const fib_nh& nh : route.nexthops) total += suits(nh) ? nh.weight : 0u;
  if (total == 0) return fail(errc::nodev);
  u64 at = 0;
  if (route.nexthops.size() > 1) {
    at = mix64((u64{flow.saddr.value()} << 32) | flow.daddr.value()) % total;
  }
  for (const fib_nh& nh : route.nexthops) {
    if (!suits(nh)) continue;
    if (at < nh.weight) return fib_result{&route, &nh};
    at -= nh.weight;
  }
  return fail(errc::nodev);
}

result<fib_result> fib_tables::lookup(const flowi4& flow) const {
  for (const fib_trie* in : {local_.get(), main_.get(), default_.get()}) {
    result<fib_result> found = fail(errc::again);
    in->match(flow.daddr, [&](const fib_route& route) {
      if (route.tos != 0 && route.tos != (flow.tos & 0x1c)) return false;
      if (static_cast<u8>(route.scope) < flow.scope) return false;
      if (refuses(route.type)) {
        found = fail(refusal(route.type));
        return true;
      }
      const result<fib_result> hop = resolve(route, flow);
      if (!hop) return false;
      found = *hop;
      return true;
    });
    if (found || found.error() != errc::again) return found;
  }
  return fail(errc::netunreach);
}

route_type fib_tables::addr_type(ipv4_addr addr, const net_device* dev) const {
  if (addr.is_any() || addr.is_limited_broadcast()) return route_type::broadcast;
  if (addr.is_multicast()) return route_type::multicast;
  route_type out = route_type::unicast;
  local_->match(addr, [&](const fib_route& route) {
    if (route.nexthops.empty()) return false;
    if (dev == nullptr || route.nexthops.front().oif == dev->index()) out = route.type;
    return true;
  });
  return out;
}

ipv4_addr fib_tables::select_source(const fib_result& found, ipv4_addr daddr) const {
  if (!found.route->prefsrc.is_any()) return found.route->prefsrc;
  const net_device* dev = found.nh != nullptr ? net_.device(found.nh->oif) : nullptr;
  if (dev == nullptr) return {};
  const ipv4_addr hop = found.nh->gateway.is_any() ? daddr : found.nh->gateway;
  return inet_select_addr(*dev, hop, static_cast<u8>(found.route->scope));
}

// --- change -----------------------------------------------------------------------------------

/// A gateway must itself be reached by a route of smaller scope (on link), by a device that is up.
result<void> fib_tables::check_nexthop(const fib_route& route, fib_nh& nh) const {
  const net_device* dev = nh.oif ? net_.device(nh.oif) : nullptr;
  if (nh.oif && dev == nullptr) return fail(errc::nodev);
  if (nh.gateway.is_any()) {
    if (dev == nullptr) return fail(errc::nodev);
    return dev->is_up() || route.type == route_type::local ? result<void>{} : fail(errc::netdown);
  }
  if (route.scope >= route_scope::link) return fail(errc::inval);
  if (nh.onlink) {
    if (dev == nullptr) return fail(errc::nodev);
    if (addr_type(nh.gateway) != route_type::unicast) return fail(errc::inval);
    return dev->is_up() ? result<void>{} : fail(errc::netdown);
  }
  flowi4 flow;
  flow.daddr = nh.gateway;
  flow.oif = nh.oif;
  flow.scope = static_cast<u8>(route_scope::link);
  const result<fib_result> way = lookup(flow);
  if (!way) return fail(errc::netunreach);
  // An address of our own is let through, useless as it is: so does Linux.
  if (way->route->type != route_type::unicast && way->route->type != route_type::local) {
    return fail(errc::inval);
  }
  nh.oif = way->nh->oif;
  dev = net_.device(nh.oif);
  return dev != nullptr && dev->is_up() ? result<void>{} : fail(errc::netdown);
}

result<void> fib_tables::check(fib_route& route) const {
  if (route.dst.len > 32 || masked(route.dst) != route.dst) return fail(errc::inval);
  if (route.type == route_type::unspec || route.type > route_type::throw_) return fail(errc::inval);
  if (route.scope > route_scope::host || table(route.table) == nullptr) return fail(errc::inval);
  if (route.table == route_table::unspec) route.table = route_table::main;
  if (refuses(route.type)) return route.nexthops.empty() ? result<void>{} : fail(errc::inval);
  if (route.nexthops.empty()) return fail(errc::nodev);
  if (route.scope == route_scope::host &&
      (route.nexthops.size() != 1 || !route.nexthops.front().gateway.is_any())) {
    return fail(errc::inval);
  }
  for (fib_nh& nh : route.nexthops) {
    if (nh.weight == 0) return fail(errc::inval);
    TRY_VOID(check_nexthop(route, nh));
  }
  const bool own = route.type == route_type::local && route.prefsrc == route.dst.addr;
  if (!route.prefsrc.is_any() && !own && addr_type(route.prefsrc) != route_type::local) {
    return fail(errc::inval);
  }
  return {};
}

result<void> fib_tables::add(const rtnl_held&, fib_route route, bool replace) {
  TRY_VOID(check(route));
  fib_trie::route_list& routes = table(route.table)->at(route.dst);
  auto made = std::make_unique<fib_route>(std::move(route));
  const auto ranked = std::find_if(routes.begin(), routes.end(),
                                   [&](const auto& r) { return same_rank(*r, *made); });
  if (ranked != routes.end()) {
    if (replace) {
      std::swap(*ranked, made);
      bump_generation();
      events.tell({fib_event_kind::replaced, ranked->get()});
      return {};
    }
    // Routes of addresses may stand beside each other: two devices on one subnet.
    const bool twin = std::any_of(routes.begin(), routes.end(), [&](const auto& r) {
      return same_rank(*r, *made) && identical(*r, *made);
    });
    if (made->protocol != rtprot_kernel || twin) return fail(errc::exist);
  }
  const auto place = std::upper_bound(routes.begin(), routes.end(), made,
                                      [](const auto& a, const auto& b) { return before(*a, *b); });
  const fib_route& added = **routes.insert(place, std::move(made));
  bump_generation();
  events.tell({fib_event_kind::added, &added});
  return {};
}

result<void> fib_tables::erase(const rtnl_held&, const fib_route& route) {
  fib_trie* in = table(route.table);
  fib_trie::route_list* routes = in != nullptr ? in->find(masked(route.dst)) : nullptr;
  if (routes == nullptr) return fail(errc::noent);
  const auto found = std::find_if(routes->begin(), routes->end(), [&](const auto& r) {
    if (r->type != route.type || r->tos != route.tos) return false;
    if (route.priority != 0 && r->priority != route.priority) return false;
    if (route.nexthops.empty()) return true;
    const fib_nh& want = route.nexthops.front();
    return std::any_of(r->nexthops.begin(), r->nexthops.end(), [&](const fib_nh& nh) {
      return (!want.oif || nh.oif == want.oif) &&
             (want.gateway.is_any() || nh.gateway == want.gateway);
    });
  });
  if (found == routes->end()) return fail(errc::noent);
  const std::unique_ptr<fib_route> gone = std::move(*found);
  routes->erase(found);
  if (routes->empty()) in->prune(gone->dst);
  bump_generation();
  events.tell({fib_event_kind::removed, gone.get()});
  return {};
}

template <class Pred>
void fib_tables::erase_if(Pred&& pred) {
  for (fib_trie* in : {local_.get(), main_.get(), default_.get()}) {
    const fib_trie::route_list gone = in->take_if(pred);
    if (!gone.empty()) bump_generation();
    for (const auto& route : gone) events.tell({fib_event_kind::removed, route.get()});
  }
}

void fib_tables::flush_dev(const rtnl_held&, const net_device& dev, bool unregister) {
  const auto dead = [&](const fib_nh& nh) {
    const net_device* by = net_.device(nh.oif);
    return nh.oif == dev.index() || by == nullptr || !by->is_up();
  };
  erase_if([&](const fib_route& route) {
    if (!uses(route, dev.index())) return false;
    if (route.type == route_type::local && route.scope == route_scope::host && !unregister) {
      return false;
    }
    return std::all_of(route.nexthops.begin(), route.nexthops.end(), dead);
  });
  bump_generation();
}

void fib_tables::flush_kernel(const rtnl_held&, const net_device& dev) {
  erase_if([&](const fib_route& route) {
    return route.protocol == rtprot_kernel && uses(route, dev.index());
  });
}

void fib_tables::flush_prefsrc(const rtnl_held&, ipv4_addr addr) {
  erase_if([&](const fib_route& route) { return route.prefsrc == addr; });
}

std::vector<const fib_route*> fib_tables::routes() const {
  std::vector<const fib_route*> out;
  for (fib_trie* in : {local_.get(), main_.get(), default_.get()}) {
    in->for_each([&](fib_trie::route_list& routes) {
      for (const auto& route : routes) out.push_back(route.get());
    });
  }
  return out;
}

}  // namespace ph
