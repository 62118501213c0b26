// ICMP: reporting errors, answering questions, and telling transports what others report.
#include "net/ipv4/icmp.h"

#include <algorithm>

#include "net/core/net_device.h"
#include "net/core/net_namespace.h"
#include "net/ipv4/devinet.h"
#include "net/ipv4/icmp_limiter.h"
#include "net/ipv4/ip_options.h"
#include "net/ipv4/ip_output.h"
#include "net/ipv4/ipv4_net.h"
#include "net/ipv4/raw.h"
#include "net/ipv4/route.h"
#include "uapi/inet.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"

namespace ph {

using namespace uapi;

namespace {

// --- sending ----------------------------------------------------------------------------------

mib_counter out_counter(u8 type) {
  switch (type) {
    case icmp_dest_unreach: return mib::icmp_out_dest_unreachs;
    case icmp_time_exceeded: return mib::icmp_out_time_excds;
    case icmp_parameterprob: return mib::icmp_out_parm_probs;
    case icmp_redirect: return mib::icmp_out_redirects;
    case icmp_echo: return mib::icmp_out_echos;
    case icmp_echoreply: return mib::icmp_out_echo_reps;
    case icmp_timestampreply: return mib::icmp_out_timestamp_reps;
    default: return mib::none;
  }
}

/// Bytes of a packet from its network header on, wherever data stands now.
u32 network_len(const sk_buff& skb) {
  return static_cast<u32>(skb.network_bytes().size()) + skb.data_len();
}
void copy_network(const sk_buff& skb, byte_span to) {
  const std::size_t linear = copy_bytes(to, skb.network_bytes());
  if (linear < to.size()) ph_check(skb.copy_bits(skb.headlen(), to.subspan(linear)));
}

/// Sends an ICMP message whose payload is `body` bytes, filled in by `fill`.
struct icmp_answer {
  u8 type = 0, code = 0;
  u32 rest = 0;
  ipv4_addr saddr, daddr;
  u8 tos = 0;
  u32 mark = 0;
  ip_option_list options;
};

template <class Fill>
void push_answer(cpu& cx, net_namespace& net, const ref<rtable>& rt, const icmp_answer& answer,
                 u32 body, Fill&& fill) {
  constexpr auto header = static_cast<u32>(sizeof(icmphdr));
  skb_ptr skb = alloc_skb(cx, max_header + header + body);
  skb->reserve(max_header);
  const byte_span bytes = skb->put(header + body);
  fill(bytes.subspan(header));
  icmphdr& icmph = *view_as<icmphdr>(bytes);
  icmph = icmphdr{};
  icmph.type = answer.type;
  icmph.code = answer.code;
  icmph.set_rest(answer.rest);
  icmph.checksum = csum_fold(csum_add_bytes(bytes));
  net.mib().add(cx, mib::icmp_out_msgs);
  net.mib().add(cx, out_counter(answer.type));
  ip_cookie head;
  head.saddr = answer.saddr.is_any() ? rt->saddr : answer.saddr;
  head.daddr = answer.daddr;
  head.protocol = ipproto_icmp;
  head.tos = answer.tos;
  head.ttl = static_cast<u8>(ipv4_of(net).sysctl.ip_default_ttl);
  head.options = answer.options.view();
  skb->mark = answer.mark;
  static_cast<void>(ip_send_skb(cx, net, rt, std::move(skb), head, nullptr));
}

/// RFC 1122 §3.2.2: no error about an error, a fragment that is not the first, a packet to a
/// group, or from something that is not a single host.
bool may_report(const sk_buff& about, const ipv4_net& v4, u8 type) {
  if (about.pkt_type != packet_type_for::host) return false;
  const byte_view bytes = about.network_bytes();
  const iphdr* iph = view_as<iphdr>(bytes);
  if (iph == nullptr || iph->fragment_offset() != 0) return false;
  if (about.dst) {
    const route_type to = static_cast<const rtable&>(*about.dst).type;
    if (to == route_type::broadcast || to == route_type::multicast) return false;
  }
  const route_type to = v4.fib.addr_type(iph->daddr);
  if (to == route_type::broadcast || to == route_type::multicast) return false;
  const route_type from = v4.fib.addr_type(iph->saddr);
  if (from == route_type::broadcast || from == route_type::multicast) return false;
  if (!icmp_is_error(type) || iph->protocol != ipproto_icmp) return true;
  if (bytes.size() <= iph->header_bytes()) return false;
  const u8 inner = bytes[iph->header_bytes()];
  return inner <= nr_icmp_types && !icmp_is_error(inner);
}

bool within_limits(cpu& cx, net_namespace& net, const rtable& rt, ipv4_addr daddr, u8 type,
                   u8 code) {
  ipv4_net& v4 = ipv4_of(net);
  if (type > nr_icmp_types || (v4.sysctl.icmp_ratemask & (1 << type)) == 0) return true;
  if (type == icmp_dest_unreach && code == icmp_frag_needed) return true;  // path MTU discovery
  if (rt.dev->is_loopback()) return true;
  if (v4.icmp_limits->allow(v4.sysctl, daddr, cx.now())) return true;
  net.mib().add(cx, mib::icmp_out_rate_limit_host);
  return false;
}

/// `options`: what the answer shows again (RFC 1122 §3.2.2).
void send_error(cpu& cx, const sk_buff& about, u8 type, u8 code, u32 info, byte_view options) {
  net_namespace& net = about.dev->net();
  ipv4_net& v4 = ipv4_of(net);
  if (!may_report(about, v4, type)) return;
  const iphdr& iph = about.network_header<iphdr>();
  icmp_answer answer;
  answer.type = type;
  answer.code = code;
  answer.rest = info;
  answer.daddr = iph.saddr;
  auto shown = ip_options_echo(net, options);
  if (!shown) return;
  answer.options = *shown;
  // RFC 1812 §4.3.2.5: network control precedence, the type of service of the packet at fault.
  answer.tos = static_cast<u8>((iph.tos & iptos_tos_mask) | iptos_prec_internetcontrol);
  // The packet's destination answers, if it is one of our addresses.
  if (v4.fib.addr_type(iph.daddr) == route_type::local) {
    answer.saddr = iph.daddr;
  } else if (v4.sysctl.icmp_errors_use_inbound_ifaddr != 0) {
    answer.saddr = inet_select_addr(*about.dev, {}, static_cast<u8>(route_scope::link));
  }
  flowi4 flow;
  flow.daddr = answer.daddr;
  flow.saddr = answer.saddr;
  flow.tos = answer.tos;
  flow.proto = ipproto_icmp;
  const result<ref<rtable>> rt = ip_route_output(cx, net, flow);
  if (!rt || !within_limits(cx, net, **rt, answer.daddr, type, code)) return;
  // RFC 1812 §4.3.2.3: as much of the packet as fits into 576 bytes.
  const auto room = static_cast<u32>(576 - sizeof(iphdr) - answer.options.len - sizeof(icmphdr));
  const u32 body = std::min(network_len(about), room);
  push_answer(cx, net, *rt, answer, body, [&](byte_span to) { copy_network(about, to); });
}

}  // namespace

void icmp_send(cpu& cx, const sk_buff& about, u8 type, u8 code, u32 info) {
  if (about.dev == nullptr || !about.has_network_header()) return;
  send_error(cx, about, type, code, info, ip_options_of(about));
}

void icmp_parameter_problem(cpu& cx, const sk_buff& about, u8 pointer, std::size_t good) {
  send_error(cx, about, icmp_parameterprob, 0, u32{pointer} << 24,
             ip_options_of(about).first(good));
}

icmp_error icmp_error_of(u8 type, u8 code) {
  using enum icmp_kind;
  struct row {
    errc error;
    bool fatal;
    icmp_kind kind = other;
  };
  constexpr auto nonet = static_cast<errc>(64);
  constexpr row unreachable[nr_icmp_unreach + 1] = {{errc::netunreach, false, net_unreachable},
                                                    {errc::hostunreach, false, host_unreachable},
                                                    {errc::noprotoopt, true, protocol_unreachable},
                                                    {errc::connrefused, true, port_unreachable},
                                                    {errc::msgsize, false, packet_too_big},
                                                    {errc::opnotsupp, false},
                                                    {errc::netunreach, true},
                                                    {errc::hostdown, true},
                                                    {nonet, true},
                                                    {errc::netunreach, true},
                                                    {errc::hostunreach, true},
                                                    {errc::netunreach, false},
                                                    {errc::hostunreach, false},
                                                    {errc::hostunreach, true},
                                                    {errc::hostunreach, true},
                                                    {errc::hostunreach, true}};
  icmp_error out;
  out.type = type;
  out.code = code;
  if (type == icmp_dest_unreach && code <= nr_icmp_unreach) {
    out.error = unreachable[code].error;
    out.fatal = unreachable[code].fatal;
    out.kind = unreachable[code].kind;
  } else if (type == icmp_time_exceeded) {
    out.error = errc::hostunreach;
    out.kind = time_exceeded;
  } else if (type == icmp_parameterprob) {
    out.error = errc::proto;
    out.kind = parameter_problem;
    out.fatal = true;
  } else if (type == icmp_redirect) {
    out.kind = redirect;
  }
  return out;
}

namespace {

// --- receiving --------------------------------------------------------------------------------

class icmp_protocol final : public inet_protocol {
 public:
  void rcv(cpu& cx, net_namespace& net, skb_ptr skb) override;
  /// Errors about ICMP messages of ours: for ping and raw sockets.
  void err(cpu& cx, net_namespace& net, const icmp_error& error, const sk_buff& icmp) override {
    if (error.quoted.empty()) return;
    if (error.quoted[0] == icmp_echo) return ping_err(cx, net, error, icmp);
    if (error.quoted[0] != icmp_echoreply) return;
    // No socket sent the answer, but the host itself may have.
    if (ipv4_of(net).fib.addr_type(error.laddr.ipv4()) != route_type::local) return;
    if (error.kind == icmp_kind::redirect) return ip_rt_redirect(cx, net, error);
    if (error.kind != icmp_kind::packet_too_big) return;
    ip_rt_update_pmtu(cx, net, error.raddr.ipv4(), error.info);
  }

