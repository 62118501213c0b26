// UDP sockets (RFC 768, udp(7)): ports, demultiplexing, the calls. What a family does for them is
// in udp_ipv4.cpp.
#include "net/udp/udp.h"

#include <algorithm>
#include <bit>

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

void join_group(udp_equals& equals, udp_sock& sk) {
  if (!sk.opt.reuseport || !sk.daddr.is_any()) return;
  const udp_sock* const other = equals.group.empty() ? nullptr : equals.group.front();
  const bool shares = other == nullptr || (other->opt.uid == sk.opt.uid &&
                                           other->opt.bound_dev_if == sk.opt.bound_dev_if);
  if (!shares) return;
  sk.place_in_group = static_cast<s32>(equals.group.size());
  equals.group.push_back(&sk);
}

/// The last one takes the place of the one that goes.
void leave_group(udp_equals& equals, udp_sock& sk) {
  if (sk.place_in_group < 0) return;
  const auto place = static_cast<std::size_t>(std::exchange(sk.place_in_group, -1));
  udp_sock* const last = equals.group.back();
  equals.group.pop_back();
  if (last == &sk) return;
  equals.group[place] = last;
  last->place_in_group = static_cast<s32>(place);
}

void add_equal(const std::shared_ptr<udp_equals>& equals, udp_sock& sk) {
  sk.equals = equals;
  sk.counts_device = static_cast<bool>(sk.opt.bound_dev_if);
  equals->bound_to_devices += sk.counts_device ? 1 : 0;
  equals->all.push_back(sk);
  join_group(*equals, sk);
}

void remove_equal(udp_equals& equals, udp_sock& sk) {
  leave_group(equals, sk);
  equals.bound_to_devices -= std::exchange(sk.counts_device, false) ? 1 : 0;
  equals.all.erase(equals.all.iterator_to(sk));
  sk.equals.reset();
}

}  // namespace

void udp_table::insert(udp_sock& sk) {
  const inet_tuple own = key_of(sk);
  const u64 hash = inet_tuple_hash(key, own);
  udp_sock* const first =
      by_tuple.find(hash, [&](const udp_sock& other) { return key_of(other) == own; });
  if (first == nullptr) return by_tuple.insert(sk, hash);
  if (!first->equals) add_equal(std::make_shared<udp_equals>(), *first);
  add_equal(first->equals, sk);
}

void udp_table::erase(udp_sock& sk) {
  const std::shared_ptr<udp_equals> equals = sk.equals;
  const bool first = sk.udp_hook::hashed();
  const u64 hash = sk.udp_hook::hash_value;
  if (first) by_tuple.erase(sk);
  if (!equals) return;
  remove_equal(*equals, sk);
  if (equals->all.empty()) return;
  if (first) by_tuple.insert(equals->all.front(), hash);
  const bool alone = &equals->all.front() == &equals->all.back();
  if (alone && !equals->chooser) remove_equal(*equals, equals->all.front());
}

namespace {

/// The youngest, of those that are bound to the device if there are any.
udp_sock* youngest(udp_equals& equals, u32 iif) {
  udp_sock* best = nullptr;
  for (auto sk = equals.all.rbegin(); sk != equals.all.rend(); ++sk) {
    const ifindex dev = sk->opt.bound_dev_if;
    if (dev && dev.value == iif) return &*sk;
    if (!dev && best == nullptr) best = &*sk;
    if (best != nullptr && equals.bound_to_devices == 0) break;
  }
  return best;
}

/// Of the sockets under `key` the one for a datagram that came by device `iif`; `flow_hash` or the
/// program, which sees `skb`, chooses in a group.
udp_sock* choose(cpu& cx, const udp_table& table, const inet_tuple& key, u32 iif, u64 flow_hash,
                 const sk_buff* skb) {
  udp_sock* const first = table.by_tuple.find(
      inet_tuple_hash(table.key, key), [&](const udp_sock& sk) { return key_of(sk) == key; });
  if (first == nullptr) return nullptr;
  if (!first->equals) {
    const ifindex dev = first->opt.bound_dev_if;
    return !dev || dev.value == iif ? first : nullptr;
  }
  udp_equals& equals = *first->equals;
  udp_sock* const best = youngest(equals, iif);
  if (best == nullptr || best->place_in_group < 0) return best;
  if (equals.chooser && skb != nullptr) {
    const u32 chosen = equals.chooser->run(cx, *skb, 0);
    if (chosen < equals.group.size()) return equals.group[chosen];
  }
  return equals.group[(flow_hash >> 32) * equals.group.size() >> 32];
}

}  // namespace

