// Destinations, routes and limits of datagrams over IPv4.
#include "net/core/timestamping.h"
#include "net/ipv4/ip4_datagram.h"

#include <algorithm>

#include "net/core/datagram.h"
#include "net/core/net_device.h"
#include "net/core/net_namespace.h"
#include "net/ipv4/devinet.h"
#include "net/ipv4/ip_output.h"
#include "uapi/inet.h"
#include "uapi/socket.h"
#include "wire/ipv4.h"

namespace ph {

using namespace uapi;

namespace {

result<void> read_name(ip4_destination& dest, byte_view name) {
  const auto* in = view_as<sockaddr_in>(name);
  if (in == nullptr) return fail(errc::inval);
  const u16 family = in->sin_family.value();
  if (family != af_inet && family != af_unspec) return fail(errc::afnosupport);
  dest.daddr.raw = in->sin_addr;
  dest.dport = port_no(in->sin_port.value());
  return {};
}

}  // namespace

result<ip4_destination> ip4_datagram_dest(inet_sock& sk, const send_msg& msg) {
  if ((msg.flags & msg_oob) != 0) return fail(errc::opnotsupp);
  ip4_destination dest;
  dest.tos = sk.inet.tos;
  dest.options = sk.inet.ip_options;
  dest.oif = sk.opt.bound_dev_if;
  TRY(const sock_send_cmsg generic, sock_cmsg_send(sk, msg.control));
  dest.tx_flags = generic.tx_flags;
  dest.mark = generic.mark;
  dest.priority = generic.priority;
  dest.confirm = (msg.flags & msg_confirm) != 0;
  dest.dontroute = sk.opt.dontroute || (msg.flags & msg_dontroute) != 0;
  if (!msg.name.empty()) {
    TRY_VOID(read_name(dest, msg.name));
  } else {
    if (sk.daddr.is_any()) return fail(errc::destaddrreq);
    dest.daddr = sk.daddr.ipv4();
    dest.dport = sk.dport;
    dest.connected = !dest.dontroute;
  }
  if (!sk.saddr.is_any()) dest.saddr = sk.saddr.ipv4();
  if (!msg.control.empty()) {
    TRY(ip_send_cmsg extra, ip_cmsg_send(msg.control));
    if (extra.options) {
      dest.own_options = std::move(*extra.options);
      dest.options = dest.own_options;
    }
    if (!extra.saddr.is_any()) dest.saddr = extra.saddr;
    if (extra.oif) dest.oif = extra.oif;
    if (extra.tos >= 0) dest.tos = static_cast<u8>(extra.tos);
    if (extra.priority >= 0) dest.priority = static_cast<u32>(extra.priority);
    dest.ttl = extra.ttl;
    const bool other_way = dest.mark != sk.opt.mark || !extra.saddr.is_any() || extra.oif;
    if (other_way || extra.tos >= 0) dest.connected = false;
  }
  if (dest.daddr.is_multicast()) {
    if (!dest.oif) dest.oif = sk.inet.mc_index;
    if (dest.saddr.is_any() && sk.inet.mc_addr.is_ipv4()) dest.saddr = sk.inet.mc_addr.ipv4();
    dest.connected = dest.connected && !sk.inet.mc_index;
  } else if (!dest.oif) {
    dest.oif = sk.inet.uc_index;
  }
  return dest;
}

result<ref<rtable>> ip4_datagram_route(cpu& cx, inet_sock& sk, ip4_destination& dest) {
  ref<rtable> rt;
  if (dest.connected && sk.dst && rt_valid(static_cast<rtable&>(*sk.dst), cx.now())) {
    rt = ref<rtable>(static_cast<rtable*>(sk.dst.get()));
  } else {
    flowi4 flow;
    flow.daddr = dest.daddr;
    flow.saddr = dest.saddr;
    flow.oif = dest.oif;
    flow.tos = dest.tos;
    flow.proto = sk.protocol();
    flow.mark = dest.mark;
    flow.uid = sk.opt.uid;
    flow.any_src = sk.inet.transparent || sk.inet.freebind || sk.inet.hdrincl;
    if (dest.dontroute) flow.scope = static_cast<u8>(route_scope::link);
    result<ref<rtable>> found = ip_route_output(cx, sk.net(), flow);
    if (!found) {
      if (found.error() == errc::netunreach) sk.net().mib().add(cx, mib::ip_out_no_routes);
      return found;
    }
    rt = *found;
    if (dest.connected) sk.dst = rt;
  }
  if (rt->type == route_type::broadcast && !sk.opt.broadcast) return fail(errc::acces);
  if (dest.saddr.is_any()) dest.saddr = rt->saddr;
  // An unset destination means this host (RFC 1122 §3.2.1.3, as Linux).
  if (dest.daddr.is_any()) dest.daddr = rt->saddr;
  if (dest.confirm) rt->confirm(cx, dest.daddr);
  return rt;
}

result<void> ip4_datagram_may_send(inet_sock& sk) {
  TRY_VOID(sk.check_error());
  if ((sk.shutdown_state & send_shutdown) != 0) return fail(errc::pipe);
  if (sk.wmem_alloc >= sk.opt.sndbuf) return fail(errc::again);
  return {};
}

result<void> ip4_datagram_output(cpu& cx, inet_sock& sk, const ref<rtable>& rt,
                                 const ip4_destination& dest, skb_ptr skb) {
  const u8 discover = sk.inet.pmtudisc;
  const bool device_mtu = discover >= ip_pmtudisc_probe;
  const u32 mtu = device_mtu ? std::min(rt->dev->mtu(), 65535u) : rt->mtu(cx.now());
  const auto header = static_cast<u32>(sizeof(iphdr) + dest.options.size());
  const u32 total = header + skb->len();
  const bool may_fragment = discover < ip_pmtudisc_do || discover == ip_pmtudisc_omit;
  if (total > (may_fragment ? ipv4_max_packet : mtu)) {
    consume(cx, std::move(skb));
    ip_local_error(cx, sk, errc::msgsize, dest.daddr, sk.dport, mtu);
    return fail(errc::msgsize);
  }
  ip_cookie head;
  head.saddr = dest.saddr;
  head.daddr = dest.daddr;
  head.protocol = sk.protocol();
  head.tos = dest.tos;
  const s32 default_ttl = ipv4_of(sk.net()).sysctl.ip_default_ttl;
  const s32 own_ttl = rt->type == route_type::multicast ? sk.inet.mc_ttl
                      : sk.inet.uc_ttl >= 0             ? sk.inet.uc_ttl
                                                        : default_ttl;
  head.ttl = static_cast<u8>(dest.ttl >= 0 ? dest.ttl : own_ttl);
  head.df = discover == ip_pmtudisc_do || discover == ip_pmtudisc_probe ||
            (discover == ip_pmtudisc_want && total <= mtu && !rt->mtu_locked);
  head.options = dest.options;
  head.mark = dest.mark;
  head.priority = dest.priority;
  skb->ignore_df = may_fragment;
  // Nothing acknowledges a datagram.
  skb->tx_flags = dest.tx_flags & (skb_tx_sched | skb_tx_software);
  if (skb->tx_flags != 0 && (sk.opt.timestamping & sof_timestamping_opt_id) != 0) {
    skb->tskey = sk.tskey++;
  }
  sk.set_owner_w(*skb);
  const xmit_result sent = ip_send_skb(cx, sk.net(), rt, std::move(skb), head, &sk);
  // Only those who ask for errors hear of local drops, ip(7).
  if (sent >= xmit_result::dropped && sk.inet.recverr) return fail(errc::nobufs);
  return {};
}

result<std::size_t> ip4_datagram_recvmsg(cpu& cx, inet_sock& sk, recv_msg& msg) {
  if ((msg.flags & msg_oob) != 0) return fail(errc::opnotsupp);
  if ((msg.flags & msg_errqueue) != 0) return inet_recv_error(cx, sk, msg);
  TRY(sk_buff* const skb, datagram_peek(cx, sk, msg.flags));
  if (skb == nullptr) return std::size_t{0};
  const std::size_t out = datagram_copy_out(*skb, 0, msg);
  if (msg.name != nullptr) {
    *msg.name = sk.af_ops->make_sockaddr(inet_addr::of(skb->network_header<iphdr>().saddr), {});
  }
  sock_recv_cmsgs(sk, *skb, msg);
  // As Linux: echo replies come from whom they were sent to, and leave no address to answer from.
  ip_cmsg_recv(sk, *skb, msg, sk.type() == sock_raw);
  datagram_done(cx, sk, *skb, msg.flags);
  return out;
}

result<void> ip4_datagram_connect(cpu& cx, inet_sock& sk, byte_view addr) {
  const auto* in = view_as<sockaddr_in>(addr);
  if (in == nullptr) return fail(errc::inval);
  if (in->sin_family.value() != af_inet) return fail(errc::afnosupport);
  const inet_addr before = sk.daddr;
  ipv4_addr peer;
  peer.raw = in->sin_addr;
  sk.dst.reset();
  sk.daddr = inet_addr::of(peer);
  const result<void> routed = sk.af_ops->connect_route(cx, sk);
  if (!routed) {
    sk.daddr = before;
    if (routed.error() == errc::netunreach) sk.net().mib().add(cx, mib::ip_out_no_routes);
    return routed;
  }
  // connect(0.0.0.0) reaches this host: the peer is the address the route chose.
  if (peer.is_any()) sk.daddr = sk.saddr;
  sk.dport = port_no(in->sin_port.value());
  sk.id_counter = static_cast<u16>(cx.random().next());
  return {};
}

void ip4_datagram_disconnect(inet_sock& sk) {
  sk.daddr = {};
  sk.dport = {};
  sk.dst.reset();
  sk.opt.bound_dev_if = {};
  if (!sk.addr_bound) sk.rcv_saddr = sk.saddr = {};
}

result<sockaddr_buf> inet_getname(inet_sock& sk, bool peer) {
  if (!peer) {
    const inet_addr& own = sk.rcv_saddr.is_any() ? sk.saddr : sk.rcv_saddr;
    return sk.af_ops->make_sockaddr(own, sk.sport);
  }
  if (sk.daddr.is_any() || !sk.dport) return fail(errc::notconn);
  return sk.af_ops->make_sockaddr(sk.daddr, sk.dport);
}

result<void> inet_dgram_shutdown(inet_sock& sk, u8 how) {
  sk.shutdown_state = static_cast<u8>(sk.shutdown_state | how);
  sk.wake(pollin | pollout | pollhup | pollrdhup);
  return sk.daddr.is_any() ? fail(errc::notconn) : result<void>{};
}

}  // namespace ph
