// SOL_IP options by table, control messages, and the error queue of IP_RECVERR (ip(7)).
#include "net/ipv4/ip_sockglue.h"

#include <algorithm>

#include "net/core/net_device.h"
#include "net/core/net_namespace.h"
#include "net/ipv4/devinet.h"
#include "net/ipv4/ip_mc_options.h"
#include "net/ipv4/ip_options.h"
#include "net/ipv4/ipv4_net.h"
#include "net/ipv4/route.h"
#include "uapi/inet.h"
#include "uapi/socket.h"
#include "wire/checksum.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"

namespace ph {

using namespace uapi;

namespace {

struct flag_option {
  int name;
  bool inet_options::* member;
};
constexpr flag_option flags[] = {
    {ip_recverr, &inet_options::recverr},
    {ip_recverr_rfc4884, &inet_options::recverr_rfc4884},
    {ip_pktinfo, &inet_options::pktinfo},
    {ip_recvttl, &inet_options::recvttl},
    {ip_recvtos, &inet_options::recvtos},
    {ip_recvopts, &inet_options::recvopts},
    {ip_retopts, &inet_options::retopts},
    {ip_recvorigdstaddr, &inet_options::recvorigdstaddr},
    {ip_recvfragsize, &inet_options::recvfragsize},
    {ip_checksum, &inet_options::checksum},
    {ip_passsec, &inet_options::passsec},
    {ip_nodefrag, &inet_options::nodefrag},
    {ip_freebind, &inet_options::freebind},
    {ip_bind_address_no_port, &inet_options::bind_address_no_port},
    {ip_multicast_loop, &inet_options::mc_loop},
    {ip_multicast_all, &inet_options::mc_all},
};

bool inet_options::* flag_member(int name) {
  for (const flag_option& option : flags) {
    if (option.name == name) return option.member;
  }
  return nullptr;
}

/// IP options take an int or a single byte; nothing is 0.
s32 int_value(byte_view value) {
  if (value.size() >= sizeof(s32)) return byte_reader(value).take<s32>();
  return value.empty() ? 0 : s32{value[0]};
}

/// As Linux: what a value must look like differs from option to option.
bool well_formed(int name, byte_view value) {
  switch (name) {
    case ip_minttl:
    case ip_transparent:
    case ip_multicast_ttl:
    case ip_multicast_loop:
    case ip_freebind: return !value.empty();
    case ip_multicast_all: return !value.empty() && (int_value(value) & ~1) == 0;
    case ip_recverr_rfc4884: return value.empty() || (int_value(value) & ~1) == 0;
    default: return true;
  }
}

/// Some are for sockets of some types only. Nothing comes of three of them: no device of ours sums
/// packets for IP_CHECKSUM, no security module labels them for IP_PASSSEC, and nothing reassembles
/// what is sent, which IP_NODEFRAG would spare. Errors: inval, noprotoopt.
result<void> check_type(const inet_sock& sk, int name) {
  const bool raw = sk.type() == sock_raw;
  switch (name) {
    case ip_recvfragsize: return sk.type() != sock_stream ? result<void>{} : fail(errc::inval);
    case ip_nodefrag: return raw ? result<void>{} : fail(errc::noprotoopt);
    case ip_router_alert:
      return fail(raw && sk.protocol() != ipproto_raw ? errc::noprotoopt : errc::inval);
    default: return {};
  }
}

/// The queueing priority that a type of service stands for (RFC 1349; tc-prio(8)).
u32 tos_priority(u8 tos) {
  constexpr std::array<u8, 4> by_class = {0, 2, 6, 4};
  return by_class[(tos >> 3) & 3u];
}

void set_tos(inet_sock& sk, s32 value) {
  auto tos = static_cast<u8>(value);
  if (sk.type() == sock_stream) {
    tos = static_cast<u8>((tos & ~iptos_ecn_mask) | (sk.inet.tos & iptos_ecn_mask));
  }
  if (sk.inet.tos == tos) return;
  sk.inet.tos = tos;
  sk.opt.priority = tos_priority(tos);
  sk.dst.reset();
}

/// IP options as packets carry them: padded. Errors: inval.
result<std::vector<u8>> compile_ip_options(byte_view value) {
  if (value.size() > max_ipoptlen) return fail(errc::inval);
  std::vector<u8> options(value.begin(), value.end());
  options.resize((options.size() + 3) / 4 * 4, ipopt_eol);
  const auto parsed = parse_ipv4_options(options);
  if (!parsed || parsed->srr != 0) return fail(errc::inval);  // source routes are not sent
  return options;
}

result<void> set_unicast_if(inet_sock& sk, byte_view value) {
  if (value.size() != sizeof(be32)) return fail(errc::inval);
  const ifindex index(byte_reader(value).take<be32>().value());
  if (index && sk.net().device(index) == nullptr) return fail(errc::addrnotavail);
  sk.inet.uc_index = index;
  return {};
}

result<void> set_port_range(inet_sock& sk, byte_view value) {
  if (value.size() != sizeof(u32)) return fail(errc::inval);
  const u32 both = byte_reader(value).take<u32>();
  const auto low = static_cast<u16>(both), high = static_cast<u16>(both >> 16);
  if (low != 0 && high != 0 && low > high) return fail(errc::inval);
  sk.inet.local_port_low = low;
  sk.inet.local_port_high = high;
  return {};
}

result<void> set_int(inet_sock& sk, int name, s32 value) {
  switch (name) {
    case ip_tos: set_tos(sk, value); return {};
    case ip_ttl:
      if (value != -1 && (value < 1 || value > 255)) return fail(errc::inval);
      sk.inet.uc_ttl = value;
      return {};
    case ip_mtu_discover:
      if (value < ip_pmtudisc_dont || value > ip_pmtudisc_omit) return fail(errc::inval);
      sk.inet.pmtudisc = static_cast<u8>(value);
      return {};
    case ip_minttl:
      if (value < 0 || value > 255) return fail(errc::inval);
      sk.inet.min_ttl = static_cast<u8>(value);
      return {};
    case ip_hdrincl:
      if (sk.type() != sock_raw) return fail(errc::noprotoopt);
      sk.inet.hdrincl = value != 0;
      return {};
    case ip_transparent:
      if (value != 0 && !sk.opt.net_admin) return fail(errc::perm);
      sk.inet.transparent = value != 0;
      return {};
    case ip_multicast_ttl:
      if (sk.type() == sock_stream || value < -1 || value > 255) return fail(errc::inval);
      sk.inet.mc_ttl = value == -1 ? u8{1} : static_cast<u8>(value);
      return {};
    default: return fail(errc::noprotoopt);
  }
}

result<s32> get_int(cpu& cx, inet_sock& sk, int name) {
  switch (name) {
    case ip_tos: return sk.inet.tos;
    case ip_ttl:
      return sk.inet.uc_ttl >= 0 ? sk.inet.uc_ttl : ipv4_of(sk.net()).sysctl.ip_default_ttl;
    case ip_mtu_discover: return sk.inet.pmtudisc;
    case ip_minttl: return sk.inet.min_ttl;
    case ip_hdrincl: return sk.inet.hdrincl ? 1 : 0;
    case ip_transparent: return sk.inet.transparent ? 1 : 0;
    case ip_multicast_ttl: return sk.inet.mc_ttl;
    case ip_router_alert: return 0;
    case ip_protocol_opt: return sk.sport.value;  // as Linux, whose raw sockets' port is that
    case ip_mtu:
      if (!sk.dst || sk.daddr.is_any()) return fail(errc::notconn);
      if (!rt_valid(static_cast<rtable&>(*sk.dst), cx.now())) {
        TRY_VOID(sk.af_ops->connect_route(cx, sk));
      }
      return static_cast<s32>(sk.dst->mtu(cx.now()));
    default: return fail(errc::noprotoopt);
  }
}

}  // namespace

result<void> ip_setsockopt(cpu& cx, inet_sock& sk, int name, byte_view value) {
  switch (name) {
    case ip_add_membership:
    case ip_drop_membership:
    case ip_multicast_if:
    case ip_add_source_membership:
    case ip_drop_source_membership:
    case ip_block_source:
    case ip_unblock_source:
    case mcast_join_group:
    case mcast_leave_group:
    case mcast_join_source_group:
    case mcast_leave_source_group:
    case mcast_block_source:
    case mcast_unblock_source:
    case ip_msfilter:
    case mcast_msfilter: return ip_mc_setsockopt(cx, sk, name, value);
    case ip_options: {
      TRY(sk.inet.ip_options, compile_ip_options(value));
      return {};
    }
    case ip_unicast_if: return set_unicast_if(sk, value);
    case ip_local_port_range: return set_port_range(sk, value);
    default: break;
  }
  TRY_VOID(check_type(sk, name));
  if (!well_formed(name, value)) return fail(errc::inval);
  const s32 number = int_value(value);
  if (bool inet_options::* member = flag_member(name); member != nullptr) {
    sk.inet.*member = number != 0;
    if (name == ip_recverr && number == 0) sk.error_queue.purge(cx, drop_reason::queue_purge);
    return {};
  }
  return set_int(sk, name, number);
}

result<std::size_t> ip_getsockopt(cpu& cx, inet_sock& sk, int name, byte_span out) {
  if (name == ip_options) return copy_bytes(out, sk.inet.ip_options);
  if (name == ip_multicast_if) {
    const ipv4_addr addr = sk.inet.mc_addr.is_ipv4() ? sk.inet.mc_addr.ipv4() : ipv4_addr();
    return copy_bytes(out, bytes_of(addr));
  }
  if (name == ip_unicast_if) return copy_bytes(out, bytes_of(be32(sk.inet.uc_index.value)));
  if (name == ip_msfilter || name == mcast_msfilter) return ip_mc_getsockopt(sk, name, out);
  if (name == ip_local_port_range) {
    const u32 both = sk.inet.local_port_low | (u32{sk.inet.local_port_high} << 16);
    return copy_bytes(out, bytes_of(both));
  }
  s32 value = 0;
  if (bool inet_options::* member = flag_member(name); member != nullptr) {
    value = sk.inet.*member ? 1 : 0;
  } else {
    TRY(value, get_int(cx, sk, name));
  }
  if (!out.empty() && out.size() < sizeof(s32) && value >= 0 && value <= 255) {
    out[0] = static_cast<u8>(value);
    return std::size_t{1};
  }
  return copy_bytes(out, bytes_of(value));
}

// --- control messages -------------------------------------------------------------------------

namespace {

result<void> one_send_cmsg(int type, byte_view data, ip_send_cmsg& out) {
  switch (type) {
    case ip_pktinfo: {
      if (data.size() != sizeof(in_pktinfo)) return fail(errc::inval);
      const auto info = byte_reader(data).take<in_pktinfo>();
      if (info.ipi_ifindex != 0) out.oif = ifindex(static_cast<u32>(info.ipi_ifindex));
      out.saddr.raw = info.ipi_spec_dst;
      return {};
    }
    case ip_ttl:
      if (data.size() != sizeof(s32)) return fail(errc::inval);
      out.ttl = byte_reader(data).take<s32>();
      return out.ttl < 1 || out.ttl > 255 ? fail(errc::inval) : result<void>{};
    case ip_tos: {
      if (data.size() != sizeof(s32) && data.size() != sizeof(u8)) return fail(errc::inval);
      out.tos = data.size() == sizeof(u8) ? data[0] : byte_reader(data).take<s32>();
      if (out.tos < 0 || out.tos > 255) return fail(errc::inval);
      out.priority = tos_priority(static_cast<u8>(out.tos));
      return {};
    }
    case ip_retopts: {
      TRY(out.options,
          compile_ip_options(data.first(std::min<std::size_t>(data.size(), max_ipoptlen))));
      return {};
    }
    default: return fail(errc::inval);
  }
}

}  // namespace

result<ip_send_cmsg> ip_cmsg_send(byte_view control) {
  ip_send_cmsg out;
  TRY_VOID(for_each_cmsg(control, [&](int level, int type, byte_view data) -> result<void> {
    return level == sol_ip ? one_send_cmsg(type, data, out) : result<void>{};
  }));
  return out;
}

namespace {

/// The address from which a packet would be answered: that which it came to, or, where that was a
/// group's, our own on the way back (RFC 1122 §4.1.3.5, as Linux chooses).
ipv4_addr answering_address(const inet_sock& sk, const sk_buff& skb) {
  const iphdr& iph = skb.network_header<iphdr>();
  const fib_tables& fib = ipv4_of(sk.net()).fib;
  const net_device* dev = sk.net().device(ifindex(skb.skb_iif));
  if (dev == nullptr || fib.addr_type(iph.daddr) == route_type::local) return iph.daddr;
  flowi4 back;
  back.daddr = iph.saddr;
  back.tos = iph.tos;
  const result<fib_result> way = fib.lookup(back);
  if (!iph.saddr.is_any() && way) return fib.select_source(*way, iph.saddr);
  return inet_select_addr(*dev, iph.saddr, static_cast<u8>(route_scope::link));
}

/// IP_RECVOPTS gives the options as they came, with what this host entered; IP_RETOPTS those with
/// which an answer would be sent.
void recv_ip_options(inet_sock& sk, const sk_buff& skb, recv_msg& msg) {
  const inet_options& opt = sk.inet;
  const byte_view options = ip_options_of(skb);
  if (opt.recvopts) put_cmsg(msg, sol_ip, ip_recvopts, options);
  if (!opt.retopts) return;
  const auto answer = ip_options_echo(sk.net(), options);
  if (answer && answer->len != 0) put_cmsg(msg, sol_ip, ip_retopts, answer->view());
}

}  // namespace

void ip_cmsg_recv(inet_sock& sk, const sk_buff& skb, recv_msg& msg, bool answerable) {
  const inet_options& opt = sk.inet;
  const iphdr& iph = skb.network_header<iphdr>();
  if (opt.pktinfo) {
    in_pktinfo info;
    info.ipi_ifindex = static_cast<s32>(skb.skb_iif);
    info.ipi_addr = iph.daddr.raw;
    if (answerable) info.ipi_spec_dst = answering_address(sk, skb).raw;
    put_cmsg(msg, sol_ip, ip_pktinfo, bytes_of(info));
  }
  if (opt.recvttl) put_cmsg(msg, sol_ip, ip_ttl, bytes_of(s32{iph.ttl}));
  if (opt.recvtos) put_cmsg(msg, sol_ip, ip_tos, bytes_of(iph.tos));
  if (iph.header_bytes() > sizeof(iphdr)) recv_ip_options(sk, skb, msg);
  if (opt.recvorigdstaddr) {
    sockaddr_in to;
    to.sin_family.set(af_inet);
    to.sin_addr = iph.daddr.raw;
    to.sin_port.set(sk.sport.value);
    put_cmsg(msg, sol_ip, ip_origdstaddr, bytes_of(to));
  }
  if (opt.recvfragsize && skb.frag_max_size != 0) {
    put_cmsg(msg, sol_ip, ip_recvfragsize, bytes_of(s32{skb.frag_max_size}));
  }
}

// --- the error queue --------------------------------------------------------------------------

namespace {

/// ee_data with IP_RECVERR_RFC4884: where in `payload`, the end of the quoted packet, the extension
/// structure begins (RFC 4884 §4, §5), and whether it is damaged. 0: there is none.
u32 extension_of(byte_view icmp, byte_view payload) {
  constexpr std::size_t least_quoted = 128;
  constexpr std::size_t structure_header = 4;
  constexpr std::size_t length_at = 5;  // in words, in a byte that RFC 792 left unused
  if (icmp.size() < sizeof(icmphdr)) return 0;
  const std::size_t quoted = icmp[length_at] * sizeof(u32);
  const auto skipped =
      static_cast<std::size_t>(payload.data() - icmp.data()) - sizeof(icmphdr);
  if (quoted < least_quoted || quoted < skipped) return 0;
  const std::size_t at = quoted - skipped;
  if (at + structure_header > payload.size()) return 0;
  const byte_view structure = payload.subspan(at);
  constexpr u8 version = 2;
  const bool summed = structure[2] != 0 || structure[3] != 0;
  const bool valid =
      structure[0] >> 4 == version && (!summed || csum_ok(csum_add_bytes(structure)));
  return static_cast<u32>(at) | (valid ? 0u : u32{so_ee_rfc4884_flag_invalid} << 16);
}

}  // namespace

void ip_icmp_error(cpu& cx, inet_sock& sk, const sk_buff& icmp, const icmp_error& error,
                   port_no port, byte_view payload) {
  inet_exterr what;
  what.ee.ee_errno = static_cast<u32>(error.error);
  what.ee.ee_origin = so_ee_origin_icmp;
  what.ee.ee_type = error.type;
  what.ee.ee_code = error.code;
  what.ee.ee_info = error.info;
  what.offender = error.offender;
  what.dest = error.raddr;
  what.port = port.value;
  const byte_view packet = icmp.network_bytes();
  const std::size_t header = icmp.network_header<iphdr>().header_bytes();
  if (sk.inet.recverr_rfc4884) what.ee.ee_data = extension_of(packet.subspan(header), payload);
  inet_queue_error(cx, sk, what, payload, {packet.first(header), icmp.skb_iif, icmp.tstamp});
}

void ip_local_error(cpu& cx, inet_sock& sk, errc error, ipv4_addr daddr, port_no port, u32 info) {
  if (!sk.inet.recverr) return;
  inet_exterr what;
  what.ee.ee_errno = static_cast<u32>(error);
  what.ee.ee_origin = so_ee_origin_local;
  what.ee.ee_info = info;
  what.dest = inet_addr::of(daddr);
  what.port = port.value;
  inet_queue_error(cx, sk, what, {});
}

}  // namespace ph