udp_sock* udp_lookup(cpu& cx, net_namespace& net, const udp_flavour& flavour, const udp_flow& flow,
                     const sk_buff* skb) {
  const udp_table& table = net.slots().get(flavour.key);
  const inet_tuple connected{flow.daddr, flow.saddr, flow.dport, flow.sport};
  const u64 hash = inet_tuple_hash(table.key, connected);
  if (udp_sock* sk = choose(cx, table, connected, flow.iif, hash, skb); sk != nullptr) return sk;
  const inet_tuple bound{flow.daddr, {}, flow.dport, {}};
  if (udp_sock* sk = choose(cx, table, bound, flow.iif, hash, skb); sk != nullptr) return sk;
  return choose(cx, table, {{}, {}, flow.dport, {}}, flow.iif, hash, skb);
}

namespace {

/// RFC 3828 §3.1: a receiver may demand that a part of each packet be covered by the checksum.
bool covers_enough(const udp_sock& sk, const sk_buff& skb) {
  if (!sk.recv_coverage) return true;
  const u16 coverage = skb.transport_header<udphdr>().len.value();
  if (coverage == 0 || coverage == skb.len() + sizeof(udphdr)) return true;
  return *sk.recv_coverage != 0 && coverage >= *sk.recv_coverage;
}

/// Memory of a packet with so many bytes in the kernel that we run on: a power of two with its
/// trailer, and a head; beyond 32 KiB, pages.
u32 memory_of_copy(u32 len) {
  constexpr u32 head = 256, trailer = 320, most_linear = 32768;
  if (len + trailer > most_linear) return len + head + 1024;
  return head + std::bit_ceil(len + trailer);
}

/// As Linux: a datagram must fit into what SO_RCVBUF leaves, but for the only one. One that leaves
/// the stack before it is read does not take our packet's memory, but that of a copy.
bool has_room(const udp_sock& sk, const sk_buff& skb) {
  const u32 used = sk.rcvbuf_used();
  const u32 size = sk.outside != nullptr ? memory_of_copy(skb.len()) : skb.truesize;
  return used == 0 || u64{used} + size <= sk.opt.rcvbuf;
}

}  // namespace

void udp_queue_rcv(cpu& cx, udp_sock& sk, skb_ptr skb) {
  if (!covers_enough(sk, *skb)) return drop(cx, std::move(skb), drop_reason::udplite_coverage);
  if (!sk_filter(cx, sk, *skb, sizeof(udphdr))) {
    ++sk.drops;
    sk.net().mib().add(cx, sk.flavour().in_errors);
    return drop(cx, std::move(skb), drop_reason::socket_filter);
  }
  skb->dst.reset();
  if (has_room(sk, *skb)) return sock_enqueue_rcv_skb(cx, sk, std::move(skb));
  sk.net().mib().add(cx, sk.flavour().rcvbuf_errors);
  sk.net().mib().add(cx, sk.flavour().in_errors);
  sock_drop_rcvbuf(cx, sk, std::move(skb));
}

// --- ports ------------------------------------------------------------------------------------

