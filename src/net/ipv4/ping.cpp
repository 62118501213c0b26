// Ping sockets, icmp(7): echo requests out, their replies in, told apart by the identifier, which
// the kernel chooses as it chooses ports.
#include <algorithm>
#include <map>

#include "net/core/datagram.h"
#include "net/core/net_device.h"
#include "net/ipv4/ip4_datagram.h"
#include "net/ipv4/ipv4_net.h"
#include "net/ipv4/raw.h"
#include "uapi/inet.h"
#include "uapi/socket.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"

namespace ph {

using namespace uapi;

namespace {

class ping_sock;

struct ping_table : slot_object {
  explicit ping_table(net_namespace& net) : sockets(net, "icmp") {}
  sock_list sockets;
  std::map<u16, ping_sock*> by_ident;
  u16 last = 0;
};
constexpr slot_key<ping_table> ping_key{"ping"};

class ping_sock final : public inet_sock {
 public:
  ping_sock(net_namespace& net, cpu& home)
      : inet_sock(net, home, af_inet, sock_dgram, ipproto_icmp, ipv4_af_ops()) {
    net.slots().get(ping_key).sockets.add(*this);
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
  result<void> setsockopt(cpu& cx, int level, int name, byte_view value) override {
    return level == sol_ip ? af_ops->setsockopt(cx, *this, name, value)
                           : fail(errc::noprotoopt);
  }
  result<std::size_t> getsockopt(cpu& cx, int level, int name, byte_span out) override {
    if (level != sol_ip) return fail(errc::noprotoopt);
    return af_ops->getsockopt(cx, *this, name, out);
  }
  result<sockaddr_buf> getname(bool peer) override { return inet_getname(*this, peer); }

 private:
  result<void> take_ident(u16 wanted);
};

/// 0: the next free one. Errors: addrinuse.
result<void> ping_sock::take_ident(u16 wanted) {
  ping_table& table = net().slots().get(ping_key);
  if (wanted == 0) {
    for (u32 tries = 0; tries < 65535 && wanted == 0; ++tries) {
      if (++table.last != 0 && !table.by_ident.contains(table.last)) wanted = table.last;
    }
  }
  if (wanted == 0 || table.by_ident.contains(wanted)) return fail(errc::addrinuse);
  table.by_ident[wanted] = this;
  sport = port_no(wanted);
  return {};
}

result<void> ping_sock::bind(cpu&, byte_view addr) {
  TRY(const auto where, af_ops->parse_sockaddr(addr));
  TRY_VOID(af_ops->check_bind(*this, where.first, {}));
  if (sport) return fail(errc::inval);
  TRY_VOID(take_ident(where.second.value));
  rcv_saddr = saddr = where.first;
  addr_bound = !where.first.is_any();
  port_bound = where.second.value != 0;
  return {};
}

result<void> ping_sock::connect(cpu& cx, byte_view addr) {
  if (addr.size() < 2) return fail(errc::inval);
  if (sockaddr_family(addr) == af_unspec) {
    ip4_datagram_disconnect(*this);
    return {};
  }
  if (!sport) TRY_VOID(take_ident(0));
  return ip4_datagram_connect(cx, *this, addr);
}

result<std::size_t> ping_sock::sendmsg(cpu& cx, const send_msg& msg) {
  const std::size_t len = msg.size();
  if (len > ipv4_max_packet) return fail(errc::msgsize);
  if (len < sizeof(icmphdr)) return fail(errc::inval);
  TRY(ip4_destination dest, ip4_datagram_dest(*this, msg));
  if (!sport) TRY_VOID(take_ident(0));
  TRY(const ref<rtable> rt, ip4_datagram_route(cx, *this, dest));
  TRY_VOID(ip4_datagram_may_send(*this));
  skb_ptr skb = alloc_skb(cx, max_header + static_cast<u32>(len));
  skb->reserve(max_header);
  const byte_span bytes = skb->put(static_cast<u32>(len));
  msg_reader(msg.iov).read(bytes);
  icmphdr& icmph = *view_as<icmphdr>(bytes);
  if (icmph.type != icmp_echo || icmph.code != 0) {
    consume(cx, std::move(skb));
    return fail(errc::inval);
  }
  icmph.set_echo(sport.value, icmph.echo_sequence());
  icmph.checksum.set(0);
  icmph.checksum = csum_fold(csum_add_bytes(bytes));
  net().mib().add(cx, mib::icmp_out_msgs);
  net().mib().add(cx, mib::icmp_out_echos);
  TRY_VOID(ip4_datagram_output(cx, *this, rt, dest, std::move(skb)));
  return len;
}

void ping_sock::close(cpu& cx) {
  ip_mc_drop_socket(cx, *this);
  if (sport) net().slots().get(ping_key).by_ident.erase(sport.value);
  receive_queue.purge(cx, drop_reason::socket_closed);
}

ping_sock* find(net_namespace& net, u16 ident) {
  const auto& all = net.slots().get(ping_key).by_ident;
  const auto found = all.find(ident);
  return found != all.end() ? found->second : nullptr;
}

}  // namespace

void ping_init(net_namespace& net) { net.slots().set(ping_key, std::make_unique<ping_table>(net)); }

ref<sock> ping_create(net_namespace& net, cpu& home) { return make_ref<ping_sock>(net, home); }

bool ping_rcv(cpu& cx, net_namespace& net, sk_buff& skb) {
  ping_sock* sk = find(net, skb.transport_header<icmphdr>().echo_id());
  if (sk == nullptr) return false;
  const iphdr& iph = skb.network_header<iphdr>();
  if (!sk->rcv_saddr.is_any() && sk->rcv_saddr != inet_addr::of(iph.daddr)) return false;
  if (sk->opt.bound_dev_if && sk->opt.bound_dev_if.value != skb.skb_iif) return false;
  skb_ptr copy = skb_clone(cx, skb);
  copy->dst.reset();
  sock_queue_rcv_skb(cx, *sk, std::move(copy));
  return true;
}

void ping_err(cpu& cx, net_namespace& net, const icmp_error& error, const sk_buff& icmp) {
  const auto* icmph = view_as<icmphdr>(error.quoted);
  ping_sock* sk = icmph != nullptr ? find(net, icmph->echo_id()) : nullptr;
  if (sk == nullptr) return;
  if (error.kind == icmp_kind::redirect) return ip_rt_redirect(cx, net, error);
  const bool size = error.kind == icmp_kind::packet_too_big;
  if (size) ip_rt_update_pmtu(cx, net, error.raddr.ipv4(), error.info);
  if (size && sk->inet.pmtudisc == ip_pmtudisc_dont) return;
  if (sk->inet.recverr) {
    ip_icmp_error(cx, *sk, icmp, error, {}, error.quoted);
  } else if ((!error.fatal && !size) || sk->daddr.is_any()) {
    return;
  }
  sk->set_error(error.error);
}

}  // namespace ph
