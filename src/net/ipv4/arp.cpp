// ARP: asking, answering, learning, announcing, defending.
#include "net/ipv4/arp.h"

#include "net/core/dev_tx.h"
#include "net/core/net_device.h"
#include "net/core/net_namespace.h"
#include "net/ipv4/devinet.h"
#include "net/ipv4/icmp.h"
#include "net/ipv4/ipv4_net.h"
#include "uapi/inet.h"
#include "uapi/packet.h"
#include "wire/arp.h"
#include "wire/ipv4.h"

namespace ph {
namespace {

constexpr duration defend_interval = seconds(10);  // RFC 5227 §1.1, DEFEND_INTERVAL

/// Sends a message to `to` (nullptr: everyone on the link).
void arp_send(cpu& cx, net_device& dev, const arp_message& message, const mac_addr* to) {
  if (dev.no_arp() || dev.headers() == nullptr || !dev.is_up()) return;
  skb_ptr skb = alloc_skb(cx, max_header + sizeof(arp_ether_ipv4));
  skb->reserve(max_header);
  skb->dev = &dev;
  skb->protocol = uapi::eth_p_arp;
  skb->set_network_header();
  emit(skb->put(sizeof(arp_ether_ipv4)), message);
  trace_born(cx, *skb, __func__);
  const mac_addr everyone = dev.broadcast();
  dev.headers()->create(cx, *skb, dev, uapi::eth_p_arp, to != nullptr ? to : &everyone, nullptr);
  static_cast<void>(dev_queue_xmit(cx, std::move(skb)));
}

mac_addr multicast_mac(ipv4_addr group) {
  const u32 low = group.value() & 0x7fffff;  // RFC 1112 §6.4: the low 23 bits
  return mac_addr{{0x01, 0x00, 0x5e, static_cast<u8>(low >> 16), static_cast<u8>(low >> 8),
                   static_cast<u8>(low)}};
}

class arp_ops final : public neigh_ops {
 public:
  explicit arp_ops(net_namespace& net) : net_(net) {}
  void solicit(cpu& cx, neighbour& neigh, const sk_buff* waiting, bool unicast) override;
  void error_report(cpu& cx, neighbour& neigh, skb_ptr skb) override;
  bool constructor(neighbour& neigh) override;