namespace {

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
    bound = table().ports.bind_datagram(*this, where.second);
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

void udp_sock::give_port_back() {
  if (std::exchange(unwilling_, false)) table().ports.count_unwilling(sport, false);
  table().ports.release(*this);
  sport = {};
}

void udp_sock::rehash() {
  count_willingness();
  table().erase(*this);
  if (sport) table().insert(*this);
}

void udp_sock::count_willingness() {
  if (!sport || unwilling_ == !opt.reuseaddr) return;
  unwilling_ = !opt.reuseaddr;
  table().ports.count_unwilling(sport, unwilling_);
}

void udp_sock::option_changed(cpu&, int name) {
  if (name == so_reuseaddr) count_willingness();
  const bool moves = name == so_reuseport || name == so_bindtodevice || name == so_bindtoifindex;
  if (moves && sport) rehash();
}

result<void> udp_sock::connect(cpu& cx, byte_view addr) {
  if (addr.size() < 2) return fail(errc::inval);
  if (sockaddr_family(addr) == af_unspec) {
    udp_->disconnect(*this);
    if (!port_bound && sport) give_port_back();
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
  table().erase(*this);
  if (sport) give_port_back();
  receive_queue.purge(cx, drop_reason::socket_closed);
  error_queue.purge(cx, drop_reason::socket_closed);
}

/// Errors: inval (it is not in a group: not bound, or without SO_REUSEPORT), noent (there is none).
result<void> udp_sock::set_chooser(std::shared_ptr<const cbpf_program> program) {
  if (!program) {
    if (!equals || !equals->chooser) return fail(errc::noent);
    equals->chooser.reset();
    return {};
  }
  if (!opt.reuseport || !sport) return fail(errc::inval);
  if (!equals) add_equal(std::make_shared<udp_equals>(), *this);
  if (place_in_group < 0) return fail(errc::inval);  // another's group is not its to steer
  equals->chooser = std::move(program);
  return {};
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

namespace {

/// UDP_SEGMENT, as the socket or a control message says it.
result<u16> segment_of(const send_msg& msg, u16 of_socket) {
  u16 out = of_socket;
  TRY_VOID(for_each_cmsg(msg.control, [&](int level, int type, byte_view data) -> result<void> {
    if (level != sol_udp) return {};
    if (type != udp_segment || data.size() != sizeof(u16)) return fail(errc::inval);
    out = byte_reader(data).take<u16>();
    return {};
  }));
  return out;
}

}  // namespace

result<std::size_t> udp_sock::push_pending(cpu& cx) {
  const std::vector<u8> bytes = std::exchange(pending_bytes_, {});
  pending_ = false;
  const byte_view piece(bytes);
  send_msg whole;
  whole.iov = {&piece, 1};
  whole.name = pending_name_.view();
  return udp_->send(cx, *this, whole, gso_size_);
}

result<std::size_t> udp_sock::sendmsg(cpu& cx, const send_msg& msg) {
  if (msg.size() > 0xffff) return fail(errc::msgsize);
  if ((msg.flags & msg_oob) != 0) return fail(errc::opnotsupp);
  const bool more = corked_ || (msg.flags & msg_more) != 0;
  TRY(const u16 segment, segment_of(msg, gso_size_));
  if (!more && !pending_) return udp_->send(cx, *this, msg, segment);
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
  if (name == udp_segment) return set_segment(number);
  if (name != udp_cork) return set_coverage(name, number);
  corked_ = number != 0;
  if (!corked_ && pending_) TRY_VOID(push_pending(cx));
  return {};
}

result<std::size_t> udp_sock::getsockopt(cpu& cx, int level, int name, byte_span out) {
  if (level == sol_ip) return af_ops->getsockopt(cx, *this, name, out);
  if (!is_own_level(level)) return fail(errc::noprotoopt);
  if (name == udp_cork) return copy_bytes(out, bytes_of(s32{corked_ ? 1 : 0}));
  if (name == udp_segment) return copy_bytes(out, bytes_of(s32{gso_size_}));
  const bool sends = name == udplite_send_cscov;
  if (!flavour_.lite() || (!sends && name != udplite_recv_cscov)) return fail(errc::noprotoopt);
  return copy_bytes(out, bytes_of(s32{(sends ? send_coverage : recv_coverage).value_or(0)}));
}

/// UDP-Lite sockets know UDP's level as well.
bool udp_sock::is_own_level(int level) const {
  return level == sol_udp || (flavour_.lite() && level == sol_udplite);
}

result<void> udp_sock::set_segment(s32 size) {
  if (size < 0 || size > 0xffff) return fail(errc::inval);
  gso_size_ = static_cast<u16>(size);
  return {};
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
