// Raw sockets, raw(7): whole IP packets of one protocol in, payloads or whole packets out.
#include "net/ipv4/raw.h"

#include <map>

#include "net/core/datagram.h"
#include "net/core/net_device.h"
#include "net/ipv4/ip4_datagram.h"
#include "net/ipv4/ip_output.h"
#include "net/ipv4/ipv4_net.h"
#include "uapi/inet.h"
#include "uapi/socket.h"
#include "wire/ipv4.h"

namespace ph {

using namespace uapi;

namespace {

class raw_sock;
using raw_hook = list_hook<struct raw_tag>;
using raw_list = intrusive_list<raw_sock, struct raw_tag>;

struct raw_table : slot_object {
  explicit raw_table(net_namespace& net) : sockets(net, "raw") {}
  sock_list sockets;
  std::map<u8, raw_list> by_protocol;
  /// Calls f(sk) for the sockets of a protocol.
  template <class F>
  void for_each(u8 protocol, F&& f) {
    const auto found = by_protocol.find(protocol);
    if (found == by_protocol.end()) return;
    for (raw_sock& sk : found->second) f(sk);
  }
};
constexpr slot_key<raw_table> raw_key{"raw"};

class raw_sock final : public inet_sock, public raw_hook {
 public:
  raw_sock(net_namespace& net, cpu& home, u8 protocol)
      : inet_sock(net, home, af_inet, sock_raw, protocol, ipv4_af_ops()) {
    opt.reuseaddr = true;
    inet.hdrincl = protocol == ipproto_raw;
    sport = port_no(protocol);  // what getsockname shows
    raw_table& table = net.slots().get(raw_key);
    table.sockets.add(*this);
    table.by_protocol[protocol].push_back(*this);
  }
  result<void> bind(cpu& cx, byte_view addr) override;
  result<void> connect(cpu& cx, byte_view addr) override;
  result<std::size_t> sendmsg(cpu& cx, const send_msg& msg) override;
  result<std::size_t> recvmsg(cpu& cx, recv_msg& msg) override {
    return ip4_datagram_recvmsg(cx, *this, msg);
  }
  [[nodiscard]] u32 poll() override { return datagram_poll(*this); }
  result<void> shutdown(cpu&, u8 how) override { return inet_dgram_shutdown(*this, how); }
  void close(cpu& cx) override;
  result<void> setsockopt(cpu& cx, int level, int name, byte_view value) override;
  result<std::size_t> getsockopt(cpu& cx, int level, int name, byte_span out) override;
  result<sockaddr_buf> getname(bool peer) override { return inet_getname(*this, peer); }
  result<int> ioctl(cpu&, u32 command, byte_span arg) override {
    return datagram_ioctl(*this, command, arg);
  }

  [[nodiscard]] bool wants(const sk_buff& skb) const;
  void report(cpu& cx, const icmp_error& error, const sk_buff& icmp);

