// UDP sockets (RFC 768, udp(7)): ports, demultiplexing, the calls. What a family does for them is
// in udp_ipv4.cpp.
#include "net/udp/udp.h"

#include <algorithm>
#include <bit>

#include "net/udp/udp_table.h"
#include "uapi/inet.h"
#include "uapi/socket.h"
#include "wire/udp.h"

namespace ph {

using namespace uapi;

// --- HOT: receiving ---------------------------------------------------------------------------

bool udp_matches(const udp_sock& sk, const udp_flow& flow) {
  if (!covers(sk.rcv_saddr, flow.daddr)) return false;
  if (!sk.daddr.is_any() && sk.daddr != flow.saddr) return false;
  if (sk.dport && sk.dport != flow.sport) return false;
  return !sk.opt.bound_dev_if || sk.opt.bound_dev_if.value == flow.iif;
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
  const u32 size = sk.outside != nullptr ? memory_of_copy(skb.len()) : skb.truesize;
  return sk.rcvbuf_fits([&](u32 used) { return used == 0 || u64{used} + size <= sk.opt.rcvbuf; });
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
    const auto port = table().ports.bind_datagram_ephemeral(*this, low, high, cx.random());
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
  if (sport) enter_tables();
  return {};
}

result<void> udp_sock::autobind(cpu& cx) {
  if (sport) return {};
  const auto [low, high] = af_ops->local_port_range(*this);
  const auto port = table().ports.bind_datagram_ephemeral(*this, low, high, cx.random());
  if (!port) return fail(errc::again);
  enter_tables();
  return {};
}

void udp_sock::enter_tables() {
  count_willingness();
  table().insert(*this);
}

udp_table& udp_sock::table() const { return net().slots().get(flavour_.key); }

void udp_sock::give_port_back() {
  if (!sport) return;
  table().erase(*this);
  if (std::exchange(unwilling_, false)) inet_ports::count_unwilling(*this, false);
  table().ports.release(*this);
  sport = {};
}

void udp_sock::count_willingness() {
  if (!sport || unwilling_ == !opt.reuseaddr) return;
  unwilling_ = !opt.reuseaddr;
  inet_ports::count_unwilling(*this, unwilling_);
}

void udp_sock::option_changed(cpu&, int name) {
  switch (name) {
    case so_reuseaddr: return count_willingness();
    case so_bindtodevice:
    case so_bindtoifindex:
    case so_incoming_cpu:
      if (sport) table().rehash(*this);
      return;
    default: return;
  }
}

result<void> udp_sock::connect(cpu& cx, byte_view addr) {
  if (addr.size() < 2) return fail(errc::inval);
  if (sockaddr_family(addr) == af_unspec) {
    keep_destination();
    udp_->disconnect(*this);
    if (!port_bound) give_port_back();
    if (sport) table().rehash(*this);
    return {};
  }
  TRY_VOID(autobind(cx));
  const result<void> connected = udp_->connect(cx, *this, addr);
  if (connected && pending_) pending_->name.len = 0;
  table().rehash(*this);
  return connected;
}

result<void> udp_sock::shutdown(cpu&, u8 how) { return udp_->shutdown(*this, how); }

void udp_sock::close(cpu& cx) {
  udp_->closed(cx, *this);
  give_port_back();
  receive_queue.purge(cx, drop_reason::socket_closed);
  error_queue.purge(cx, drop_reason::socket_closed);
}

/// Errors: inval (it is in no group, and cannot begin one any more), noent (there is none).
result<void> udp_sock::set_chooser(std::shared_ptr<const cbpf_program> program) {
  if (!program) {
    if (!group && !opt.reuseport) return fail(errc::inval);
    if (!group || !group->chooser) return fail(errc::noent);
    group->chooser.reset();
    return {};
  }
  if (!group) {
    if (sport || !opt.reuseport) return fail(errc::inval);
    group = make_ref<udp_group>();
    group->add(*this);
  }
  group->chooser = std::move(program);
  return {};
}

// --- data -------------------------------------------------------------------------------------

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

/// The first piece of a datagram that waits (MSG_MORE, UDP_CORK) says where it goes, and how. As
/// Linux: a connect() since then sends it to the new peer, whatever name it had. Errors: as for
/// sending it.
result<void> udp_sock::begin_pending(cpu& cx, const send_msg& msg) {
  TRY(const u16 segment, segment_of(msg, gso_size_));
  TRY_VOID(udp_->admit(cx, *this, msg));
  pending_ = std::make_unique<pending_datagram>();
  pending_->control.assign(msg.control.begin(), msg.control.end());
  pending_->name.len = static_cast<u32>(msg.name.size());
  copy_bytes(pending_->name.bytes, msg.name);
  pending_->flags = msg.flags & ~u32{msg_more};
  pending_->segment = segment;
  return {};
}

/// The peer is about to be forgotten; a datagram that waits still goes there.
void udp_sock::keep_destination() {
  if (!pending_ || pending_->name.len != 0) return;
  if (const auto peer = udp_->getname(*this, true)) pending_->name = *peer;
}

result<void> udp_sock::append_pending(const send_msg& msg) {
  const std::size_t len = msg.size();
  constexpr std::size_t most = 65535 - sizeof(udphdr) - 20;
  std::vector<u8>& bytes = pending_->bytes;
  const std::size_t before = bytes.size();
  if (before + len > most) {
    pending_.reset();  // Linux: the whole pending datagram is lost
    return fail(errc::msgsize);
  }
  bytes.resize(before + len);
  msg_reader(msg.iov).read(byte_span(bytes).subspan(before));
  return {};
}

result<std::size_t> udp_sock::push_pending(cpu& cx) {
  TRY_VOID(autobind(cx));  // a disconnect may have taken the port
  const std::unique_ptr<pending_datagram> all = std::exchange(pending_, nullptr);
  const byte_view piece(all->bytes);
  send_msg whole;
  whole.iov = {&piece, 1};
  whole.name = all->name.view();
  whole.control = all->control;
  whole.flags = all->flags;
  return udp_->send(cx, *this, whole, {all->segment, true});
}

result<std::size_t> udp_sock::sendmsg(cpu& cx, const send_msg& msg) {
  TRY_VOID(autobind(cx));
  if (msg.size() > 0xffff) return fail(errc::msgsize);
  if ((msg.flags & msg_oob) != 0) return fail(errc::opnotsupp);
  const bool more = corked_ || (msg.flags & msg_more) != 0;
  if (!more && !pending_) {
    TRY(const u16 segment, segment_of(msg, gso_size_));
    return udp_->send(cx, *this, msg, {segment});
  }
  // As Linux: MSG_PROBE adds nothing to what waits, and lets it go as any other piece would.
  if ((msg.flags & msg_proxy) == 0) {
    if (!pending_) TRY_VOID(begin_pending(cx, msg));
    TRY_VOID(append_pending(msg));
  } else if (!pending_) {
    TRY_VOID(udp_->admit(cx, *this, msg));
  }
  if (!more) TRY_VOID(push_pending(cx));
  return msg.size();
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
  // As Linux: what becomes of the datagram is no error of the option's.
  if (!corked_ && pending_) static_cast<void>(push_pending(cx));
  return {};
}

result<std::size_t> udp_sock::getsockopt(cpu& cx, int level, int name, byte_span out) {
  if (level == sol_ip) return af_ops->getsockopt(cx, *this, name, out);
  if (!is_own_level(level)) return fail(errc::opnotsupp);
  if (name == udp_cork) return copy_bytes(out, bytes_of(s32{corked_ ? 1 : 0}));
  if (name == udp_segment) return copy_bytes(out, bytes_of(s32{gso_size_}));
  const bool sends = name == udplite_send_cscov;
  if (!flavour_.lite() || (!sends && name != udplite_recv_cscov)) return fail(errc::noprotoopt);
  return copy_bytes(out, bytes_of(s32{(sends ? send_coverage : recv_coverage).value_or(0)}));
}

/// UDP and UDP-Lite sockets know each other's level as well.
bool udp_sock::is_own_level(int level) { return level == sol_udp || level == sol_udplite; }

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
