// From an answer of the routing tables to a route that packets use: what is local, what may be
// received and from where (RFC 1812 §5.3.7, RFC 3704), and which source we use.
#include "net/ipv4/route.h"

#include <algorithm>

#include "net/core/net_device.h"
#include "net/core/net_namespace.h"
#include "net/ipv4/devinet.h"
#include "net/ipv4/icmp.h"
#include "net/ipv4/icmp_limiter.h"
#include "net/ipv4/ip_input.h"
#include "net/ipv4/ip_output.h"
#include "net/ipv4/route_cache.h"
#include "uapi/inet.h"
#include "wire/ipv4.h"

namespace ph {

// --- rtable -----------------------------------------------------------------------------------

void rtable::input(cpu& cx, skb_ptr skb) {
  // A packet of our own keeps its route over lo: only a group that nobody joined is not for us.
  if (!is_input && type == route_type::multicast && !local_copy) {
    return drop(cx, std::move(skb), drop_reason::dst_discard);
  }
  if (!is_input) return ip_local_deliver(cx, std::move(skb));
  switch (type) {
    case route_type::local: case route_type::broadcast: case route_type::multicast:
      return ip_local_deliver(cx, std::move(skb));
    default: return ip_forward(cx, std::move(skb));
  }
}

xmit_result rtable::output(cpu& cx, skb_ptr skb) { return ip_output(cx, std::move(skb)); }

u32 rtable::mtu(instant now) const {
  constexpr u32 most = 65535;
  const u32 own = std::min(fib_mtu != 0 ? fib_mtu : dev->mtu(), most);
  return pmtu != 0 && pmtu_expires > now ? std::min(pmtu, own) : own;
}

result<ref<neighbour>> rtable::neigh(cpu& cx, ipv4_addr daddr) {
  const neigh_key key = neigh_key::of(gateway.is_any() ? daddr : gateway);
  if (neigh_ && neigh_->hashed() && neigh_->key() == key) return neigh_;
  TRY(neigh_, ipv4_of(net_).arp_table->lookup_or_create(cx, key, *dev));
  return neigh_;
}

void rtable::confirm(cpu& cx, ipv4_addr daddr) {
  const neigh_key key = neigh_key::of(gateway.is_any() ? daddr : gateway);
  if (!neigh_ || neigh_->dead() || neigh_->key() != key) {
    neigh_ = ipv4_of(net_).arp_table->lookup(key, *dev);
  }
  if (neigh_) neigh_->confirm(cx.now());
}

bool rt_valid(const rtable& rt, instant now) {
  return rt.generation == ipv4_of(rt.net()).fib.generation() && now < rt.gateway_expires;
}

namespace {

ref<rtable> new_rtable(net_namespace& net, route_type type, net_device& dev) {
  auto rt = make_ref<rtable>(net);
  rt->type = type;
  rt->dev = &dev;
  rt->iif = dev.index();
  rt->generation = ipv4_of(net).fib.generation();
  return rt;
}

void apply_metrics(rtable& rt, const route_metrics& m) {
  rt.fib_mtu = m.mtu;
  rt.mtu_locked = m.lock_mtu;
  rt.advmss = m.advmss;
  rt.initcwnd = m.initcwnd;
  rt.initrwnd = m.initrwnd;
  rt.rtt_us = m.rtt_ms * 1000;
  rt.rto_min_ms = m.rto_min_ms;
  rt.window = m.window;
  rt.cwnd_clamp = m.lock_cwnd ? m.cwnd : 0;
  rt.ssthresh = m.ssthresh;
  rt.reordering = m.reordering;
  rt.quickack = m.quickack != 0;
  rt.ecn = m.ecn;
  rt.congestion = m.congestion;
}

void apply_path(rtable& rt, ipv4_addr daddr, instant now) {
  const route_cache::path* known = ipv4_of(rt.net()).routes->find_path(daddr, now);
  if (known == nullptr) return;
  rt.pmtu = known->mtu;
  rt.pmtu_expires = known->expires;
  rt.mtu_locked = rt.mtu_locked || known->locked;
}

route_cache::way way_of(const rtable& rt, ipv4_addr daddr) {
  return {daddr, rt.fib_gateway, rt.dev->index().value};
}

void apply_redirect(rtable& rt, ipv4_addr daddr, instant now) {
  if (rt.fib_gateway.is_any()) return;
  const route_cache::redirect* known =
      ipv4_of(rt.net()).routes->find_redirect(way_of(rt, daddr), now);
  if (known == nullptr) return;
  rt.gateway = known->gateway;
  rt.gateway_expires = known->expires;
}

// --- output -----------------------------------------------------------------------------------

/// One lookup for a packet of ours, in the order of Linux's ip_route_output.
class output_lookup {
 public:
  output_lookup(cpu& cx, net_namespace& net, const flowi4& flow)
      : cx_(cx), net_(net), fib_(ipv4_of(net).fib), flow_(flow) {}
  result<ref<rtable>> run();

