// Sending a packet on its way (RFC 1812 §5.2, §5.3).
#include "net/core/net_device.h"
#include "net/core/net_namespace.h"
#include "net/ipv4/devinet.h"
#include "net/ipv4/icmp.h"
#include "net/ipv4/ip_input.h"
#include "net/ipv4/ip_options.h"
#include "net/ipv4/ip_output.h"
#include "net/ipv4/ipv4_net.h"
#include "uapi/inet.h"
#include "wire/ipv4.h"
#include "wire/tcp.h"

namespace ph {
namespace {

/// RFC 1812 §5.2.7.2: out by the interface it came in on, and the sender could reach the next
/// hop itself.
void maybe_redirect(cpu& cx, const sk_buff& skb, const rtable& rt) {
  const ipv4_net& v4 = ipv4_of(rt.net());
  if (v4.sysctl.send_redirects == 0 || rt.dev != skb.dev) return;
  const iphdr& iph = skb.network_header<iphdr>();
  const in_device* in_dev = in_dev_of(*skb.dev);
  const ipv4_addr hop = rt.gateway.is_any() ? iph.daddr : rt.gateway;
  for (const in_ifaddr& ifa : in_dev->addrs) {
    if (!ifa.subnet().contains(iph.saddr) || !ifa.subnet().contains(hop)) continue;
    return icmp_send(cx, skb, uapi::icmp_redirect, uapi::icmp_redir_host, hop.value());
  }
}

/// RFC 1812 §5.3.1: one off, and the checksum repaired (RFC 1624).
void decrease_ttl(sk_buff& skb) {
  iphdr& iph = skb.network_header_mut<iphdr>();
  const be16 before(static_cast<u16>((iph.ttl << 8) | iph.protocol));
  --iph.ttl;
  const be16 after(static_cast<u16>((iph.ttl << 8) | iph.protocol));
  iph.check = csum_replace2(iph.check, before, after);
}

}  // namespace

void ip_forward(cpu& cx, skb_ptr skb) {
  PH_TRACE(cx, *skb);
  const ref<dst_entry> way = skb->dst;
  const rtable& rt = static_cast<const rtable&>(*way);
  if (skb->pkt_type != packet_type_for::host) {
    return drop(cx, std::move(skb), drop_reason::other_host);  // RFC 1812 §5.3.4: link broadcast
  }
  const iphdr& iph = skb->network_header<iphdr>();
  if (iph.ttl <= 1) {
    icmp_send(cx, *skb, uapi::icmp_time_exceeded, uapi::icmp_exc_ttl, 0);
    return drop(cx, std::move(skb), drop_reason::ttl_expired);
  }
  net_namespace& net = rt.net();
  net.mib().add(cx, mib::ip_forw_datagrams);
  const u32 mtu = rt.mtu(cx.now());
  if (ip_wire_len(*skb) > mtu && iph.dont_fragment() && !skb->ignore_df) {
    icmp_send(cx, *skb, uapi::icmp_dest_unreach, uapi::icmp_frag_needed, mtu);
    return drop(cx, std::move(skb), drop_reason::pkt_too_big);
  }
  skb->cow_head(cx, rt.dev->hard_header_len() + 16);
  decrease_ttl(*skb);
  maybe_redirect(cx, *skb, rt);
  const nf_state state{nf_family::ipv4, nf_hooknum::forward, skb->dev, rt.dev, nullptr};
  if (!nf_hook(cx, net, skb, state)) return;
  if (skb->network_header<iphdr>().ihl() > 5) {
    ip_options_forward(cx, *skb, *skb->dev, *rt.dev);
  }
  skb->tstamp = {};
  static_cast<void>(way->output(cx, std::move(skb)));
}

}  // namespace ph