 private:
  [[nodiscard]] bool filtered(const sk_buff& skb) const;
  result<std::size_t> send_header_included(cpu& cx, const ref<rtable>& rt,
                                           const ip4_destination& dest, const send_msg& msg);
  icmp_filter filter_;
};

result<void> raw_sock::bind(cpu&, byte_view addr) {
  TRY(const auto where, af_ops->parse_sockaddr(addr));
  TRY_VOID(af_ops->check_bind(*this, where.first, {}));
  rcv_saddr = saddr = where.first;
  if (ipv4_of(net()).fib.addr_type(where.first.ipv4()) != route_type::local) saddr = {};
  addr_bound = !where.first.is_any();
  dst.reset();
  return {};
}

result<void> raw_sock::connect(cpu& cx, byte_view addr) {
  if (sockaddr_family(addr) == af_unspec && addr.size() >= 2) {
    ip4_datagram_disconnect(*this);
    return {};
  }
  const port_no own = sport;
  TRY_VOID(ip4_datagram_connect(cx, *this, addr));
  sport = own;
  return {};
}

/// The program's own header: length, checksum, and what it left zero are filled in (raw(7)).
result<std::size_t> raw_sock::send_header_included(cpu& cx, const ref<rtable>& rt,
                                                   const ip4_destination& dest,
                                                   const send_msg& msg) {
  const auto len = static_cast<u32>(msg.size());
  if (len > rt->dev->mtu()) {
    ip_local_error(cx, *this, errc::msgsize, dest.daddr, dport, rt->dev->mtu());
    return fail(errc::msgsize);
  }
  if (len < sizeof(iphdr)) return fail(errc::inval);
  if ((msg.flags & msg_proxy) != 0) return len;
  skb_ptr skb = alloc_skb(cx, max_header + len);
  skb->reserve(max_header);
  const byte_span bytes = skb->put(len);
  msg_reader(msg.iov).read(bytes);
  iphdr& iph = *view_as<iphdr>(bytes);
  if (iph.header_bytes() < sizeof(iphdr) || iph.header_bytes() > len) {
    consume(cx, std::move(skb));
    return fail(errc::inval);
  }
  if (iph.saddr.is_any()) iph.saddr = dest.saddr;
  iph.tot_len.set(static_cast<u16>(len));
  if (iph.id.value() == 0) {
    iph.id.set(ip_select_ident(net(), nullptr, iph.saddr, iph.daddr, iph.protocol));
  }
  ip_send_check(bytes.first(iph.header_bytes()));
  skb->set_network_header();
  skb->set_transport_header(static_cast<u32>(iph.header_bytes()));
  skb->dst = rt;
  skb->dev = rt->dev;
  skb->priority = dest.priority;
  skb->mark = dest.mark;
  set_owner_w(*skb);
  trace_born(cx, *skb, __func__);
  const xmit_result sent = ip_local_out(cx, net(), std::move(skb));
  if (sent >= xmit_result::dropped && inet.recverr) return fail(errc::nobufs);
  return len;
}

result<std::size_t> raw_sock::sendmsg(cpu& cx, const send_msg& msg) {
  const std::size_t len = msg.size();
  if (len > ipv4_max_packet) return fail(errc::msgsize);
  TRY(ip4_destination dest, ip4_datagram_dest(*this, msg));
  // As Linux, which looks for type and code before it looks for a route.
  if (protocol() == ipproto_icmp && !inet.hdrincl && len < 2) return fail(errc::fault);
  TRY(const ref<rtable> rt, ip4_datagram_route(cx, *this, dest));
  if (!inet.hdrincl && (msg.flags & msg_proxy) != 0) return len;
  // As Linux: a pending error and shutdown() stop only packets with a header of their own.
  if (inet.hdrincl) TRY_VOID(ip4_datagram_may_send(*this));
  if (wmem_alloc >= opt.sndbuf) return fail(errc::again);
  if (inet.hdrincl) return send_header_included(cx, rt, dest, msg);
  skb_ptr skb = alloc_skb(cx, max_header + static_cast<u32>(len));
  skb->reserve(max_header);
  msg_reader(msg.iov).read(skb->put(static_cast<u32>(len)));
  TRY_VOID(ip4_datagram_output(cx, *this, rt, dest, std::move(skb)));
  return len;
}

void raw_sock::close(cpu& cx) {
  ip_mc_drop_socket(cx, *this);
  raw_hook::unlink();
  receive_queue.purge(cx, drop_reason::socket_closed);
}

result<void> raw_sock::setsockopt(cpu& cx, int level, int name, byte_view value) {
  if (level == sol_ip) return af_ops->setsockopt(cx, *this, name, value);
  if (level != sol_raw || name != icmp_filter_opt) return fail(errc::noprotoopt);
  if (protocol() != ipproto_icmp) return fail(errc::opnotsupp);
  copy_bytes({reinterpret_cast<u8*>(&filter_), sizeof(filter_)}, value);
  return {};
}

result<std::size_t> raw_sock::getsockopt(cpu& cx, int level, int name, byte_span out) {
  if (level == sol_ip) return af_ops->getsockopt(cx, *this, name, out);
  if (level != sol_raw) return fail(errc::opnotsupp);
  if (name != icmp_filter_opt) return fail(errc::noprotoopt);
  if (protocol() != ipproto_icmp) return fail(errc::opnotsupp);
  return copy_bytes(out, bytes_of(filter_));
}

bool raw_sock::filtered(const sk_buff& skb) const {
  if (protocol() != ipproto_icmp || filter_.data == 0) return false;
  const byte_view bytes = skb.network_bytes();
  const std::size_t at = skb.network_header<iphdr>().header_bytes();
  if (bytes.size() <= at) return true;
  return bytes[at] < 32 && (filter_.data & (1u << bytes[at])) != 0;
}

bool raw_sock::wants(const sk_buff& skb) const {
  const iphdr& iph = skb.network_header<iphdr>();
  if (!daddr.is_any() && daddr != inet_addr::of(iph.saddr)) return false;
  if (!rcv_saddr.is_any() && rcv_saddr != inet_addr::of(iph.daddr)) return false;
  if (opt.bound_dev_if && opt.bound_dev_if.value != skb.skb_iif) return false;
  return ip_mc_socket_wants(*this, iph.daddr, iph.saddr, skb.skb_iif) && !filtered(skb);
}

/// Errors reach connected sockets if they are hard, and all that ask for them.
void raw_sock::report(cpu& cx, const icmp_error& error, const sk_buff& icmp) {
  if (error.kind == icmp_kind::redirect) return ip_rt_redirect(cx, net(), error);
  const bool size = error.kind == icmp_kind::packet_too_big;
  if (size) ip_rt_update_pmtu(cx, net(), error.raddr.ipv4(), error.info);
  if (!inet.recverr && daddr.is_any()) return;
  const bool hard = error.fatal || (size && inet.pmtudisc != ip_pmtudisc_dont);
  if (inet.recverr) ip_icmp_error(cx, *this, icmp, error, {}, error.quoted);
  if (inet.recverr || hard) set_error(error.error);
}

}  // namespace

void raw_init(net_namespace& net) { net.slots().set(raw_key, std::make_unique<raw_table>(net)); }

ref<sock> raw_create(net_namespace& net, cpu& home, u8 protocol) {
  return make_ref<raw_sock>(net, home, protocol);
}

int raw_local_deliver(cpu& cx, net_namespace& net, const sk_buff& skb, u8 protocol) {
  int taken = 0;
  net.slots().get(raw_key).for_each(protocol, [&](raw_sock& sk) {
    if (!sk.wants(skb)) return;
    ++taken;
    skb_ptr copy = skb_clone(cx, skb);
    copy->dst.reset();
    sock_queue_rcv_skb(cx, sk, std::move(copy));
  });
  return taken;
}

void raw_icmp_error(cpu& cx, net_namespace& net, const icmp_error& error, const sk_buff& icmp,
                    u8 protocol) {
  net.slots().get(raw_key).for_each(protocol, [&](raw_sock& sk) {
    if (!sk.daddr.is_any() && sk.daddr != error.raddr) return;
    if (!sk.rcv_saddr.is_any() && sk.rcv_saddr != error.laddr) return;
    sk.report(cx, error, icmp);
  });
}

}  // namespace ph