 private:
  result<void> check_source();
  result<bool> from_device();
  result<ref<rtable>> make(route_type type, net_device& dev);
  result<ref<rtable>> from_tables();

  cpu& cx_;
  net_namespace& net_;
  const fib_tables& fib_;
  flowi4 flow_;
  net_device* out_ = nullptr;
  fib_result found_;
};

/// A source, if given, must be ours (unless the socket is transparent) and a host's.
result<void> output_lookup::check_source() {
  if (flow_.saddr.is_any()) return {};
  if (flow_.saddr.is_multicast() || flow_.saddr.is_limited_broadcast()) return fail(errc::inval);
  const bool group = flow_.daddr.is_multicast() || flow_.daddr.is_limited_broadcast();
  if (!flow_.oif && group) {
    // The source address says by which interface groups are to be reached.
    const net_device* dev = ip_dev_find(net_, flow_.saddr);
    if (dev == nullptr && !flow_.any_src) return fail(errc::netunreach);
    if (dev != nullptr) flow_.oif = dev->index();
  }
  if (flow_.any_src || ip_dev_find(net_, flow_.saddr) != nullptr) return {};
  return fail(errc::netunreach);
}

/// With an output device given: true when it decides alone (link-local groups, broadcast).
result<bool> output_lookup::from_device() {
  if (!flow_.oif) return false;
  out_ = net_.device(flow_.oif);
  if (out_ == nullptr) return fail(errc::nodev);
  if (!out_->is_up() || in_dev_of(*out_) == nullptr) return fail(errc::netunreach);
  constexpr auto link = static_cast<u8>(route_scope::link);
  const bool local_group = (flow_.daddr.value() >> 8) == 0xe00000;
  if (local_group || flow_.daddr.is_limited_broadcast() || flow_.proto == uapi::ipproto_igmp) {
    if (flow_.saddr.is_any()) flow_.saddr = inet_select_addr(*out_, {}, link);
    return true;
  }
  if (!flow_.saddr.is_any()) return false;
  if (flow_.daddr.is_multicast()) {
    flow_.saddr = inet_select_addr(*out_, {}, flow_.scope);
  } else if (flow_.daddr.is_any()) {
    flow_.saddr = inet_select_addr(*out_, {}, static_cast<u8>(route_scope::host));
  }
  return false;
}

result<ref<rtable>> output_lookup::make(route_type type, net_device& dev) {
  if (flow_.saddr.is_loopback() && !dev.is_loopback()) return fail(errc::inval);
  if (flow_.daddr.is_limited_broadcast()) type = route_type::broadcast;
  else if (flow_.daddr.is_multicast()) type = route_type::multicast;
  else if (flow_.daddr.is_any()) return fail(errc::inval);
  ref<rtable> rt = new_rtable(net_, type, dev);
  rt->saddr = flow_.saddr;
  rt->local_copy = type == route_type::broadcast ||
                   (type == route_type::multicast && ip_mc_member(dev, flow_.daddr));
  if (type == route_type::unicast && found_.nh != nullptr) {
    rt->gateway = rt->fib_gateway = found_.nh->gateway;
  }
  if (type == route_type::local && found_.nh != nullptr) rt->iif = found_.nh->oif;
  if (found_.route != nullptr) apply_metrics(*rt, found_.route->metrics);
  apply_path(*rt, flow_.daddr, cx_.now());
  apply_redirect(*rt, flow_.daddr, cx_.now());
  return rt;
}

result<ref<rtable>> output_lookup::from_tables() {
  const result<fib_result> found = fib_.lookup(flow_);
  if (!found) {
    if (!flow_.oif || found.error() != errc::netunreach) return fail(found.error());
    // With a device and no route the destination is taken to be on the link.
    if (flow_.saddr.is_any()) {
      flow_.saddr = inet_select_addr(*out_, {}, static_cast<u8>(route_scope::link));
    }
    return make(route_type::unicast, *out_);
  }
  found_ = *found;
  if (found_.route->type == route_type::local) {
    if (flow_.saddr.is_any()) {
      const ipv4_addr preferred = found_.route->prefsrc;
      flow_.saddr = preferred.is_any() ? flow_.daddr : preferred;
    }
    return make(route_type::local, *net_.loopback);
  }
  net_device* dev = found_.nh != nullptr ? net_.device(found_.nh->oif) : nullptr;
  if (dev == nullptr || !dev->is_up()) return fail(errc::netunreach);
  if (flow_.saddr.is_any()) flow_.saddr = fib_.select_source(found_, flow_.daddr);
  return make(found_.route->type, *dev);
}

result<ref<rtable>> output_lookup::run() {
  TRY_VOID(check_source());
  TRY(const bool decided, from_device());
  if (decided) return make(route_type::unicast, *out_);
  if (flow_.daddr.is_any()) {
    flow_.daddr = flow_.saddr;
    if (flow_.daddr.is_any()) {
      flow_.daddr = flow_.saddr = ipv4_addr(uapi::inaddr_loopback);
    }
    return make(route_type::local, *net_.loopback);
  }
  return from_tables();
}

// --- input ------------------------------------------------------------------------------------

/// One lookup for a packet that arrived.
class input_lookup {
 public:
  input_lookup(cpu& cx, sk_buff& skb, net_device& dev)
      : cx_(cx), skb_(skb), dev_(dev), net_(dev.net()), v4_(ipv4_of(net_)) {
    const iphdr& iph = skb.network_header<iphdr>();
    flow_.daddr = iph.daddr;
    flow_.saddr = iph.saddr;
    flow_.tos = iph.tos;
    flow_.proto = iph.protocol;
    flow_.iif = dev.index();
    flow_.mark = skb.mark;
  }
  skb_drop_reason run();