 private:
  ipv4_addr pick_source(const net_device& dev, ipv4_addr target, const sk_buff* waiting) const;
  net_namespace& net_;
};

bool arp_ops::constructor(neighbour& neigh) {
  const net_device& dev = neigh.dev();
  const ipv4_addr addr = neigh.key().ipv4();
  if (dev.headers() == nullptr) {
    neigh.set_fixed(nud_noarp, mac_addr{});
    return true;
  }
  const route_type type = ipv4_of(net_).fib.addr_type(addr);
  if (type == route_type::multicast) {
    neigh.set_fixed(nud_noarp, multicast_mac(addr));
  } else if (dev.no_arp()) {
    neigh.set_fixed(nud_noarp, dev.dev_addr());
  } else if (type == route_type::broadcast || (dev.flags() & uapi::iff_pointopoint) != 0) {
    neigh.set_fixed(nud_noarp, dev.broadcast());
  } else {
    return false;
  }
  return true;
}

/// arp_announce: 0 any address of ours, 1 prefer one on the target's subnet, 2 always the best.
ipv4_addr arp_ops::pick_source(const net_device& dev, ipv4_addr target,
                               const sk_buff* waiting) const {
  const s32 announce = ipv4_of(net_).sysctl.arp_announce;
  const auto link = static_cast<u8>(route_scope::link);
  if (announce < 2 && waiting != nullptr && waiting->has_network_header()) {
    const iphdr* iph = view_as<iphdr>(waiting->network_bytes());
    if (iph != nullptr && ipv4_of(net_).fib.addr_type(iph->saddr) == route_type::local) {
      if (announce == 0) return iph->saddr;
      const in_device* in_dev = in_dev_of(dev);
      for (const in_ifaddr& ifa : in_dev->addrs) {
        if (ifa.subnet().contains(target) && ifa.subnet().contains(iph->saddr)) return iph->saddr;
      }
    }
  }
  return inet_select_addr(dev, target, link);
}

void arp_ops::solicit(cpu& cx, neighbour& neigh, const sk_buff* waiting, bool unicast) {
  net_device& dev = neigh.dev();
  const ipv4_addr target = neigh.key().ipv4();
  arp_message ask;
  ask.op = uapi::arpop_request;
  ask.sha = dev.dev_addr();
  ask.sip = pick_source(dev, target, waiting);
  ask.tip = target;
  if (unicast) ask.tha = neigh.ha();
  const mac_addr known = neigh.ha();
  arp_send(cx, dev, ask, unicast ? &known : nullptr);
}

void arp_ops::error_report(cpu& cx, neighbour&, skb_ptr skb) {
  icmp_send(cx, *skb, uapi::icmp_dest_unreach, uapi::icmp_host_unreach, 0);
  drop(cx, std::move(skb), drop_reason::neigh_failed);
}

/// arp_ignore: 0 answer for any local address, 1 only for those of the device, 2 and asked from
/// the same subnet, 8 for none. True: stay silent.
bool ignored(const ipv4_net& v4, const net_device& dev, ipv4_addr sip, ipv4_addr tip) {
  switch (v4.sysctl.arp_ignore) {
    case 0: return false;
    case 8: return true;
    default: break;
  }
  const in_device* in_dev = in_dev_of(dev);
  for (const in_ifaddr& ifa : in_dev->addrs) {
    if (ifa.local != tip) continue;
    return v4.sysctl.arp_ignore == 2 && !ifa.subnet().contains(sip);
  }
  return true;
}

/// Somebody else claims our address: say once per ten seconds that it is ours (RFC 5227 §2.4 b).
void defend(cpu& cx, net_device& dev, ipv4_addr addr) {
  arp_conflicts* known = dev.slots().find(arp_conflicts_key);
  arp_conflicts& conflicts =
      known != nullptr ? *known
                       : dev.slots().set(arp_conflicts_key, std::make_unique<arp_conflicts>());
  ++conflicts.seen;
  if (conflicts.defended != 0 && cx.now() - conflicts.last_defence < defend_interval) return;
  ++conflicts.defended;
  conflicts.last_defence = cx.now();
  arp_announce(cx, dev, addr);
}

bool on_device(const net_device& dev, ipv4_addr addr) {
  for (const in_ifaddr& ifa : in_dev_of(dev)->addrs) {
    if (ifa.local == addr) return true;
  }
  return false;
}

void answer(cpu& cx, net_device& dev, const arp_message& asked) {
  arp_message reply;
  reply.op = uapi::arpop_reply;
  reply.sha = dev.dev_addr();
  reply.sip = asked.tip;
  reply.tha = asked.sha;
  reply.tip = asked.sip;
  arp_send(cx, dev, reply, &asked.sha);
}

/// For so long the first answer wins, so that two proxies do not play ball with the entry.
duration locktime(const neighbour& neigh) {
  return milliseconds(s64{neigh.parms().get(&neigh_settings::locktime)} * 10);
}

/// RFC 826's merge: what is in the table already is brought up to date by any message; a request
/// for us also makes an entry, for we shall answer.
void learn(cpu& cx, net_device& dev, const arp_message& m, bool to_us, bool unicast_reply) {
  neigh_table& table = *ipv4_of(dev.net()).arp_table;
  const neigh_key key = neigh_key::of(m.sip);
  ref<neighbour> neigh = table.lookup(key, dev);
  const bool gratuitous = m.sip == m.tip;
  const bool create = to_us || (gratuitous && ipv4_of(dev.net()).sysctl.arp_accept != 0);
  if (!neigh && create) {
    result<ref<neighbour>> made = table.lookup_or_create(cx, key, dev);
    if (made) neigh = *made;
  }
  if (!neigh) return;
  const u8 state = unicast_reply ? nud_reachable : nud_stale;
  const bool fresh = cx.now() - neigh->updated() < locktime(*neigh) && neigh->valid();
  const bool override_it = to_us || gratuitous || !fresh;
  const u32 flags = override_it ? neigh_update_override : neigh_update_none;
  static_cast<void>(table.update(cx, *neigh, &m.sha, state, flags));
}

/// Returns none when the message was of use.
skb_drop_reason process(cpu& cx, net_device& dev, const arp_message& m, packet_type_for to) {
  if (m.op != uapi::arpop_request && m.op != uapi::arpop_reply) return drop_reason::arp_malformed;
  if (m.tip.is_multicast() || m.tip.is_loopback()) return drop_reason::arp_not_for_us;
  const ipv4_net& v4 = ipv4_of(dev.net());
  const bool ours = v4.fib.addr_type(m.tip) == route_type::local;
  const bool request = m.op == uapi::arpop_request;
  if (m.sip.is_any()) {  // a probe (RFC 5227 §2.1.1): answered, never learned from
    if (!request || !ours || ignored(v4, dev, m.sip, m.tip)) return drop_reason::arp_not_for_us;
    answer(cx, dev, m);
    return drop_reason::none;
  }
  if (m.sip.is_multicast() || m.sip.is_limited_broadcast()) return drop_reason::arp_malformed;
  if (v4.fib.addr_type(m.sip) == route_type::local) {
    if (on_device(dev, m.sip) && m.sha != dev.dev_addr()) defend(cx, dev, m.sip);
    return drop_reason::arp_not_for_us;
  }
  const bool asked = request && ours && !ignored(v4, dev, m.sip, m.tip);
  learn(cx, dev, m, asked, !request && to == packet_type_for::host);
  if (asked) answer(cx, dev, m);
  return asked || !request ? drop_reason::none : drop_reason::arp_not_for_us;
}

}  // namespace

std::unique_ptr<neigh_ops> arp_neigh_ops(net_namespace& net) {
  return std::make_unique<arp_ops>(net);
}

void arp_rcv(cpu& cx, skb_ptr skb, net_device& dev) {
  PH_TRACE(cx, *skb);
  if (skb->pkt_type == packet_type_for::otherhost) {
    return drop(cx, std::move(skb), drop_reason::other_host);
  }
  if (dev.no_arp() || in_dev_of(dev) == nullptr) {
    return drop(cx, std::move(skb), drop_reason::arp_not_for_us);
  }
  if (!skb->may_pull(cx, sizeof(arp_ether_ipv4))) {
    return drop(cx, std::move(skb), drop_reason::arp_malformed);
  }
  const result<arp_view> view = arp_view::parse(skb->data());
  if (!view) return drop(cx, std::move(skb), drop_reason::arp_malformed);
  const skb_drop_reason why = process(cx, dev, view->message(), skb->pkt_type);
  if (why == drop_reason::none) return consume(cx, std::move(skb));
  drop(cx, std::move(skb), why);
}

void arp_announce(cpu& cx, net_device& dev, ipv4_addr addr) {
  arp_message m;
  m.op = uapi::arpop_request;
  m.sha = dev.dev_addr();
  m.sip = m.tip = addr;
  arp_send(cx, dev, m, nullptr);
}

void arp_probe(cpu& cx, net_device& dev, ipv4_addr addr) {
  arp_message m;
  m.op = uapi::arpop_request;
  m.sha = dev.dev_addr();
  m.tip = addr;
  arp_send(cx, dev, m, nullptr);
}

namespace {

void announce_all(cpu& cx, net_device& dev, std::span<const in_ifaddr> addrs) {
  if (!dev.is_up() || dev.no_arp()) return;
  for (const in_ifaddr& ifa : addrs) arp_announce(cx, dev, ifa.local);
}

}  // namespace

void arp_netdev_event(net_namespace& net, const netdev_event& event) {
  neigh_table& neighbours = *ipv4_of(net).arp_table;
  const in_device* const in_dev = in_dev_of(*event.dev);
  switch (event.kind) {
    case netdev_event_kind::registered:
    case netdev_event_kind::going_down:
    case netdev_event_kind::change_mtu: return;
    case netdev_event_kind::change:
      if (!event.dev->carrier()) neighbours.flush_dev(*event.cx, *event.dev, true);
      return;
    case netdev_event_kind::down:
    case netdev_event_kind::unregister: return neighbours.flush_dev(*event.cx, *event.dev);
    case netdev_event_kind::change_addr: neighbours.flush_dev(*event.cx, *event.dev); break;
    case netdev_event_kind::up: break;
  }
  if (in_dev != nullptr) announce_all(*event.cx, *event.dev, in_dev->addrs);
}

void arp_inetaddr_event(const inetaddr_event& event) {
  // DIFFERS: Linux announces only with arp_notify set; peers of a simulated wire should not
  // wait out a stale entry.
  if (event.kind == inetaddr_event_kind::added) announce_all(*event.cx, *event.dev, event.addrs);
}

}  // namespace ph