 private:
  static void count_in(cpu& cx, net_namespace& net, u8 type);
  static void dispatch(cpu& cx, net_namespace& net, skb_ptr skb);
  static void reply(cpu& cx, net_namespace& net, const sk_buff& skb, u8 type);
  static bool report(cpu& cx, net_namespace& net, sk_buff& skb);
};

void icmp_protocol::count_in(cpu& cx, net_namespace& net, u8 type) {
  mib_counter counter;
  switch (type) {
    case icmp_dest_unreach: counter = mib::icmp_in_dest_unreachs; break;
    case icmp_time_exceeded: counter = mib::icmp_in_time_excds; break;
    case icmp_parameterprob: counter = mib::icmp_in_parm_probs; break;
    case icmp_source_quench: counter = mib::icmp_in_src_quenchs; break;
    case icmp_redirect: counter = mib::icmp_in_redirects; break;
    case icmp_echo: counter = mib::icmp_in_echos; break;
    case icmp_echoreply: counter = mib::icmp_in_echo_reps; break;
    case icmp_timestamp: counter = mib::icmp_in_timestamps; break;
    case icmp_timestampreply: counter = mib::icmp_in_timestamp_reps; break;
    case icmp_address: counter = mib::icmp_in_addr_masks; break;
    case icmp_addressreply: counter = mib::icmp_in_addr_mask_reps; break;
    default: return;
  }
  net.mib().add(cx, counter);
}

void icmp_protocol::rcv(cpu& cx, net_namespace& net, skb_ptr skb) {
  PH_TRACE(cx, *skb);
  net.mib().add(cx, mib::icmp_in_msgs);
  if (skb->ip_summed != checksum_state::unnecessary &&
      !csum_ok(skb->checksum(0, skb->len()))) {
    return drop(cx, std::move(skb), drop_reason::icmp_csum);
  }
  if (!skb->may_pull(cx, sizeof(icmphdr))) {
    return drop(cx, std::move(skb), drop_reason::icmp_malformed);
  }
  skb->set_transport_header();
  const u8 type = skb->transport_header<icmphdr>().type;
  count_in(cx, net, type);
  const route_type to = static_cast<const rtable&>(*skb->dst).type;
  if (to == route_type::broadcast || to == route_type::multicast) {
    // RFC 1122 §3.2.2.6, §3.2.2.8: questions to a group may be ignored, and are.
    const bool question = type == icmp_echo || type == icmp_timestamp;
    if (question && ipv4_of(net).sysctl.icmp_echo_ignore_broadcasts != 0) {
      net.mib().add(cx, mib::icmp_in_errors);
      return drop(cx, std::move(skb), drop_reason::icmp_echo_ignored);
    }
    if (!question && type != icmp_address && type != icmp_addressreply) {
      return drop(cx, std::move(skb), drop_reason::icmp_unknown_type);
    }
  }
  dispatch(cx, net, std::move(skb));
}

void icmp_protocol::dispatch(cpu& cx, net_namespace& net, skb_ptr skb) {
  const u8 type = skb->transport_header<icmphdr>().type;
  switch (type) {
    case icmp_echo:
      if (ipv4_of(net).sysctl.icmp_echo_ignore_all != 0) {
        return drop(cx, std::move(skb), drop_reason::icmp_echo_ignored);
      }
      reply(cx, net, *skb, icmp_echoreply);
      return consume(cx, std::move(skb));
    case icmp_timestamp:
      if (skb->len() < sizeof(icmphdr) + sizeof(be32)) {  // the time when it was sent, at least
        return drop(cx, std::move(skb), drop_reason::icmp_malformed);
      }
      reply(cx, net, *skb, icmp_timestampreply);
      return consume(cx, std::move(skb));
    case icmp_echoreply:
      if (!ping_rcv(cx, net, *skb)) return drop(cx, std::move(skb), drop_reason::icmp_no_socket);
      return consume(cx, std::move(skb));
    case icmp_dest_unreach:
    case icmp_time_exceeded:
    case icmp_parameterprob:
    case icmp_redirect:
      if (!report(cx, net, *skb)) return drop(cx, std::move(skb), drop_reason::icmp_malformed);
      return consume(cx, std::move(skb));
    case icmp_source_quench:  // RFC 6633: ignored
    case icmp_router_advert: case icmp_router_solicit: case icmp_timestampreply:
    case icmp_info_request: case icmp_info_reply: case icmp_address: case icmp_addressreply:
      return consume(cx, std::move(skb));
    default:
      // RFC 1122 §3.2.2: discarded. As Linux, only what is beyond the numbers it knows is an error.
      if (type <= nr_icmp_types || type == icmp_ext_echo || type == icmp_ext_echoreply) {
        return consume(cx, std::move(skb));
      }
      return drop(cx, std::move(skb), drop_reason::icmp_unknown_type);
  }
}

/// Echo and timestamp replies: the message comes back from the address it was sent to
/// (RFC 1122 §3.2.2.6), or from the interface's when that was a group.
void icmp_protocol::reply(cpu& cx, net_namespace& net, const sk_buff& skb, u8 type) {
  const iphdr& iph = skb.network_header<iphdr>();
  icmp_answer answer;
  answer.type = type;
  if (type == icmp_echoreply) answer.code = skb.transport_header<icmphdr>().code;
  answer.rest = skb.transport_header<icmphdr>().rest();
  answer.daddr = iph.saddr;
  if (static_cast<const rtable&>(*skb.dst).type == route_type::local) answer.saddr = iph.daddr;
  answer.tos = iph.tos;
  auto options = ip_options_echo(net, ip_options_of(skb));
  if (!options) return;
  answer.options = *options;
  flowi4 flow;
  flow.daddr = answer.daddr;
  flow.saddr = answer.saddr;
  flow.tos = iph.tos;
  flow.proto = ipproto_icmp;
  const result<ref<rtable>> rt = ip_route_output(cx, net, flow);
  if (!rt) return;
  const u32 asked = skb.len() - static_cast<u32>(sizeof(icmphdr));
  constexpr u32 three_times = 3 * sizeof(be32);
  const u32 body = type == icmp_timestampreply ? three_times : asked;
  push_answer(cx, net, *rt, answer, body, [&](byte_span to) {
    if (type != icmp_timestampreply) {
      ph_check(skb.copy_bits(sizeof(icmphdr), to));
      return;
    }
    // RFC 792: when it was sent, when it came, when the answer goes.
    ph_check(skb.copy_bits(sizeof(icmphdr), to.first(sizeof(be32))));
    const be32 now(ip_timestamp(cx));
    copy_bytes(to.subspan(4), bytes_of(now));
    copy_bytes(to.subspan(8), bytes_of(now));
  });
}

/// Reads the quoted packet and tells raw sockets and its transport. False: malformed.
bool icmp_protocol::report(cpu& cx, net_namespace& net, sk_buff& skb) {
  constexpr u32 quote_at = sizeof(icmphdr);
  if (!skb.may_pull(cx, quote_at + static_cast<u32>(sizeof(iphdr)))) return false;
  const iphdr* quoted = view_as<iphdr>(skb.data(), quote_at);
  const auto header = static_cast<u32>(quoted->header_bytes());
  if (header < sizeof(iphdr)) return false;
  // RFC 792: at least eight bytes of the transport.
  if (!skb.may_pull(cx, quote_at + header + 8)) return false;
  skb.linearize(cx);
  quoted = view_as<iphdr>(skb.data(), quote_at);
  const icmphdr& icmph = *view_as<icmphdr>(skb.data());
  if (icmph.type == icmp_dest_unreach && icmph.code > nr_icmp_unreach) return true;
  // Fragments that never met: no error of whom they were for (Linux).
  if (icmph.type == icmp_time_exceeded && icmph.code == icmp_exc_fragtime) return true;

  icmp_error error = icmp_error_of(icmph.type, icmph.code);
  error.laddr = inet_addr::of(quoted->saddr);
  error.raddr = inet_addr::of(quoted->daddr);
  error.dev = ifindex(skb.skb_iif);
  error.offender = inet_addr::of(skb.network_header<iphdr>().saddr);
  error.quoted = skb.data().subspan(quote_at + header);
  if (icmph.type == icmp_parameterprob) error.info = icmph.pointer();
  if (icmph.type == icmp_redirect) error.info = icmph.rest();  // the gateway
  const u8 protocol = quoted->protocol;
  if (icmph.type == icmp_dest_unreach && icmph.code == icmp_frag_needed) {
    if (ipv4_of(net).sysctl.ip_no_pmtu_disc != 0) return true;
    error.info = icmph.frag_mtu();  // a transport learns it when the packet can be its own
  }
  raw_icmp_error(cx, net, error, skb, protocol);
  inet_protocol* handler = ipv4_of(net).protocols.handlers[protocol].get();
  if (handler != nullptr) handler->err(cx, net, error, skb);
  return true;
}

}  // namespace

void icmp_init(net_namespace& net) {
  ipv4_of(net).protocols.handlers[ipproto_icmp] = std::make_unique<icmp_protocol>();
}

}  // namespace ph