 private:
  skb_drop_reason group();
  skb_drop_reason martian() const;
  skb_drop_reason validate_source() const;
  skb_drop_reason broadcast();
  skb_drop_reason refuse(errc error);
  skb_drop_reason forward(const fib_result& found);
  skb_drop_reason accept(route_type type);

  cpu& cx_;
  sk_buff& skb_;
  net_device& dev_;
  net_namespace& net_;
  ipv4_net& v4_;
  flowi4 flow_;
};

skb_drop_reason input_lookup::accept(route_type type) {
  ref<rtable> rt = new_rtable(net_, type, dev_);
  rt->is_input = true;
  skb_.dst = rt;
  return drop_reason::none;
}

/// The source must not be one of ours, and with rp_filter the way back to it must be by this
/// interface (1, strict) or by any (2, loose): RFC 3704.
skb_drop_reason input_lookup::validate_source() const {
  if (dev_.is_loopback()) return drop_reason::none;
  if (v4_.fib.addr_type(flow_.saddr) == route_type::local) return drop_reason::ip_martian_source;
  const s32 filter = v4_.sysctl.rp_filter;
  if (filter == 0) return drop_reason::none;
  flowi4 back;
  back.daddr = flow_.saddr;
  back.tos = flow_.tos;
  const result<fib_result> way = v4_.fib.lookup(back);
  if (!way) return drop_reason::ip_rpfilter;
  if (way->route->type != route_type::unicast) return drop_reason::ip_martian_source;
  const auto& hops = way->route->nexthops;
  const bool same = std::any_of(hops.begin(), hops.end(),
                                [&](const fib_nh& nh) { return nh.oif == dev_.index(); });
  return same || filter == 2 ? drop_reason::none : drop_reason::ip_rpfilter;
}

skb_drop_reason input_lookup::group() {
  if (!ip_mc_member(dev_, flow_.daddr)) return drop_reason::other_host;
  if (flow_.saddr.is_multicast() || flow_.saddr.is_limited_broadcast()) {
    return drop_reason::ip_martian_source;
  }
  if (flow_.saddr.is_loopback() && !dev_.is_loopback()) return drop_reason::ip_martian_source;
  if (flow_.saddr.is_any()) {
    const bool local_group = (flow_.daddr.value() >> 8) == 0xe00000;
    if (!local_group && flow_.proto != uapi::ipproto_igmp) return drop_reason::ip_martian_source;
  } else if (const skb_drop_reason why = validate_source(); why != drop_reason::none) {
    return why;
  }
  return accept(route_type::multicast);
}

skb_drop_reason input_lookup::martian() const {
  const bool on_lo = dev_.is_loopback();
  if (flow_.saddr.is_any()) return drop_reason::ip_martian_source;
  if (flow_.daddr.is_any()) return drop_reason::ip_martian_dest;
  if (flow_.daddr.is_loopback() && !on_lo) return drop_reason::ip_martian_dest;
  if (flow_.saddr.is_loopback() && !on_lo) return drop_reason::ip_martian_source;
  return drop_reason::none;
}

skb_drop_reason input_lookup::broadcast() {
  if (!flow_.saddr.is_any()) {
    if (const skb_drop_reason why = validate_source(); why != drop_reason::none) return why;
  }
  return accept(route_type::broadcast);
}

/// A router tells the sender; a host stays silent (RFC 1122 §3.2.1.3).
skb_drop_reason input_lookup::refuse(errc error) {
  if (v4_.sysctl.ip_forward == 0) return drop_reason::ip_forwarding_off;
  if (error == errc::inval) return drop_reason::blackhole_route;
  u8 code = uapi::icmp_net_unreach;
  skb_drop_reason why = drop_reason::ip_innoroutes;
  if (error == errc::hostunreach) {
    code = uapi::icmp_host_unreach;
    why = drop_reason::unreachable_route;
  } else if (error == errc::acces) {
    code = uapi::icmp_pkt_filtered;
    why = drop_reason::prohibit_route;
  }
  if (v4_.icmp_limits->allow_route_error(flow_.saddr, cx_.now())) {
    icmp_send(cx_, skb_, uapi::icmp_dest_unreach, code, 0);
  }
  return why;
}

skb_drop_reason input_lookup::forward(const fib_result& found) {
  if (v4_.sysctl.ip_forward == 0) return drop_reason::ip_forwarding_off;
  if (found.route->type != route_type::unicast || found.nh == nullptr) {
    return drop_reason::ip_martian_dest;
  }
  if (const skb_drop_reason why = validate_source(); why != drop_reason::none) return why;
  net_device* out = net_.device(found.nh->oif);
  if (out == nullptr || !out->is_up()) return refuse(errc::netunreach);
  ref<rtable> rt = new_rtable(net_, route_type::unicast, *out);
  rt->is_input = true;
  rt->gateway = found.nh->gateway;
  rt->saddr = v4_.fib.select_source(found, flow_.daddr);
  apply_metrics(*rt, found.route->metrics);
  apply_path(*rt, flow_.daddr, cx_.now());
  skb_.dst = rt;
  return drop_reason::none;
}

skb_drop_reason input_lookup::run() {
  if (flow_.daddr.is_multicast()) return group();
  if (flow_.saddr.is_multicast() || flow_.saddr.is_limited_broadcast()) {
    return drop_reason::ip_martian_source;
  }
  if (flow_.daddr.is_limited_broadcast() || (flow_.saddr.is_any() && flow_.daddr.is_any())) {
    return broadcast();
  }
  if (const skb_drop_reason why = martian(); why != drop_reason::none) return why;
  const result<fib_result> found = v4_.fib.lookup(flow_);
  if (!found) return refuse(found.error());
  switch (found->route->type) {
    case route_type::broadcast: return broadcast();
    case route_type::local: {
      const skb_drop_reason why = validate_source();
      return why != drop_reason::none ? why : accept(route_type::local);
    }
    default: return forward(*found);
  }
}

/// May the answer for this flow be used for others with the same key?
bool cacheable(const flowi4& flow) {
  return flow.mark == 0 && !flow.any_src && flow.scope == 0 && flow.proto != uapi::ipproto_igmp;
}

}  // namespace

result<ref<rtable>> ip_route_output(cpu& cx, net_namespace& net, const flowi4& flow) {
  route_cache& cache = *ipv4_of(net).routes;
  const route_key key{flow.daddr, flow.saddr, flow.oif.value, static_cast<u8>(flow.tos & 0x1c),
                      false, 0};
  const bool may_cache = cacheable(flow);
  if (may_cache) {
    if (ref<rtable> known = cache.find(key, cx.now())) return known;
  }
  TRY(ref<rtable> rt, output_lookup(cx, net, flow).run());
  if (may_cache) cache.store(key, rt);
  return rt;
}

skb_drop_reason ip_route_input(cpu& cx, sk_buff& skb, net_device& dev) {
  const iphdr& iph = skb.network_header<iphdr>();
  route_cache& cache = *ipv4_of(dev.net()).routes;
  const ipv4_sysctls& sysctl = ipv4_of(dev.net()).sysctl;
  const auto policy = static_cast<u8>((sysctl.ip_forward << 2) | sysctl.rp_filter);
  const route_key key{iph.daddr, iph.saddr, dev.index().value, static_cast<u8>(iph.tos & 0x1c),
                      true, policy};
  if (ref<rtable> known = cache.find(key, cx.now())) {
    skb.dst = std::move(known);
    return drop_reason::none;
  }
  const skb_drop_reason why = input_lookup(cx, skb, dev).run();
  if (why == drop_reason::none) {
    cache.store(key, ref<rtable>(static_cast<rtable*>(skb.dst.get())));
  }
  return why;
}

void ip_rt_update_pmtu(cpu& cx, net_namespace& net, ipv4_addr daddr, u32 mtu) {
  ipv4_net& v4 = ipv4_of(net);
  flowi4 flow;
  flow.daddr = daddr;
  const result<ref<rtable>> rt = ip_route_output(cx, net, flow);
  if (!rt) return;
  if ((*rt)->mtu_locked) return;  // `ip route … mtu lock`
  const u32 old = (*rt)->mtu(cx.now());
  if (mtu >= old) return;
  const auto least = static_cast<u32>(v4.sysctl.min_pmtu);
  route_cache::path path;
  path.locked = mtu < least;
  path.mtu = path.locked ? std::min(old, least) : mtu;
  path.expires = cx.now() + seconds(v4.sysctl.mtu_expires);
  if (v4.routes->learn_path(daddr, path, cx.now())) v4.fib.bump_generation();
}

void ip_rt_redirect(cpu& cx, net_namespace& net, const icmp_error& error) {
  constexpr duration lifetime = seconds(300);
  ipv4_net& v4 = ipv4_of(net);
  const ipv4_addr better(error.info), daddr = error.raddr.ipv4();
  if (v4.sysctl.accept_redirects == 0 || v4.sysctl.ip_forward != 0) return;
  if (error.code > uapi::icmp_redir_hosttos) return;
  if (v4.fib.addr_type(better) != route_type::unicast) return;
  flowi4 flow;
  flow.daddr = daddr;
  flow.saddr = error.laddr.ipv4();
  const result<ref<rtable>> rt = ip_route_output(cx, net, flow);
  if (!rt || (*rt)->gateway.is_any() || (*rt)->dev->index() != error.dev) return;
  if ((*rt)->gateway != error.offender.ipv4() || (*rt)->gateway == better) return;
  neigh_table& neighbours = *v4.arp_table;
  const auto hop = neighbours.lookup_or_create(cx, neigh_key::of(better), *(*rt)->dev);
  if (!hop) return;
  if (!(*hop)->valid()) return neighbours.resolve(cx, **hop);
  const route_cache::redirect there{better, cx.now() + lifetime};
  if (v4.routes->learn_redirect(way_of(**rt, daddr), there, cx.now())) v4.fib.bump_generation();
}

u32 ip_rt_pmtu(net_namespace& net, ipv4_addr daddr, instant now) {
  const route_cache::path* known = ipv4_of(net).routes->find_path(daddr, now);
  return known != nullptr ? known->mtu : 0;
}

}  // namespace ph
