// Validation of received packets (RFC 791, RFC 1122 §3.2.1), routing, and local delivery.
#include "net/ipv4/ip_input.h"

#include "net/core/net_device.h"
#include "net/core/net_namespace.h"
#include "net/ipv4/devinet.h"
#include "net/ipv4/icmp.h"
#include "net/ipv4/ip_fragment.h"
#include "net/ipv4/ip_options.h"
#include "net/ipv4/ipv4_net.h"
#include "net/ipv4/raw.h"
#include "net/ipv4/route.h"
#include "uapi/inet.h"
#include "wire/ipv4.h"

namespace ph {
namespace {

/// RFC 3168 §5: by the two bits, for each packet of the wire whose header can be one.
void count_ecn(cpu& cx, net_namespace& net, const sk_buff& skb) {
  constexpr std::array counters{mib::ipext_in_no_ect_pkts, mib::ipext_in_ect1_pkts,
                                mib::ipext_in_ect0_pkts, mib::ipext_in_ce_pkts};
  const u8 ecn = view_as<iphdr>(skb.data())->tos & uapi::iptos_ecn_mask;
  net.mib().add(cx, counters[ecn], std::max<u64>(skb.gso_segs, 1));
}

/// none: the header is good and the packet is cut to its length.
skb_drop_reason validate(cpu& cx, net_namespace& net, sk_buff& skb) {
  if (!skb.may_pull(cx, sizeof(iphdr))) return drop_reason::ip_pkt_too_small;
  const iphdr* iph = view_as<iphdr>(skb.data());
  if (iph->version() != 4 || iph->header_bytes() < sizeof(iphdr)) return drop_reason::ip_inhdr;
  count_ecn(cx, net, skb);
  const auto header = static_cast<u32>(iph->header_bytes());
  if (!skb.may_pull(cx, header)) return drop_reason::ip_inhdr;
  iph = view_as<iphdr>(skb.data());
  if (!csum_ok(csum_add_bytes(skb.data().first(header)))) return drop_reason::ip_csum;
  const u32 total = iph->tot_len.value();
  if (total < header) return drop_reason::ip_inhdr;
  if (total > skb.len()) return drop_reason::ip_truncated;
  if (total < skb.len()) {
    if (skb.ip_summed == checksum_state::complete) skb.ip_summed = checksum_state::none;
    skb.trim(total);
  }
  skb.set_network_header();
  skb.set_transport_header(header);
  return drop_reason::none;
}

void count_groups(cpu& cx, const sk_buff& skb) {
  const rtable& rt = static_cast<const rtable&>(*skb.dst);
  mib_table& mib = rt.net().mib();
  if (rt.type == route_type::multicast) {
    mib.add(cx, mib::ipext_in_mcast_pkts);
    mib.add(cx, mib::ipext_in_mcast_octets, skb.len());
  } else if (rt.type == route_type::broadcast) {
    mib.add(cx, mib::ipext_in_bcast_pkts);
    mib.add(cx, mib::ipext_in_bcast_octets, skb.len());
  }
}

void ip_rcv_finish(cpu& cx, skb_ptr skb, net_device& dev) {
  if (!skb->dst) {
    const skb_drop_reason why = ip_route_input(cx, *skb, dev);
    if (why != drop_reason::none) return drop(cx, std::move(skb), why);
  } else {
    skb->skb_iif = static_cast<const rtable&>(*skb->dst).iif.value;
  }
  if (skb->network_header<iphdr>().ihl() > 5) {
    const skb_drop_reason why = ip_rcv_options(cx, *skb, dev);
    if (why != drop_reason::none) return drop(cx, std::move(skb), why);
  }
  count_groups(cx, *skb);
  const ref<dst_entry> way = skb->dst;
  way->input(cx, std::move(skb));
}

/// Network header pulled from here on. Raw sockets see every packet first.
void deliver_to_protocol(cpu& cx, net_namespace& net, skb_ptr skb) {
  const u8 protocol = skb->network_header<iphdr>().protocol;
  const int taken = raw_local_deliver(cx, net, *skb, protocol);
  inet_protocol* handler = ipv4_of(net).protocols.handlers[protocol].get();
  if (handler == nullptr) {
    if (taken == 0) {
      icmp_send(cx, *skb, uapi::icmp_dest_unreach, uapi::icmp_prot_unreach, 0);
      return drop(cx, std::move(skb), drop_reason::ip_noproto);
    }
    net.mib().add(cx, mib::ip_in_delivers);
    return consume(cx, std::move(skb));
  }
  net.mib().add(cx, mib::ip_in_delivers);
  const auto header = static_cast<u32>(skb->network_header<iphdr>().header_bytes());
  skb->pull(header);
  skb->set_transport_header();
  handler->rcv(cx, net, std::move(skb));
}

}  // namespace

void ip_rcv(cpu& cx, skb_ptr skb, net_device& dev) {
  PH_TRACE(cx, *skb);
  if (skb->pkt_type == packet_type_for::otherhost) {
    return drop(cx, std::move(skb), drop_reason::other_host);
  }
  net_namespace& net = dev.net();
  net.mib().add(cx, mib::ip_in_receives);
  net.mib().add(cx, mib::ipext_in_octets, skb->len());
  const skb_drop_reason why = validate(cx, net, *skb);
  if (why != drop_reason::none) return drop(cx, std::move(skb), why);
  const nf_state state{nf_family::ipv4, nf_hooknum::prerouting, &dev, nullptr, nullptr};
  if (!nf_hook(cx, net, skb, state)) return;
  ip_rcv_finish(cx, std::move(skb), dev);
}

void ip_local_deliver(cpu& cx, skb_ptr skb) {
  PH_TRACE(cx, *skb);
  net_namespace& net = skb->dev->net();
  if (skb->network_header<iphdr>().is_fragment()) {
    skb = ipv4_of(net).frags->defrag(cx, std::move(skb));
    if (!skb) return;
  }
  const nf_state state{nf_family::ipv4, nf_hooknum::input, skb->dev, nullptr, nullptr};
  if (!nf_hook(cx, net, skb, state)) return;
  deliver_to_protocol(cx, net, std::move(skb));
}

}  // namespace ph
