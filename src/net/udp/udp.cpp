// UDP sockets (RFC 768, udp(7)): ports, demultiplexing, the calls. What a family does for them is
// in udp_ipv4.cpp.
#include "net/udp/udp.h"

#include <algorithm>

#include "net/core/net_device.h"
#include "net/inet/inet_hashtables.h"
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

/// What a socket is found by; all zero bytes stand for any address, whichever family's.
inet_tuple key_of(const udp_sock& sk) {
  inet_tuple key;
  if (!sk.rcv_saddr.is_any()) key.laddr = sk.rcv_saddr;
  key.lport = sk.sport;
  if (!sk.daddr.is_any()) {
    key.raddr = sk.daddr;
    key.rport = sk.dport;
  }
  return key;
}

bool in_group(const udp_sock& sk, const udp_sock& first) {
  return sk.opt.reuseport && sk.opt.uid == first.opt.uid &&
         sk.opt.bound_dev_if == first.opt.bound_dev_if;
}

/// Of the sockets under `key` the one for a datagram that came by device `iif`; `flow_hash` chooses
/// in a group.
udp_sock* choose(const udp_table& table, const inet_tuple& key, u32 iif, u64 flow_hash) {
  const u64 hash = inet_tuple_hash(table.key, key);
  udp_sock* best = nullptr;
  u64 equals = 0;
  const auto each = [&](auto&& f) {
    table.by_tuple.for_hash(hash, [&](udp_sock& sk) {
      const ifindex dev = sk.opt.bound_dev_if;
      if (key_of(sk) == key && (!dev || dev.value == iif)) f(sk);
      return false;
    });
  };
  each([&](udp_sock& sk) {
    const bool worse = best != nullptr && best->opt.bound_dev_if && !sk.opt.bound_dev_if;
    if (worse) return;
    const bool equal = best != nullptr && best->opt.bound_dev_if == sk.opt.bound_dev_if;
    equals = equal ? equals + 1 : 1;
    best = &sk;
  });
  if (equals < 2 || !best->opt.reuseport || !best->daddr.is_any()) return best;
  const udp_sock& first = *best;
  u64 count = 0;
  each([&](udp_sock& sk) { count += in_group(sk, first) ? 1 : 0; });
  u64 chosen = (flow_hash >> 32) * count >> 32;
  each([&](udp_sock& sk) {
    if (in_group(sk, first) && chosen-- == 0) best = &sk;
  });
  return best;
}

}  // namespace

udp_sock* udp_lookup(net_namespace& net, const udp_flavour& flavour, const udp_flow& flow) {
  const udp_table& table = net.slots().get(flavour.key);
  const inet_tuple connected{flow.daddr, flow.saddr, flow.dport, flow.sport};
  const u64 hash = inet_tuple_hash(table.key, connected);
  if (udp_sock* sk = choose(table, connected, flow.iif, hash); sk != nullptr) return sk;
  const inet_tuple bound{flow.daddr, {}, flow.dport, {}};
  if (udp_sock* sk = choose(table, bound, flow.iif, hash); sk != nullptr) return sk;
  return choose(table, {{}, {}, flow.dport, {}}, flow.iif, hash);
}

namespace {

/// RFC 3828 §3.1: a receiver may demand that a part of each packet be covered by the checksum.
bool covers_enough(const udp_sock& sk, const sk_buff& skb) {
  if (!sk.recv_coverage) return true;
  const u16 coverage = skb.transport_header<udphdr>().len.value();
  if (coverage == 0 || coverage == skb.len() + sizeof(udphdr)) return true;
  return *sk.recv_coverage != 0 && coverage >= *sk.recv_coverage;
}

}  // namespace

void udp_queue_rcv(cpu& cx, udp_sock& sk, skb_ptr skb) {
  if (!covers_enough(sk, *skb)) return drop(cx, std::move(skb), drop_reason::udplite_coverage);
  skb->dst.reset();
  if (sock_queue_rcv_skb(cx, sk, std::move(skb))) return;
  sk.net().mib().add(cx, sk.flavour().rcvbuf_errors);
  sk.net().mib().add(cx, sk.flavour().in_errors);
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

udp_sock::udp_sock(net_namespace& net, cpu& home, const udp_flavour& flavour,
                   const inet_af_ops& af)
    : inet_sock(net, home, af.family(), sock_dgram, flavour.protocol, af),
      flavour_(flavour),
      udp_(&udp_v4_ops()) {
  table().sockets.add(*this);
}

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
  rehash();
  return {};
}

