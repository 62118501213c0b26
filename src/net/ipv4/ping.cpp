// Ping sockets, icmp(7): echo requests out, their replies in, told apart by the identifier, which
// the kernel chooses as it chooses ports.
#include <algorithm>
#include <map>
#include <optional>

#include "base/intrusive.h"
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

using ping_hook = list_hook<struct ping_tag>;
using ping_list = intrusive_list<ping_sock, struct ping_tag>;

struct ping_table : slot_object {
  explicit ping_table(net_namespace& net) : sockets(net, "icmp") {}
  sock_list sockets;
  std::map<u16, ping_list> by_ident;  ///< the youngest first
  std::optional<u16> last;            ///< identifier that the kernel chose
};
constexpr slot_key<ping_table> ping_key{"ping"};

class ping_sock final : public inet_sock, public ping_hook {
 public:
  ping_sock(net_namespace& net, cpu& home)
      : inet_sock(net, home, af_inet, sock_dgram, ipproto_icmp, ipv4_af_ops()) {
    opt.reuseaddr = true;
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
    if (level != sol_ip) return fail(errc::opnotsupp);
    return af_ops->getsockopt(cx, *this, name, out);
  }
  result<sockaddr_buf> getname(bool peer) override { return inet_getname(*this, peer); }

 private:
  result<void> take_ident(cpu& cx, u16 wanted);
  void give_ident_back();
};

/// The next free identifier after the one chosen last. Errors: addrinuse.
result<u16> free_ident(cpu& cx, ping_table& table) {
  u16 last = table.last.value_or(static_cast<u16>(cx.random().next()));
  for (u32 tries = 0; tries < 65535; ++tries) {
    if (++last == 0 || table.by_ident.contains(last)) continue;
    table.last = last;
    return last;
  }
  return fail(errc::addrinuse);
}

/// 0: the next free one. Those that share one have SO_REUSEADDR all, whatever their addresses.
/// Errors: addrinuse.
result<void> ping_sock::take_ident(cpu& cx, u16 wanted) {
  ping_table& table = net().slots().get(ping_key);
  if (wanted == 0) {
    TRY(wanted, free_ident(cx, table));
  }
  ping_list& owners = table.by_ident[wanted];
  const bool refused = std::any_of(owners.begin(), owners.end(), [&](const ping_sock& other) {
    return !opt.reuseaddr || !other.opt.reuseaddr;
  });
  if (refused) return fail(errc::addrinuse);
  owners.push_front(*this);
  sport = port_no(wanted);
  return {};
}

void ping_sock::give_ident_back() {
  if (!sport) return;
  auto& idents = net().slots().get(ping_key).by_ident;
  ping_hook::unlink();
  if (const auto own = idents.find(sport.value); own->second.empty()) idents.erase(own);
  sport = {};
}

result<void> ping_sock::bind(cpu& cx, byte_view addr) {
  TRY(const auto where, af_ops->parse_sockaddr(addr));
  TRY_VOID(af_ops->check_bind(*this, where.first, {}));
  const route_type type = ipv4_of(net()).fib.addr_type(where.first.ipv4());
  const bool group = type == route_type::broadcast || type == route_type::multicast;
  if (group && !where.first.is_any()) return fail(errc::addrnotavail);  // nobody answers from there
  if (sport) return fail(errc::inval);
  TRY_VOID(take_ident(cx, where.second.value));
  rcv_saddr = saddr = where.first;
  addr_bound = !where.first.is_any();
  port_bound = where.second.value != 0;
  return {};
}

result<void> ping_sock::connect(cpu& cx, byte_view addr) {
  if (addr.size() < 2) return fail(errc::inval);
  if (sockaddr_family(addr) == af_unspec) {
    ip4_datagram_disconnect(*this);
    if (!port_bound) give_ident_back();
    return {};
  }
  if (!sport) TRY_VOID(take_ident(cx, 0));
  return ip4_datagram_connect(cx, *this, addr);
}

result<std::size_t> ping_sock::sendmsg(cpu& cx, const send_msg& msg) {
  const std::size_t len = msg.size();
  if (len > ipv4_max_packet) return fail(errc::msgsize);
  if (len < sizeof(icmphdr)) return fail(errc::inval);
  TRY(ip4_destination dest, ip4_datagram_dest(*this, msg));
  if (!sport) TRY_VOID(take_ident(cx, 0));
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
  if ((msg.flags & msg_proxy) != 0) {
    consume(cx, std::move(skb));
    return len;
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
  give_ident_back();
  receive_queue.purge(cx, drop_reason::socket_closed);
  error_queue.purge(cx, drop_reason::socket_closed);
}

/// The youngest with the identifier that hears packets to `own` which come by device `iif`.
ping_sock* find(net_namespace& net, u16 ident, ipv4_addr own, u32 iif) {
  auto& all = net.slots().get(ping_key).by_ident;
  const auto found = all.find(ident);
  if (found == all.end()) return nullptr;
  for (ping_sock& sk : found->second) {
    if (!sk.rcv_saddr.is_any() && sk.rcv_saddr != inet_addr::of(own)) continue;
    if (!sk.opt.bound_dev_if || sk.opt.bound_dev_if.value == iif) return &sk;
  }
  return nullptr;
}

}  // namespace

void ping_init(net_namespace& net) { net.slots().set(ping_key, std::make_unique<ping_table>(net)); }

ref<sock> ping_create(net_namespace& net, cpu& home) { return make_ref<ping_sock>(net, home); }

bool ping_rcv(cpu& cx, net_namespace& net, sk_buff& skb) {
  const u16 ident = skb.transport_header<icmphdr>().echo_id();
  ping_sock* sk = find(net, ident, skb.network_header<iphdr>().daddr, skb.skb_iif);
  if (sk == nullptr) return false;
  skb_ptr copy = skb_clone(cx, skb);
  copy->dst.reset();
  sock_queue_rcv_skb(cx, *sk, std::move(copy));
  return true;
}

void ping_err(cpu& cx, net_namespace& net, const icmp_error& error, const sk_buff& icmp) {
  const auto* icmph = view_as<icmphdr>(error.quoted);
  if (icmph == nullptr) return;
  ping_sock* sk = find(net, icmph->echo_id(), error.laddr.ipv4(), icmp.skb_iif);
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
