// How TCP and UDP speak to IPv4 without naming it: ipv4_af_ops().
#include <algorithm>

#include "net/core/net_device.h"
#include "net/core/net_namespace.h"
#include "net/inet/inet_sock.h"
#include "net/ipv4/ip_output.h"
#include "net/ipv4/ip_sockglue.h"
#include "net/ipv4/ipv4_net.h"
#include "net/ipv4/route.h"
#include "uapi/inet.h"
#include "uapi/socket.h"
#include "wire/ipv4.h"

namespace ph {

using namespace uapi;

namespace {

class ipv4_ops final : public inet_af_ops {
 public:
  [[nodiscard]] u16 family() const override { return af_inet; }
  [[nodiscard]] u32 net_header_len() const override { return sizeof(iphdr); }
  result<std::pair<inet_addr, port_no>> parse_sockaddr(byte_view addr) const override;
  sockaddr_buf make_sockaddr(const inet_addr& addr, port_no port) const override;
  result<void> check_bind(inet_sock& sk, const inet_addr& addr, port_no port) const override;
  [[nodiscard]] std::pair<u16, u16> local_port_range(const inet_sock& sk) const override;
  result<void> connect_route(cpu& cx, inet_sock& sk) const override;
  [[nodiscard]] u32 default_advmss(net_namespace& net, u32 mtu, u32 transport) const override;
  void update_pmtu(cpu& cx, net_namespace& net, const inet_addr& daddr, u32 mtu) const override {
    ip_rt_update_pmtu(cx, net, daddr.ipv4(), mtu);
  }
  void confirm_neigh(cpu& cx, inet_sock& sk) const override {
    if (sk.dst) static_cast<rtable&>(*sk.dst).confirm(cx, sk.daddr.ipv4());
  }
  xmit_result queue_xmit(cpu& cx, inet_sock& sk, skb_ptr skb) const override {
    return ip_queue_xmit(cx, sk, std::move(skb));
  }
  xmit_result send_reply(cpu& cx, net_namespace& net, skb_ptr skb,
                         const reply_info& info) const override;
  result<ref<dst_entry>> route_to(cpu& cx, net_namespace& net,
                                  const reply_info& info) const override;
  [[nodiscard]] csum_partial pseudo(const inet_addr& saddr, const inet_addr& daddr, u8 protocol,
                                    u32 len) const override {
    return csum_pseudo_ipv4(saddr.ipv4(), daddr.ipv4(), protocol, static_cast<u16>(len));
  }
  result<void> setsockopt(cpu& cx, inet_sock& sk, int name, byte_view value) const override {
    return ip_setsockopt(cx, sk, name, value);
  }
  result<std::size_t> getsockopt(cpu& cx, inet_sock& sk, int name, byte_span out) const override {
    return ip_getsockopt(cx, sk, name, out);
  }
  void recv_cmsgs(inet_sock& sk, const sk_buff& skb, recv_msg& msg) const override {
    ip_cmsg_recv(sk, skb, msg, false);
  }

