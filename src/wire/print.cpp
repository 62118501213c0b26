// One line for each protocol that we speak; a generic line for the rest.
#include "wire/print.h"

#include <fmt/format.h>

#include "wire/arp.h"
#include "wire/ethernet.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"
#include "wire/tcp.h"
#include "wire/udp.h"

namespace ph {
namespace {

template <class... Args>
void add(std::string& out, fmt::format_string<Args...> text, Args&&... args) {
  fmt::format_to(std::back_inserter(out), text, std::forward<Args>(args)...);
}

std::string hex(byte_view bytes) {
  std::string out;
  for (const u8 byte : bytes) add(out, "{:02x}", byte);
  return out;
}

std::string flags_text(const tcphdr& th) {
  std::string out;
  constexpr std::string_view letters = "FSRP.UEW";  // from bit 0 up
  for (unsigned bit = 0; bit < 8; ++bit) {
    if ((th.flags >> bit) & 1) out += letters[bit];
  }
  if (th.ae()) out += 'e';
  return out.empty() ? "none" : out;
}

void add_sacks(std::string& out, byte_view data) {
  add(out, "sack {} ", data.size() / 8);
  for (std::size_t at = 0; at + 8 <= data.size(); at += 8) {
    add(out, "{{{}:{}}}", view_as<be32>(data, at)->value(), view_as<be32>(data, at + 4)->value());
  }
}

void add_tcp_option(std::string& out, const tcp_option& o) {
  const std::size_t size = o.data.size();
  if (o.kind == tcpopt_nop) {
    out += "nop";
  } else if (o.kind == tcpopt_mss && size == 2) {
    add(out, "mss {}", view_as<be16>(o.data)->value());
  } else if (o.kind == tcpopt_window && size == 1) {
    add(out, "wscale {}", o.data[0]);
  } else if (o.kind == tcpopt_sack_perm && size == 0) {
    out += "sackOK";
  } else if (o.kind == tcpopt_sack && size != 0 && size % 8 == 0) {
    add_sacks(out, o.data);
  } else if (o.kind == tcpopt_timestamp && size == 8) {
    add(out, "TS val {} ecr {}", view_as<be32>(o.data)->value(), view_as<be32>(o.data, 4)->value());
  } else if (o.kind == tcpopt_md5sig && size == 16) {
    add(out, "md5 {}", hex(o.data));
  } else if (o.kind == tcpopt_fastopen) {
    out += size == 0 ? "tfo cookiereq" : fmt::format("tfo cookie {}", hex(o.data));
  } else {
    add(out, "unknown-{} 0x{}", o.kind, hex(o.data));
  }
}

std::string tcp_text(byte_view bytes) {
  const auto tcp = tcp_view::parse(bytes);
  if (!tcp) return fmt::format("[bad tcp header], length {}", bytes.size());
  const tcphdr& th = *tcp->th;
  const std::size_t length = tcp->payload.size();
  std::string out = fmt::format("Flags [{}]", flags_text(th));
  if (length != 0) {
    add(out, ", seq {}:{}", th.seq.value(), th.seq.value() + static_cast<u32>(length));
  } else if (th.syn() || th.fin() || th.rst()) {
    add(out, ", seq {}", th.seq.value());
  }
  if (th.ack()) add(out, ", ack {}", th.ack_seq.value());
  add(out, ", win {}", th.window.value());
  if (th.urg()) add(out, ", urg {}", th.urg_ptr.value());
  if (!tcp->options.empty()) add(out, ", options [{}]", print_tcp_options(tcp->options));
  add(out, ", length {}", length);
  return out;
}

std::string udp_text(byte_view bytes) {
  const auto udp = udp_view::parse(bytes);
  if (!udp) return fmt::format("[bad udp header], length {}", bytes.size());
  return fmt::format("UDP, length {}", udp->payload.size());
}

/// "udp port 53" of the packet that an ICMP error quotes.
std::string quoted_port(const iphdr& iph, byte_view after) {
  const auto* ports = view_as<std::array<be16, 2>>(after);
  const char* name = iph.protocol == uapi::ipproto_udp   ? "udp"
                     : iph.protocol == uapi::ipproto_tcp ? "tcp"
                                                         : nullptr;
  if (name == nullptr) return fmt::format("protocol {} port", iph.protocol);
  if (ports == nullptr) return fmt::format("{} port", name);
  return fmt::format("{} port {}", name, (*ports)[1].value());
}

std::string unreachable_text(const icmphdr& icmph, byte_view quoted) {
  const iphdr* iph = view_as<iphdr>(quoted);
  if (iph == nullptr) return fmt::format("unreachable, code {}", icmph.code);
  const std::string to = iph->daddr.to_string();
  const std::size_t header = std::min(iph->header_bytes(), quoted.size());
  switch (icmph.code) {
    case uapi::icmp_net_unreach: return fmt::format("net {} unreachable", to);
    case uapi::icmp_host_unreach: return fmt::format("host {} unreachable", to);
    case uapi::icmp_prot_unreach:
      return fmt::format("{} protocol {} unreachable", to, iph->protocol);
    case uapi::icmp_port_unreach:
      return fmt::format("{} {} unreachable", to, quoted_port(*iph, quoted.subspan(header)));
    case uapi::icmp_frag_needed:
      return fmt::format("{} unreachable - need to frag (mtu {})", to, icmph.frag_mtu());
    case uapi::icmp_sr_failed: return fmt::format("{} unreachable - source route failed", to);
    case uapi::icmp_net_ano: return fmt::format("net {} unreachable - admin prohibited", to);
    case uapi::icmp_host_ano: return fmt::format("host {} unreachable - admin prohibited", to);
    case uapi::icmp_pkt_filtered:
      return fmt::format("host {} unreachable - admin prohibited filter", to);
    default: return fmt::format("{} unreachable, code {}", to, icmph.code);
  }
}

std::string icmp_text(byte_view bytes) {
  const auto icmp = icmp_view::parse(bytes);
  if (!icmp) return fmt::format("ICMP [bad header], length {}", bytes.size());
  const icmphdr& icmph = *icmp->icmph;
  std::string what;
  switch (icmph.type) {
    case uapi::icmp_echo:
    case uapi::icmp_echoreply:
      what = fmt::format("echo {}, id {}, seq {}",
                         icmph.type == uapi::icmp_echo ? "request" : "reply", icmph.echo_id(),
                         icmph.echo_sequence());
      break;
    case uapi::icmp_dest_unreach: what = unreachable_text(icmph, icmp->payload); break;
    case uapi::icmp_source_quench: what = "source quench"; break;
    case uapi::icmp_redirect: what = "redirect to " + icmph.gateway().to_string(); break;
    case uapi::icmp_time_exceeded:
      what = icmph.code == uapi::icmp_exc_ttl ? "time exceeded in-transit"
                                              : "ip reassembly time exceeded";
      break;
    case uapi::icmp_parameterprob:
      what = fmt::format("parameter problem - octet {}", icmph.pointer());
      break;
    default: what = fmt::format("type {}, code {}", icmph.type, icmph.code);
  }
  return fmt::format("ICMP {}, length {}", what, bytes.size());
}

std::string fragment_text(const ipv4_view& ip) {
  return fmt::format("frag (proto {}, id {}, offset {}{}), length {}", ip.iph->protocol,
                     ip.iph->id.value(), ip.iph->fragment_offset(),
                     ip.iph->more_fragments() ? "+" : "", ip.payload.size());
}

std::string transport_text(const ipv4_view& ip) {
  if (ip.iph->is_fragment()) return fragment_text(ip);
  switch (ip.iph->protocol) {
    case uapi::ipproto_tcp: return tcp_text(ip.payload);
    case uapi::ipproto_udp: return udp_text(ip.payload);
    case uapi::ipproto_icmp: return icmp_text(ip.payload);
    case uapi::ipproto_igmp: return fmt::format("igmp, length {}", ip.payload.size());
    default: return fmt::format("ip-proto-{}, length {}", ip.iph->protocol, ip.payload.size());
  }
}

/// ".80" for protocols with ports, else nothing.
std::string port_text(const ipv4_view& ip, std::size_t which) {
  const bool has_ports =
      ip.iph->protocol == uapi::ipproto_tcp || ip.iph->protocol == uapi::ipproto_udp;
  const auto* ports = view_as<std::array<be16, 2>>(ip.payload);
  if (!has_ports || ports == nullptr || ip.iph->is_fragment()) return "";
  return fmt::format(".{}", (*ports)[which].value());
}

std::string arp_text(byte_view payload) {
  const auto arp = arp_view::parse(payload);
  if (!arp) return fmt::format("ARP, [bad message], length {}", payload.size());
  const arp_message m = arp->message();
  std::string what;
  switch (m.op) {
    case uapi::arpop_request:
      what = fmt::format("Request who-has {} tell {}", m.tip.to_string(), m.sip.to_string());
      break;
    case uapi::arpop_reply:
      what = fmt::format("Reply {} is-at {}", m.sip.to_string(), m.sha.to_string());
      break;
    default: what = fmt::format("op {}", m.op);
  }
  return fmt::format("ARP, {}, length {}", what, payload.size());
}

}  // namespace

std::string print_tcp_options(byte_view options) {
  std::string out;
  tcp_option_reader reader(options);
  for (tcp_option o; reader.next(o);) {
    if (!out.empty()) out += ',';
    add_tcp_option(out, o);
  }
  if (reader.malformed()) out += out.empty() ? "[bad opt]" : ",[bad opt]";
  return out.empty() ? "eol" : out;
}

std::string print_ipv4(byte_view packet) {
  const auto ip = ipv4_view::parse(packet);
  if (!ip) {
    return fmt::format("IP [{}], length {}",
                       ip.error() == errc::msgsize ? "truncated" : "bad header", packet.size());
  }
  return fmt::format("IP {}{} > {}{}: {}", ip->iph->saddr.to_string(), port_text(*ip, 0),
                     ip->iph->daddr.to_string(), port_text(*ip, 1), transport_text(*ip));
}

std::string print_packet(u16 ethertype, byte_view packet) {
  switch (ethertype) {
    case uapi::eth_p_ip: return print_ipv4(packet);
    case uapi::eth_p_arp: return arp_text(packet);
    case uapi::eth_p_ipv6: return fmt::format("IP6, length {}", packet.size());
    default: return fmt::format("ethertype 0x{:04x}, length {}", ethertype, packet.size());
  }
}

std::string print_ethernet(byte_view frame) {
  const auto eth = ethernet_view::parse(frame);
  if (!eth) return fmt::format("[bad ethernet header], length {}", frame.size());
  u16 ethertype = eth->eth->h_proto.value();
  byte_view payload = eth->payload;
  std::string out;
  while (eth_type_vlan(ethertype)) {
    const auto* vlan = view_as<vlan_hdr>(payload);
    if (vlan == nullptr) return out + "vlan [bad tag]";
    add(out, "vlan {}, p {}, ", vlan->vid(), vlan->pcp());
    ethertype = vlan->h_vlan_encapsulated_proto.value();
    payload = payload.subspan(sizeof(vlan_hdr));
  }
  if (ethertype != uapi::eth_p_ip && ethertype != uapi::eth_p_arp) {
    add(out, "{} > {}, ", eth->eth->h_source.to_string(), eth->eth->h_dest.to_string());
  }
  return out + print_packet(ethertype, payload);
}

}  // namespace ph
