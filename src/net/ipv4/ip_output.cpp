// The way out: header, output hook, post-routing hook, size, neighbour.
#include "net/ipv4/ip_output.h"

#include <algorithm>

#include "net/core/dev_rx.h"
#include "net/core/gso.h"
#include "net/core/net_device.h"
#include "net/core/net_namespace.h"
#include "net/ipv4/icmp.h"
#include "net/ipv4/ip_options.h"
#include "net/ipv4/ipv4_net.h"
#include "uapi/inet.h"
#include "uapi/packet.h"
#include "wire/ipv4.h"
#include "wire/tcp.h"
#include "wire/udp.h"

namespace ph {
namespace {

/// Room for the longest link header in front of ours.
constexpr u32 link_room = 32;

rtable& route_of(const sk_buff& skb) { return static_cast<rtable&>(*skb.dst); }

/// Hands a packet of the right size to the next hop.
xmit_result finish_output(cpu& cx, skb_ptr skb, const egress_pass& pass) {
  PH_TRACE(cx, *skb);
  const ref<dst_entry> keep = skb->dst;
  rtable& rt = static_cast<rtable&>(*keep);
  mib_table& mib = rt.net().mib();
  mib.add(cx, mib::ipext_out_octets, skb->len());
  if (rt.type == route_type::multicast) {
    mib.add(cx, mib::ipext_out_mcast_pkts);
    mib.add(cx, mib::ipext_out_mcast_octets, skb->len());
  } else if (rt.type == route_type::broadcast) {
    mib.add(cx, mib::ipext_out_bcast_pkts);
    mib.add(cx, mib::ipext_out_bcast_octets, skb->len());
  }
  result<ref<neighbour>> neigh = rt.neigh(cx, skb->network_header<iphdr>().daddr);
  if (!neigh) {
    drop(cx, std::move(skb), drop_reason::neigh_create_fail);
    return xmit_result::refused;
  }
  const ref<neighbour> hop = *neigh;
  return hop->table().output(cx, *hop, std::move(skb), pass);
}

xmit_result too_big(cpu& cx, skb_ptr skb, u32 mtu) {
  icmp_send(cx, *skb, uapi::icmp_dest_unreach, uapi::icmp_frag_needed, mtu);
  drop(cx, std::move(skb), drop_reason::pkt_too_big);
  return xmit_result::refused;
}

/// The path's MTU for a packet, as the sender's IP_MTU_DISCOVER wants it seen.
u32 output_mtu(cpu& cx, const sk_buff& skb) {
  const rtable& rt = route_of(skb);
  if (skb.sk != nullptr && skb.sk->family() == 2) {
    const u8 discover = static_cast<const inet_sock*>(skb.sk)->inet.pmtudisc;
    if (discover == uapi::ip_pmtudisc_probe || discover == uapi::ip_pmtudisc_interface ||
        discover == uapi::ip_pmtudisc_omit) {
      return std::min(rt.dev->mtu(), 65535u);
    }
  }
  return rt.mtu(cx.now());
}

xmit_result fragmented_output(cpu& cx, skb_ptr skb, u32 mtu, const egress_pass& pass) {
  xmit_result worst = xmit_result::sent;
  const result<void> cut =
      ip_fragment(cx, std::move(skb), mtu, [&pass, &worst](cpu& at, skb_ptr piece) {
        worst = std::max(worst, finish_output(at, std::move(piece), pass));
        return worst;
      });
  return cut ? worst : xmit_result::refused;
}

/// A super-packet whose segments are too large for the way on, and may be fragmented.
xmit_result segmented_output(cpu& cx, skb_ptr skb, u32 mtu, const egress_pass& pass) {
  const ref<dst_entry> way = skb->dst;
  const bool ignore_df = skb->ignore_df;
  skb_queue segments;
  if (!skb_gso_segment(cx, std::move(skb), netif_f_none, segments)) return xmit_result::refused;
  xmit_result worst = xmit_result::sent;
  while (!segments.empty()) {
    skb_ptr segment = segments.pop_front();
    segment->dst = way;
    segment->ignore_df = ignore_df;
    const bool fits = segment->len() <= mtu;
    worst = std::max(worst, fits ? finish_output(cx, std::move(segment), pass)
                                 : fragmented_output(cx, std::move(segment), mtu, pass));
  }
  return worst;
}

xmit_result sized_output(cpu& cx, skb_ptr skb, const egress_pass& pass) {
  const u32 mtu = output_mtu(cx, *skb);
  if (ip_wire_len(*skb) <= mtu) return finish_output(cx, std::move(skb), pass);
  const bool df = skb->network_header<iphdr>().dont_fragment();
  if (df && !skb->ignore_df) return too_big(cx, std::move(skb), mtu);
  return skb->gso_size != 0 ? segmented_output(cx, std::move(skb), mtu, pass)
                            : fragmented_output(cx, std::move(skb), mtu, pass);
}

/// Does the sender of a multicast want to hear it itself (IP_MULTICAST_LOOP)?
bool wants_copy(const sk_buff& skb, const rtable& rt) {
  if (!rt.local_copy || rt.is_input || rt.dev->is_loopback()) return false;
  if (rt.type == route_type::broadcast || skb.sk == nullptr) return true;
  return static_cast<const inet_sock*>(skb.sk)->inet.mc_loop;
}

}  // namespace

u32 ip_wire_len(const sk_buff& skb) {
  if (skb.gso_size == 0 || !skb.has_transport_header()) return skb.len();
  const auto headers = static_cast<u32>(skb.transport_offset() - skb.network_offset());
  if ((skb.gso_type & (gso_tcpv4 | gso_tcpv6)) == 0) {
    return headers + static_cast<u32>(sizeof(udphdr)) + skb.gso_size;
  }
  // A device's word for it that this is TCP need not be true.
  const tcphdr* th = view_as<tcphdr>(skb.transport_bytes());
  if (th == nullptr) return skb.len();
  return headers + static_cast<u32>(th->header_bytes()) + skb.gso_size;
}

void ip_dev_loopback_xmit(cpu& cx, net_namespace&, skb_ptr skb) {
  skb->set_mac_header();
  skb->skb_iif = 0;
  if (skb->ip_summed != checksum_state::complete) skb->ip_summed = checksum_state::unnecessary;
  netif_rx(cx, std::move(skb));  // keeps its route: a source of ours is no martian here
}

xmit_result ip_output(cpu& cx, skb_ptr skb) {
  PH_TRACE(cx, *skb);
  rtable& rt = route_of(*skb);
  net_namespace& net = rt.net();
  net.mib().add(cx, mib::ip_out_transmits);
  net_device* const in = rt.is_input ? skb->dev : nullptr;
  skb->dev = rt.dev;
  skb->protocol = uapi::eth_p_ip;
  if (wants_copy(*skb, rt)) ip_dev_loopback_xmit(cx, net, skb_clone(cx, *skb));
  if (rt.type == route_type::multicast && skb->network_header<iphdr>().ttl == 0) {
    consume(cx, std::move(skb));  // RFC 1112 §6.1: never leaves the host
    return xmit_result::sent;
  }
  const nf_state state{nf_family::ipv4, nf_hooknum::postrouting, in, rt.dev, skb->sk};
  const egress_pass pass = nf_postrouting(cx, net, skb, state);
  if (!pass.granted()) return xmit_result::refused;
  return sized_output(cx, std::move(skb), pass);
}

xmit_result ip_local_out(cpu& cx, net_namespace& net, skb_ptr skb) {
  PH_TRACE(cx, *skb);
  net.mib().add(cx, mib::ip_out_requests);
  skb->protocol = uapi::eth_p_ip;
  skb->dev = skb->dst->dev;
  const nf_state state{nf_family::ipv4, nf_hooknum::output, nullptr, skb->dev, skb->sk};
  if (!nf_hook(cx, net, skb, state)) return xmit_result::refused;
  const ref<dst_entry> way = skb->dst;
  return way->output(cx, std::move(skb));
}

u16 ip_select_ident(net_namespace& net, inet_sock* sk, ipv4_addr saddr, ipv4_addr daddr,
                    u8 protocol) {
  if (sk != nullptr && !sk->daddr.is_any()) return sk->id_counter++;
  ipv4_net& v4 = ipv4_of(net);
  struct {
    ipv4_addr saddr, daddr;
    u8 protocol;
  } const flow{saddr, daddr, protocol};
  const u64 hash = siphash(v4.ip_id_key, bytes_of(flow));
  return static_cast<u16>((hash >> 16) + v4.ip_idents[hash % v4.ip_idents.size()]++);
}

namespace {

/// RFC 6864 §4.1: an atomic datagram's identification means nothing.
u16 ident_for(net_namespace& net, const sk_buff& skb, inet_sock* sk, const ip_cookie& header) {
  const bool atomic = header.df && !skb.ignore_df;
  if (atomic && (sk == nullptr || sk->daddr.is_any())) return 0;
  const u16 id = ip_select_ident(net, sk, header.saddr, header.daddr, header.protocol);
  // Each segment of a super-packet gets a number of its own.
  if (sk != nullptr && skb.gso_segs > 1) {
    sk->id_counter = static_cast<u16>(sk->id_counter + skb.gso_segs - 1);
  }
  return id;
}

/// False: header and payload are longer than an IPv4 packet can be.
bool push_header(cpu& cx, sk_buff& skb, const ip_cookie& header, u16 id) {
  const auto bytes = static_cast<u32>(sizeof(iphdr) + (header.options.size() + 3) / 4 * 4);
  const u32 payload = skb.len();
  if (bytes > sizeof(iphdr) + uapi::max_ipoptlen || bytes + payload > ipv4_max_packet) return false;
  skb.set_transport_header();
  skb.cow_head(cx, bytes + link_room);
  ipv4_header h;
  h.tos = header.tos;
  h.id = id;
  h.dont_fragment = header.df;
  h.ttl = header.ttl;
  h.protocol = header.protocol;
  h.saddr = header.saddr;
  h.daddr = header.daddr;
  h.options = header.options;
  ph_check(emit(skb.push(bytes), h, payload) == bytes);
  skb.set_network_header();
  return true;
}

}  // namespace

xmit_result ip_send_skb(cpu& cx, net_namespace& net, ref<rtable> rt, skb_ptr skb,
                        const ip_cookie& header, sock* sk) {
  auto* isk = sk != nullptr && sk->family() == 2 ? static_cast<inet_sock*>(sk) : nullptr;
  skb->dst = std::move(rt);
  skb->dev = skb->dst->dev;
  if (!push_header(cx, *skb, header, ident_for(net, *skb, isk, header))) {
    drop(cx, std::move(skb), drop_reason::ip_too_long);
    return xmit_result::refused;
  }
  // RFC 791 §3.1: the origin enters itself into a route that is recorded.
  if (!header.options.empty()) ip_options_origin(cx, *skb, net, header.saddr);
  if (sk != nullptr) {
    skb->priority = header.priority;
    skb->mark = header.mark;
  }
  trace_born(cx, *skb, __func__);
  return ip_local_out(cx, net, std::move(skb));
}

xmit_result ip_queue_xmit(cpu& cx, inet_sock& sk, skb_ptr skb) {
  if (!sk.dst || !rt_valid(static_cast<rtable&>(*sk.dst), cx.now())) {
    const result<void> routed = sk.af_ops->connect_route(cx, sk);
    if (!routed) {
      sk.net().mib().add(cx, mib::ip_out_no_routes);
      drop(cx, std::move(skb), drop_reason::ip_outnoroutes);
      return xmit_result::refused;
    }
  }
  const ref<rtable> rt(static_cast<rtable*>(sk.dst.get()));
  ip_cookie header;
  header.saddr = sk.saddr.ipv4();
  header.daddr = sk.daddr.ipv4();
  header.protocol = sk.protocol();
  header.tos = sk.inet.tos;
  const s32 ttl = sk.inet.uc_ttl;
  header.ttl = static_cast<u8>(ttl >= 0 ? ttl : ipv4_of(sk.net()).sysctl.ip_default_ttl);
  header.df = (sk.inet.pmtudisc == uapi::ip_pmtudisc_do ||
               (sk.inet.pmtudisc == uapi::ip_pmtudisc_want && !rt->mtu_locked)) &&
              !skb->ignore_df;
  header.options = sk.inet.ip_options;
  header.mark = sk.opt.mark;
  header.priority = sk.opt.priority;
  return ip_send_skb(cx, sk.net(), rt, std::move(skb), header, &sk);
}

// --- fragmentation ----------------------------------------------------------------------------

namespace {

/// One fragment: header with the options that belong to it, and its share of the payload.
skb_ptr make_fragment(cpu& cx, const sk_buff& whole, u32 header, u32 offset, u32 bytes,
                      bool last) {
  skb_ptr piece = alloc_skb(cx, link_room + max_header + header + bytes);
  piece->reserve(link_room + max_header);
  const byte_span room = piece->put(header + bytes);
  ph_check(whole.copy_bits(0, room.first(header)));
  ph_check(whole.copy_bits(header + offset, room.subspan(header)));
  piece->set_network_header();
  piece->set_transport_header(header);
  piece->dev = whole.dev;
  piece->dst = whole.dst;
  piece->protocol = whole.protocol;
  piece->priority = whole.priority;
  piece->mark = whole.mark;
  piece->pkt_type = whole.pkt_type;
  piece->skb_iif = whole.skb_iif;
  piece->journey = whole.journey;
  if (offset != 0) ip_options_fragment(room.subspan(sizeof(iphdr), header - sizeof(iphdr)));
  iphdr& iph = *view_as<iphdr>(room);
  const unsigned at = iph.fragment_offset() + offset;
  const bool more = !last || iph.more_fragments();
  const u16 df = iph.dont_fragment() ? ip_df : u16{0};
  iph.frag_off.set(static_cast<u16>(df | (more ? ip_mf : 0) | (at / 8)));
  iph.tot_len.set(static_cast<u16>(header + bytes));
  ip_send_check(room.first(header));
  if (whole.sk != nullptr && whole.destructor != nullptr) whole.sk->set_owner_w(*piece);
  return piece;
}

}  // namespace

result<void> ip_fragment(cpu& cx, skb_ptr skb, u32 mtu,
                         inline_fn<xmit_result(cpu&, skb_ptr)> send) {
  mib_table& mib = route_of(*skb).net().mib();
  const iphdr& iph = skb->network_header<iphdr>();
  if (iph.dont_fragment() && !skb->ignore_df) {
    drop(cx, std::move(skb), drop_reason::pkt_too_big);
    return fail(errc::msgsize);
  }
  if (!skb_checksum_help(cx, *skb)) {
    drop(cx, std::move(skb), drop_reason::frag_failed);
    return fail(errc::inval);
  }
  const auto header = static_cast<u32>(skb->network_header<iphdr>().header_bytes());
  const u32 room = mtu > header ? (mtu - header) & ~u32{7} : 0;
  if (room == 0) {
    drop(cx, std::move(skb), drop_reason::frag_failed);
    return fail(errc::msgsize);
  }
  const u32 payload = skb->len() - header;
  // A fragment that a stranger sent may claim bytes that no datagram has.
  if (iph.fragment_offset() + payload > ipv4_max_packet) {
    drop(cx, std::move(skb), drop_reason::frag_failed);
    return fail(errc::msgsize);
  }
  for (u32 offset = 0; offset < payload; offset += room) {
    const u32 bytes = std::min(room, payload - offset);
    mib.add(cx, mib::ip_frag_creates);
    static_cast<void>(
        send(cx, make_fragment(cx, *skb, header, offset, bytes, offset + bytes == payload)));
  }
  mib.add(cx, mib::ip_frag_oks);
  consume(cx, std::move(skb));
  return {};
}

}  // namespace ph