 private:
  static result<ref<rtable>> reply_route(cpu& cx, net_namespace& net, const reply_info& info);
};

result<std::pair<inet_addr, port_no>> ipv4_ops::parse_sockaddr(byte_view addr) const {
  const auto* in = view_as<sockaddr_in>(addr);
  if (in == nullptr) return fail(errc::inval);
  ipv4_addr ip;
  ip.raw = in->sin_addr;
  // ip(7): programs that leave the family out are let through when they bind to any address.
  const u16 family_of = in->sin_family.value();
  if (family_of != af_inet && !(family_of == af_unspec && ip.is_any())) {
    return fail(errc::afnosupport);
  }
  return std::pair(inet_addr::of(ip), port_no(in->sin_port.value()));
}

sockaddr_buf ipv4_ops::make_sockaddr(const inet_addr& addr, port_no port) const {
  sockaddr_in in;
  in.sin_family.set(af_inet);
  in.sin_port.set(port.value);
  if (addr.is_ipv4()) in.sin_addr = addr.ipv4().raw;
  sockaddr_buf out;
  out.set(in);
  return out;
}

result<void> ipv4_ops::check_bind(inet_sock& sk, const inet_addr& addr, port_no port) const {
  const ipv4_net& v4 = ipv4_of(sk.net());
  const bool anywhere = v4.sysctl.ip_nonlocal_bind != 0 || sk.inet.freebind || sk.inet.transparent;
  if (!addr.is_any() && !anywhere && v4.fib.addr_type(addr.ipv4()) == route_type::unicast) {
    return fail(errc::addrnotavail);
  }
  const auto lowest = static_cast<u16>(v4.sysctl.ip_unprivileged_port_start);
  if (port && port.value < lowest && !sk.opt.net_admin) return fail(errc::acces);
  return {};
}

/// IP_LOCAL_PORT_RANGE narrows the sysctl's range; what lies outside it does not count.
std::pair<u16, u16> ipv4_ops::local_port_range(const inet_sock& sk) const {
  const ipv4_sysctls& sysctl = ipv4_of(sk.net()).sysctl;
  auto low = static_cast<u16>(sysctl.ip_local_port_low);
  auto high = static_cast<u16>(sysctl.ip_local_port_high);
  const u16 own_low = sk.inet.local_port_low, own_high = sk.inet.local_port_high;
  if (own_low >= low && own_low <= high) low = own_low;
  if (own_high >= low && own_high <= high) high = own_high;
  return {low, high};
}

result<void> ipv4_ops::connect_route(cpu& cx, inet_sock& sk) const {
  flowi4 flow;
  flow.daddr = sk.daddr.ipv4();
  flow.saddr = sk.saddr.is_any() ? ipv4_addr() : sk.saddr.ipv4();
  flow.oif = sk.opt.bound_dev_if;
  flow.tos = sk.inet.tos;
  flow.mark = sk.opt.mark;
  flow.uid = sk.opt.uid;
  flow.proto = sk.protocol();
  flow.any_src = sk.inet.transparent || sk.inet.freebind;
  if (flow.daddr.is_multicast() && !flow.oif) {
    flow.oif = sk.inet.mc_index;
    if (flow.saddr.is_any() && sk.inet.mc_addr.is_ipv4()) flow.saddr = sk.inet.mc_addr.ipv4();
  } else if (!flow.oif) {
    flow.oif = sk.inet.uc_index;
  }
  TRY(const ref<rtable> rt, ip_route_output(cx, sk.net(), flow));
  const bool group = rt->type == route_type::broadcast || rt->type == route_type::multicast;
  if (sk.type() == sock_stream && group) return fail(errc::netunreach);
  if (rt->type == route_type::broadcast && !sk.opt.broadcast) return fail(errc::acces);
  if (sk.saddr.is_any()) sk.saddr = inet_addr::of(rt->saddr);
  if (sk.rcv_saddr.is_any()) sk.rcv_saddr = inet_addr::of(rt->saddr);
  sk.dst = rt;
  return {};
}

/// net.ipv4.route.min_adv_mss: fragments are reassembled, so that much arrives over any path.
u32 ipv4_ops::default_advmss(net_namespace& net, u32 mtu, u32 transport) const {
  const u32 headers = static_cast<u32>(sizeof(iphdr)) + transport;
  const auto least = static_cast<u32>(ipv4_of(net).sysctl.min_adv_mss);
  return std::min(std::max(mtu > headers ? mtu - headers : 0, least), u32{65535} - headers);
}

result<ref<rtable>> ipv4_ops::reply_route(cpu& cx, net_namespace& net, const reply_info& info) {
  flowi4 flow;
  flow.daddr = info.tuple.raddr.ipv4();
  flow.saddr = info.tuple.laddr.is_any() ? ipv4_addr() : info.tuple.laddr.ipv4();
  flow.oif = info.oif;
  flow.tos = info.tos;
  flow.mark = info.mark;
  flow.proto = info.protocol;
  if (info.sk != nullptr) {
    const auto& isk = static_cast<const inet_sock&>(*info.sk);
    flow.any_src = isk.inet.transparent || isk.inet.freebind;
  }
  return ip_route_output(cx, net, flow);
}

result<ref<dst_entry>> ipv4_ops::route_to(cpu& cx, net_namespace& net,
                                          const reply_info& info) const {
  const result<ref<rtable>> rt = reply_route(cx, net, info);
  if (!rt) {
    net.mib().add(cx, mib::ip_out_no_routes);
    return fail(rt.error());
  }
  return ref<dst_entry>(*rt);
}

xmit_result ipv4_ops::send_reply(cpu& cx, net_namespace& net, skb_ptr skb,
                                 const reply_info& info) const {
  const result<ref<rtable>> rt = reply_route(cx, net, info);
  if (!rt) {
    net.mib().add(cx, mib::ip_out_no_routes);
    drop(cx, std::move(skb), drop_reason::ip_outnoroutes);
    return xmit_result::refused;
  }
  ip_cookie header;
  header.saddr = info.tuple.laddr.is_any() ? (*rt)->saddr : info.tuple.laddr.ipv4();
  header.daddr = info.tuple.raddr.ipv4();
  header.protocol = info.protocol;
  header.tos = info.tos;
  header.df = true;
  header.ttl = static_cast<u8>(info.ttl >= 0 ? info.ttl : ipv4_of(net).sysctl.ip_default_ttl);
  if (info.sk != nullptr) {
    const auto& isk = static_cast<const inet_sock&>(*info.sk);
    header.options = isk.inet.ip_options;
    header.df = isk.inet.pmtudisc == ip_pmtudisc_do || isk.inet.pmtudisc == ip_pmtudisc_want;
  }
  skb->mark = info.mark;
  skb->priority = info.priority;
  return ip_send_skb(cx, net, *rt, std::move(skb), header, nullptr);
}

}  // namespace

const inet_af_ops& ipv4_af_ops() {
  static const ipv4_ops ops;
  return ops;
}

}  // namespace ph