result<void> udp_sock::autobind(cpu& cx) {
  if (sport) return {};
  const auto [low, high] = af_ops->local_port_range(*this);
  const auto port =
      table().ports.bind_ephemeral(*this, low, high, cx.random(), share_nothing, {});
  if (!port) return fail(errc::again);
  rehash();
  return {};
}

udp_table& udp_sock::table() const { return net().slots().get(flavour_.key); }

void udp_sock::rehash() {
  if (udp_hook::hashed()) table().by_tuple.erase(*this);
  if (sport) table().by_tuple.insert(*this, inet_tuple_hash(table().key, key_of(*this)));
}

result<void> udp_sock::connect(cpu& cx, byte_view addr) {
  if (addr.size() < 2) return fail(errc::inval);
  if (sockaddr_family(addr) == af_unspec) {
    udp_->disconnect(*this);
    if (!port_bound && sport) {
      table().ports.release(*this);
      sport = {};
    }
    rehash();
    return {};
  }
  TRY_VOID(autobind(cx));
  const result<void> connected = udp_->connect(cx, *this, addr);
  rehash();
  return connected;
}

result<void> udp_sock::shutdown(cpu&, u8 how) { return udp_->shutdown(*this, how); }

void udp_sock::close(cpu& cx) {
  udp_->closed(cx, *this);
  if (udp_hook::hashed()) table().by_tuple.erase(*this);
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
  if ((msg.flags & msg_peek) == 0) net().mib().add(cx, flavour_.in_datagrams);
  datagram_done(cx, *this, *skb, msg.flags);
  return out;
}

// --- options ----------------------------------------------------------------------------------

result<void> udp_sock::setsockopt(cpu& cx, int level, int name, byte_view value) {
  if (level == sol_ip) return af_ops->setsockopt(cx, *this, name, value);
  if (!is_own_level(level)) return fail(errc::noprotoopt);
  if (value.size() < sizeof(s32)) return fail(errc::inval);
  const s32 number = byte_reader(value).take<s32>();
  if (name != udp_cork) return set_coverage(name, number);
  corked_ = number != 0;
  if (!corked_ && pending_) TRY_VOID(push_pending(cx));
  return {};
}

result<std::size_t> udp_sock::getsockopt(cpu& cx, int level, int name, byte_span out) {
  if (level == sol_ip) return af_ops->getsockopt(cx, *this, name, out);
  if (!is_own_level(level)) return fail(errc::noprotoopt);
  if (name == udp_cork) return copy_bytes(out, bytes_of(s32{corked_ ? 1 : 0}));
  const bool sends = name == udplite_send_cscov;
  if (!flavour_.lite() || (!sends && name != udplite_recv_cscov)) return fail(errc::noprotoopt);
  return copy_bytes(out, bytes_of(s32{(sends ? send_coverage : recv_coverage).value_or(0)}));
}

/// UDP-Lite sockets know UDP's level as well.
bool udp_sock::is_own_level(int level) const {
  return level == sol_udp || (flavour_.lite() && level == sol_udplite);
}

/// RFC 3828 §3.1: the header is always covered, or everything (0).
result<void> udp_sock::set_coverage(int name, s32 value) {
  const bool sends = name == udplite_send_cscov;
  if (!flavour_.lite() || (!sends && name != udplite_recv_cscov)) return fail(errc::noprotoopt);
  constexpr s32 least = sizeof(udphdr), most = 0xffff;
  const s32 coverage = value == 0 ? 0 : std::clamp(value, least, most);
  (sends ? send_coverage : recv_coverage) = static_cast<u16>(coverage);
  return {};
}

result<int> udp_sock::ioctl(cpu&, u32 command, byte_span arg) {
  return datagram_ioctl(*this, command, arg);
}

// --- a namespace's UDP ------------------------------------------------------------------------

void udp_init(net_namespace& net) {
  udp_mib_init(net.mib());
  for (const udp_flavour* flavour : {&plain_udp, &udp_lite}) {
    udp_table& table =
        net.slots().set(flavour->key, std::make_unique<udp_table>(net, flavour->name));
    net.machine().secret({reinterpret_cast<u8*>(&table.key), sizeof(table.key)});
  }
}

ref<sock> udp_create(net_namespace& net, cpu& home, const inet_af_ops& af) {
  return make_ref<udp_sock>(net, home, plain_udp, af);
}

ref<sock> udplite_create(net_namespace& net, cpu& home, const inet_af_ops& af) {
  return make_ref<udp_sock>(net, home, udp_lite, af);
}

}  // namespace ph
