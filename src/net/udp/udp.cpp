// UDP sockets (RFC 768, udp(7)): ports, demultiplexing, the calls. What a family does for them is
// in udp_ipv4.cpp.
#include "net/udp/udp.h"

#include <algorithm>

#include "net/core/net_device.h"
#include "net/udp/udp_sock.h"
#include "uapi/inet.h"
#include "uapi/socket.h"
#include "wire/udp.h"

namespace ph {

using namespace uapi;

// --- HOT: finding the socket ------------------------------------------------------------------

bool udp_matches(const udp_sock& sk, const udp_flow& flow) {
  if (!covers(sk.rcv_saddr, flow.daddr)) return false;
  if (!sk.daddr.is_any() && (sk.daddr != flow.saddr || sk.dport != flow.sport)) return false;
  return !sk.opt.bound_dev_if || sk.opt.bound_dev_if.value == flow.iif;
}

namespace {

/// More bound is better: a connected socket before a bound one, an address before any.
int score(const udp_sock& sk, const udp_flow& flow) {
  if (!udp_matches(sk, flow)) return -1;
  int out = 0;
  if (!sk.rcv_saddr.is_any()) out += 8;
  if (!sk.daddr.is_any()) out += 4;
  if (sk.opt.bound_dev_if) out += 2;
  return out;
}

u64 flow_hash(const siphash_key& key, const udp_flow& flow) {
  std::array<u8, 36> bytes{};
  byte_writer out(bytes);
  out.put(flow.saddr.bytes);
  out.put(flow.daddr.bytes);
  out.put(be16(flow.sport.value));
  out.put(be16(flow.dport.value));
  return siphash(key, bytes);
}

bool in_group(const udp_sock& sk, const udp_sock& first) {
  return sk.opt.reuseport && sk.opt.uid == first.opt.uid && sk.rcv_saddr == first.rcv_saddr &&
         sk.daddr.is_any();
}

}  // namespace

udp_sock* udp_lookup(net_namespace& net, const udp_flow& flow) {
  const udp_table& table = net.slots().get(udp_key);
  inet_port_owners* const owners = table.ports.owners(flow.dport);
  if (owners == nullptr) return nullptr;
  udp_sock* best = nullptr;
  int best_score = -1;
  std::size_t equals = 0;
  for (inet_sock& owner : *owners) {  // of equals the youngest, as Linux
    auto* sk = static_cast<udp_sock*>(&owner);
    const int own = score(*sk, flow);
    if (own < 0 || own < best_score) continue;
    equals = own == best_score ? equals + 1 : 1;
    best = sk;
    best_score = own;
  }
  if (equals < 2 || !best->opt.reuseport || !best->daddr.is_any()) return best;
  // SO_REUSEPORT: the flow's hash picks one of the group.
  const auto member = [&](inet_sock& owner) {
    auto* sk = static_cast<udp_sock*>(&owner);
    return score(*sk, flow) == best_score && in_group(*sk, *best);
  };
  const auto count = static_cast<u64>(std::count_if(owners->begin(), owners->end(), member));
  u64 chosen = (flow_hash(table.key, flow) >> 32) * count >> 32;
  for (inet_sock& owner : *owners) {
    if (member(owner) && chosen-- == 0) return static_cast<udp_sock*>(&owner);
  }
  return best;
}

void udp_queue_rcv(cpu& cx, udp_sock& sk, skb_ptr skb) {
  skb->dst.reset();
  if (sock_queue_rcv_skb(cx, sk, std::move(skb))) return;
  sk.net().mib().add(cx, mib::udp_rcvbuf_errors);
  sk.net().mib().add(cx, mib::udp_in_errors);
}

// --- ports ------------------------------------------------------------------------------------

namespace {

bool may_share(const inet_sock& sk, const inet_sock& other) {
  if (sk.opt.reuseaddr && other.opt.reuseaddr) return true;
  return sk.opt.reuseport && other.opt.reuseport && sk.opt.uid == other.opt.uid;
}
/// An ephemeral port is never shared.
bool share_nothing(const inet_sock&, const inet_sock&) { return false; }

}  // namespace

udp_sock::udp_sock(net_namespace& net, cpu& home, const inet_af_ops& af)
    : inet_sock(net, home, af.family(), sock_dgram, ipproto_udp, af), udp_(&udp_v4_ops()) {}

result<void> udp_sock::bind(cpu& cx, byte_view addr) {
  TRY(const auto where, af_ops->parse_sockaddr(addr));
  TRY_VOID(af_ops->check_bind(*this, where.first, where.second));
  if (sport) return fail(errc::inval);
  rcv_saddr = saddr = where.first;
  if (!udp_->is_own_unicast(*this, where.first)) saddr = {};  // groups are no source
  result<void> bound;
  if (where.second) {
    bound = table().ports.bind(*this, where.second, may_share);
  } else if (!inet.bind_address_no_port) {
    const auto [low, high] = af_ops->local_port_range(*this);
    const auto port =
        table().ports.bind_ephemeral(*this, low, high, cx.random(), share_nothing, {});
    if (!port) bound = fail(port.error());
  }
  if (!bound) {
    rcv_saddr = saddr = {};
    return bound;
  }
  addr_bound = !where.first.is_any();
  port_bound = static_cast<bool>(where.second);
  daddr = {};
  dport = {};
  dst.reset();
  return {};
}

result<void> udp_sock::autobind(cpu& cx) {
  if (sport) return {};
  const auto [low, high] = af_ops->local_port_range(*this);
  const auto port =
      table().ports.bind_ephemeral(*this, low, high, cx.random(), share_nothing, {});
  return port ? result<void>{} : fail(errc::again);
}

result<void> udp_sock::connect(cpu& cx, byte_view addr) {
  if (addr.size() < 2) return fail(errc::inval);
  if (sockaddr_family(addr) == af_unspec) {
    udp_->disconnect(*this);
    if (!port_bound && sport) {
      table().ports.release(*this);
      sport = {};
    }
    return {};
  }
  TRY_VOID(autobind(cx));
  return udp_->connect(cx, *this, addr);
}

result<void> udp_sock::shutdown(cpu&, u8 how) { return udp_->shutdown(*this, how); }

void udp_sock::close(cpu& cx) {
  udp_->closed(cx, *this);
  if (sport) table().ports.release(*this);
  receive_queue.purge(cx, drop_reason::socket_closed);
  error_queue.purge(cx, drop_reason::socket_closed);
}

// --- data -------------------------------------------------------------------------------------

/// Adds to the datagram that waits (MSG_MORE, UDP_CORK). The first piece says where it goes.
result<std::size_t> udp_sock::cork(const send_msg& msg) {
  const std::size_t len = msg.size();
  constexpr std::size_t most = 65535 - sizeof(udphdr) - 20;
  if (pending_bytes_.size() + len > most) {
    pending_bytes_.clear();  // Linux: the whole pending datagram is lost
    pending_ = false;
    return fail(errc::msgsize);
  }
  if (!pending_) {
    pending_ = true;
    pending_name_.len = static_cast<u32>(msg.name.size());
    copy_bytes(pending_name_.bytes, msg.name);
  }
  const std::size_t before = pending_bytes_.size();
  pending_bytes_.resize(before + len);
  msg_reader(msg.iov).read(byte_span(pending_bytes_).subspan(before));
  return len;
}

result<std::size_t> udp_sock::push_pending(cpu& cx) {
  const std::vector<u8> bytes = std::exchange(pending_bytes_, {});
  pending_ = false;
  const byte_view piece(bytes);
  send_msg whole;
  whole.iov = {&piece, 1};
  whole.name = pending_name_.view();
  return udp_->send(cx, *this, whole);
}

result<std::size_t> udp_sock::sendmsg(cpu& cx, const send_msg& msg) {
  if (msg.size() > 0xffff) return fail(errc::msgsize);
  if ((msg.flags & msg_oob) != 0) return fail(errc::opnotsupp);
  const bool more = corked_ || (msg.flags & msg_more) != 0;
  if (!more && !pending_) return udp_->send(cx, *this, msg);
  if (!pending_ && msg.name.empty() && daddr.is_any()) return fail(errc::destaddrreq);
  if ((shutdown_state & send_shutdown) != 0) return fail(errc::pipe);
  TRY(const std::size_t taken, cork(msg));
  if (!more) TRY_VOID(push_pending(cx));
  return taken;
}

result<std::size_t> udp_sock::recvmsg(cpu& cx, recv_msg& msg) {
  if ((msg.flags & msg_errqueue) != 0) return udp_->recv_error(cx, *this, msg);
  TRY(sk_buff* const skb, datagram_peek(cx, *this, msg.flags));
  if (skb == nullptr) return std::size_t{0};
  const std::size_t out = datagram_copy_out(*skb, 0, msg);
  udp_->received(*this, *skb, msg);
  if ((msg.flags & msg_peek) == 0) net().mib().add(cx, mib::udp_in_datagrams);
  datagram_done(cx, *this, *skb, msg.flags);
  return out;
}

// --- options ----------------------------------------------------------------------------------

result<void> udp_sock::setsockopt(cpu& cx, int level, int name, byte_view value) {
  if (level == sol_ip) return af_ops->setsockopt(cx, *this, name, value);
  if (level != sol_udp || name != udp_cork) return fail(errc::noprotoopt);
  if (value.size() < sizeof(s32)) return fail(errc::inval);
  corked_ = byte_reader(value).take<s32>() != 0;
  if (!corked_ && pending_) TRY_VOID(push_pending(cx));
  return {};
}

result<std::size_t> udp_sock::getsockopt(cpu& cx, int level, int name, byte_span out) {
  if (level == sol_ip) return af_ops->getsockopt(cx, *this, name, out);
  if (level != sol_udp || name != udp_cork) return fail(errc::noprotoopt);
  return copy_bytes(out, bytes_of(s32{corked_ ? 1 : 0}));
}

result<int> udp_sock::ioctl(cpu&, u32 command, byte_span arg) {
  u32 value = 0;
  if (command == siocoutq) {
    value = wmem_alloc;
  } else if (command == siocinq) {
    if (const sk_buff* first = receive_queue.front(); first != nullptr) value = first->len();
  } else {
    return fail(errc::notty);
  }
  copy_bytes(arg, bytes_of(value));
  return 0;
}

// --- a namespace's UDP ------------------------------------------------------------------------

void udp_init(net_namespace& net) {
  udp_table& table = net.slots().set(udp_key, std::make_unique<udp_table>());
  net.machine().secret({reinterpret_cast<u8*>(&table.key), sizeof(table.key)});
}

ref<sock> udp_create(net_namespace& net, cpu& home, const inet_af_ops& af) {
  return make_ref<udp_sock>(net, home, af);
}

}  // namespace ph
