// UDP over IPv4: receiving, sending, and what ICMP says about datagrams of ours.
#include "net/core/net_device.h"
#include "net/ipv4/icmp.h"
#include "net/ipv4/ip4_datagram.h"
#include "net/ipv4/ipv4_net.h"
#include "net/ipv4/route.h"
#include "net/udp/udp_table.h"
#include "uapi/inet.h"
#include "uapi/socket.h"
#include "wire/ipv4.h"
#include "wire/udp.h"

namespace ph {

using namespace uapi;

namespace {

// --- receiving --------------------------------------------------------------------------------

class udp_v4 final : public inet_protocol {
 public:
  explicit udp_v4(const udp_flavour& flavour) : flavour_(flavour) {}
  void rcv(cpu& cx, net_namespace& net, skb_ptr skb) override;
  void err(cpu& cx, net_namespace& net, const icmp_error& error, const sk_buff& icmp) override;

 private:
  [[nodiscard]] skb_drop_reason check(cpu& cx, sk_buff& skb) const;
  [[nodiscard]] skb_drop_reason check_lite(const sk_buff& skb) const;
  void deliver_to_all(cpu& cx, net_namespace& net, skb_ptr skb, const udp_flow& flow) const;

  const udp_flavour& flavour_;
};

/// RFC 768, RFC 1122 §4.1.3.4: the length fits, the checksum is right or absent.
skb_drop_reason udp_v4::check(cpu& cx, sk_buff& skb) const {
  if (!skb.may_pull(cx, sizeof(udphdr))) return flavour_.malformed;
  if (flavour_.lite()) return check_lite(skb);
  const udphdr& uh = *view_as<udphdr>(skb.data());
  const u32 len = uh.len.value();
  if (len < sizeof(udphdr) || len > skb.len()) return drop_reason::udp_malformed;
  if (len < skb.len()) {
    if (skb.ip_summed == checksum_state::complete) skb.ip_summed = checksum_state::none;
    skb.trim(len);
  }
  if (uh.check == be16(0) || skb_csum_unnecessary(skb)) return drop_reason::none;
  const iphdr& iph = skb.network_header<iphdr>();
  const csum_partial pseudo =
      csum_pseudo_ipv4(iph.saddr, iph.daddr, ipproto_udp, static_cast<u16>(len));
  return csum_ok(skb.checksum(0, len, pseudo)) ? drop_reason::none : drop_reason::udp_csum;
}

/// RFC 3828 §3.1: in the place of the length stands how much the checksum covers, which is never
/// absent.
skb_drop_reason udp_v4::check_lite(const sk_buff& skb) const {
  const udphdr& uh = *view_as<udphdr>(skb.data());
  const u32 coverage = uh.len.value() == 0 ? skb.len() : uh.len.value();
  if (coverage < sizeof(udphdr) || coverage > skb.len()) return flavour_.malformed;
  if (uh.check == be16(0)) return flavour_.csum;
  const iphdr& iph = skb.network_header<iphdr>();
  const csum_partial pseudo = csum_pseudo_ipv4(iph.saddr, iph.daddr, flavour_.protocol,
                                               static_cast<u16>(skb.len()));
  return csum_ok(skb.checksum(0, coverage, pseudo)) ? drop_reason::none : flavour_.csum;
}

void udp_v4::rcv(cpu& cx, net_namespace& net, skb_ptr skb) {
  PH_TRACE(cx, *skb);
  const skb_drop_reason why = check(cx, *skb);
  if (why != drop_reason::none) return drop(cx, std::move(skb), why);
  skb->set_transport_header();
  const udphdr& uh = skb->transport_header<udphdr>();
  const iphdr& iph = skb->network_header<iphdr>();
  const udp_flow flow{inet_addr::of(iph.saddr), inet_addr::of(iph.daddr),
                      port_no(uh.source.value()), port_no(uh.dest.value()), skb->skb_iif};
  const route_type to = static_cast<const rtable&>(*skb->dst).type;
  if (to == route_type::broadcast || to == route_type::multicast) {
    return deliver_to_all(cx, net, std::move(skb), flow);
  }
  skb->pull(sizeof(udphdr));
  udp_sock* sk = udp_lookup(cx, net, flavour_, flow, skb.get());
  if (sk == nullptr) {
    icmp_send(cx, *skb, icmp_dest_unreach, icmp_port_unreach, 0);
    return drop(cx, std::move(skb), flavour_.no_port);
  }
  udp_queue_rcv(cx, *sk, std::move(skb));
}

/// RFC 1122 §4.1.3.3 and socket(7): every socket that matches gets a copy, and nobody complains.
void udp_v4::deliver_to_all(cpu& cx, net_namespace& net, skb_ptr skb,
                            const udp_flow& flow) const {
  const ipv4_addr group = flow.daddr.ipv4();
  skb->pull(sizeof(udphdr));
  udp_sock* last = nullptr;
  net.slots().get(flavour_.key).ports.find_owner(flow.dport, flow.daddr, [&](inet_sock& owner) {
    auto* sk = static_cast<udp_sock*>(&owner);
    if (!udp_matches(*sk, flow)) return false;
    if (!ip_mc_socket_wants(*sk, group, flow.saddr.ipv4(), flow.iif)) return false;
    if (last != nullptr) udp_queue_rcv(cx, *last, skb_clone(cx, *skb));
    last = sk;
    return false;
  });
  if (last != nullptr) return udp_queue_rcv(cx, *last, std::move(skb));
  net.mib().add(cx, flavour_.ignored_multi);
  drop(cx, std::move(skb), drop_reason::no_socket);
}

void udp_v4::err(cpu& cx, net_namespace& net, const icmp_error& error, const sk_buff& icmp) {
  const auto* uh = view_as<udphdr>(error.quoted);
  const bool redirect = error.kind == icmp_kind::redirect;
  if (uh == nullptr || (error.error == errc::ok && !redirect)) return;
  // The quoted packet was ours: its destination is the peer.
  const udp_flow flow{error.raddr, error.laddr, port_no(uh->dest.value()),
                      port_no(uh->source.value()), icmp.skb_iif};
  udp_sock* sk = udp_lookup(cx, net, flavour_, flow, nullptr);
  if (sk == nullptr) return net.mib().add(cx, mib::icmp_in_errors);
  if (redirect) return ip_rt_redirect(cx, net, error);
  bool hard = error.fatal;
  if (error.kind == icmp_kind::packet_too_big) {
    ip_rt_update_pmtu(cx, net, error.raddr.ipv4(), error.info);
    if (sk->inet.pmtudisc == ip_pmtudisc_dont) return;
    hard = true;
  }
  if (sk->inet.recverr) {
    ip_icmp_error(cx, *sk, icmp, error, flow.sport, error.quoted.subspan(sizeof(udphdr)));
  } else if (!hard || sk->daddr.is_any()) {
    return;  // RFC 1122 §4.1.3.3 via ip(7): unconnected sockets hear nothing unless they ask
  }
  sk->set_error(error.error);
}

// --- the family's part of a socket ------------------------------------------------------------

class v4_ops final : public udp_af_ops {
 public:
  result<std::size_t> send(cpu& cx, udp_sock& sk, const send_msg& msg,
                           udp_send_how how) const override;
  result<void> admit(cpu& cx, udp_sock& sk, const send_msg& msg) const override;
  result<void> connect(cpu& cx, udp_sock& sk, byte_view addr) const override {
    return ip4_datagram_connect(cx, sk, addr);
  }
  void disconnect(udp_sock& sk) const override { ip4_datagram_disconnect(sk); }
  bool is_own_unicast(const udp_sock& sk, const inet_addr& addr) const override {
    if (addr.is_any()) return true;
    const route_type type = ipv4_of(sk.net()).fib.addr_type(addr.ipv4());
    return type != route_type::broadcast && type != route_type::multicast;
  }
  void received(udp_sock& sk, const sk_buff& skb, recv_msg& msg) const override {
    if (msg.name != nullptr) {
      const port_no port(skb.transport_header<udphdr>().source.value());
      *msg.name = sk.af_ops->make_sockaddr(inet_addr::of(skb.network_header<iphdr>().saddr), port);
    }
    sock_recv_cmsgs(sk, skb, msg);
    ip_cmsg_recv(sk, skb, msg);
  }
  result<std::size_t> recv_error(cpu& cx, udp_sock& sk, recv_msg& msg) const override {
    return inet_recv_error(cx, sk, msg);
  }
  void closed(cpu& cx, udp_sock& sk) const override { ip_mc_drop_socket(cx, sk); }
  result<sockaddr_buf> getname(udp_sock& sk, bool peer) const override {
    return inet_getname(sk, peer);
  }
  result<void> shutdown(udp_sock& sk, u8 how) const override {
    return inet_dgram_shutdown(sk, how);
  }
};

/// RFC 3828 §3.1: says how much of a UDP-Lite packet is covered, and sums that.
void cover(const udp_sock& sk, udphdr& uh, byte_view bytes, const ip4_destination& dest) {
  const auto total = static_cast<u16>(bytes.size());
  const u16 wanted = sk.send_coverage.value_or(0);
  const u16 coverage = wanted == 0 || wanted > total ? total : wanted;
  uh.len.set(coverage);
  const csum_partial pseudo = csum_pseudo_ipv4(dest.saddr, dest.daddr, sk.protocol(), total);
  uh.check = udp_checksum_on_wire(csum_fold(csum_add_bytes(bytes.first(coverage), pseudo)));
}

/// Header in front of the payload; the checksum is left to the device.
skb_ptr build_datagram(cpu& cx, udp_sock& sk, const ip4_destination& dest, msg_reader& payload,
                       std::size_t len) {
  constexpr auto header = static_cast<u32>(sizeof(udphdr));
  const u32 total = header + static_cast<u32>(len);
  skb_ptr skb = alloc_skb(cx, max_header + total);
  skb->reserve(max_header);
  const byte_span bytes = skb->put(total);
  payload.read(bytes.subspan(header));
  udphdr& uh = *view_as<udphdr>(bytes);
  uh.source.set(sk.sport.value);
  uh.dest.set(dest.dport.value);
  uh.len.set(static_cast<u16>(total));
  uh.check.set(0);
  if (sk.flavour().lite()) {
    cover(sk, uh, bytes, dest);
    return skb;
  }
  if (sk.opt.no_check) return skb;
  // The complement of the folded pseudo header: what the device's sum must start from.
  const be16 folded = csum_fold(
      csum_pseudo_ipv4(dest.saddr, dest.daddr, ipproto_udp, static_cast<u16>(total)));
  uh.check.set(static_cast<u16>(~folded.value()));
  skb->ip_summed = checksum_state::partial;
  skb->csum_start = static_cast<u16>(skb->headroom());
  skb->csum_offset = offsetof(udphdr, check);
  return skb;
}

/// RFC 768 knows no segments: what UDP_SEGMENT asks for are datagrams of their own, which no path
/// may fragment. Errors: inval, msgsize.
result<void> check_segments(const udp_sock& sk, const rtable& rt, instant now, std::size_t len,
                            std::size_t header, u16 segment) {
  constexpr std::size_t most_segments = 128;
  if (segment == 0 || len <= segment) return {};
  if (sk.opt.no_check || sk.flavour().lite()) return fail(errc::inval);
  if (header + segment > rt.mtu(now)) return fail(errc::inval);
  return len > segment * most_segments ? fail(errc::inval) : result<void>{};
}

result<void> may_send(cpu& cx, udp_sock& sk) {
  const result<void> may = ip4_datagram_may_send(sk);
  if (!may && may.error() == errc::again) sk.net().mib().add(cx, sk.flavour().sndbuf_errors);
  return may;
}

result<void> v4_ops::admit(cpu& cx, udp_sock& sk, const send_msg& msg) const {
  TRY(ip4_destination dest, ip4_datagram_dest(sk, msg));
  if (!msg.name.empty() && !dest.dport) return fail(errc::inval);
  TRY_VOID(ip4_datagram_route(cx, sk, dest));
  return may_send(cx, sk);
}

result<std::size_t> v4_ops::send(cpu& cx, udp_sock& sk, const send_msg& msg,
                                 udp_send_how how) const {
  TRY(ip4_destination dest, ip4_datagram_dest(sk, msg));
  if (!msg.name.empty() && !dest.dport) return fail(errc::inval);
  TRY(const ref<rtable> rt, ip4_datagram_route(cx, sk, dest));
  const std::size_t len = msg.size();
  if ((msg.flags & msg_proxy) != 0) return len;  // Linux's MSG_PROBE: all but the sending
  const std::size_t header = sizeof(iphdr) + dest.options.size() + sizeof(udphdr);
  if (len + header > ipv4_max_packet) return fail(errc::msgsize);
  TRY_VOID(check_segments(sk, *rt, cx.now(), len, header, how.segment));
  if (!how.admitted) TRY_VOID(may_send(cx, sk));
  msg_reader payload(msg.iov);
  std::size_t left = len;
  do {
    const std::size_t n = how.segment != 0 ? std::min<std::size_t>(left, how.segment) : left;
    TRY_VOID(ip4_datagram_output(cx, sk, rt, dest, build_datagram(cx, sk, dest, payload, n)));
    sk.net().mib().add(cx, sk.flavour().out_datagrams);
    left -= n;
  } while (left != 0);
  // The bytes were copied above: the program has its buffer back already.
  const bool zerocopy = sk.opt.zerocopy && (msg.flags & msg_zerocopy) != 0;
  if (zerocopy) inet_zerocopy_done(cx, sk, sk.zerocopy_id++);
  return len;
}

}  // namespace

const udp_af_ops& udp_v4_ops() {
  static const v4_ops ops;
  return ops;
}

std::unique_ptr<inet_protocol> udp_v4_protocol() { return std::make_unique<udp_v4>(plain_udp); }

std::unique_ptr<inet_protocol> udplite_v4_protocol() {
  return std::make_unique<udp_v4>(udp_lite);
}

}  // namespace ph
