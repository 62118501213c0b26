// Building and comparing packets.
#include "sim/packetdrill/segments.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>

#include "wire/icmp.h"
#include "wire/ipv4.h"
#include "wire/tcp.h"
#include "wire/udp.h"

namespace ph::packetdrill {
namespace {

using kind = tcp_option_spec::kind_type;

u32 to_live_seq(const flow& f, u32 script) { return script + f.isn_offset; }

/// The script's ecr of our timestamp, as the host sent it.
u32 to_live_ecr(const flow& f, u32 script) {
  const auto found = f.ts_live.find(script);
  if (found != f.ts_live.end()) return found->second;
  return f.ts_known ? script + f.ts_offset : script;
}

void append(std::vector<u8>& out, byte_view bytes) {
  out.insert(out.end(), bytes.begin(), bytes.end());
}

void append_u32(std::vector<u8>& out, u32 value) { append(out, bytes_of(be32(value))); }

/// Kind, length and 24-bit counters (RFC 9768 §3.2.3).
void append_accecn(std::vector<u8>& out, const tcp_option_spec& option) {
  out.push_back(option.flag ? tcpopt_accecn1 : tcpopt_accecn0);
  out.push_back(static_cast<u8>(2 + 3 * option.counters.size()));
  for (const u32 counter : option.counters) {
    for (const int shift : {16, 8, 0}) out.push_back(static_cast<u8>(counter >> shift));
  }
}

void append_option(std::vector<u8>& out, const tcp_option_spec& option, const flow& f) {
  const auto head = [&](u8 code, std::size_t len) {
    out.push_back(code);
    out.push_back(static_cast<u8>(len));
  };
  switch (option.kind) {
    case kind::eol: out.push_back(tcpopt_eol); break;
    case kind::nop: out.push_back(tcpopt_nop); break;
    case kind::mss:
      head(tcpopt_mss, 4);
      append(out, bytes_of(be16(static_cast<u16>(option.value))));
      break;
    case kind::wscale:
      head(tcpopt_window, 3);
      out.push_back(static_cast<u8>(option.value));
      break;
    case kind::sack_ok: head(tcpopt_sack_perm, 2); break;
    case kind::sack:
      head(tcpopt_sack, 2 + 8 * option.blocks.size());
      for (const auto& [from, to] : option.blocks) {
        append_u32(out, to_live_seq(f, from));
        append_u32(out, to_live_seq(f, to));
      }
      break;
    case kind::timestamp:
      head(tcpopt_timestamp, 10);
      append_u32(out, option.value);
      append_u32(out, to_live_ecr(f, option.value2));
      break;
    case kind::fast_open:
      head(tcpopt_fastopen, 2 + option.bytes.size());
      append(out, option.bytes);
      break;
    case kind::fast_open_exp:
      head(tcpopt_exp, 4 + option.bytes.size());
      append(out, bytes_of(be16(tcpopt_fastopen_magic)));
      append(out, option.bytes);
      break;
    case kind::md5: {
      head(tcpopt_md5sig, 18);
      std::vector<u8> digest = option.bytes;
      digest.resize(16);
      append(out, digest);
      break;
    }
    case kind::accecn: append_accecn(out, option); break;
  }
}

std::vector<u8> build_tcp(const packet_spec& spec, const flow& f) {
  std::vector<u8> options;
  for (const tcp_option_spec& option : spec.options) append_option(options, option, f);
  while (options.size() % 4 != 0) options.push_back(tcpopt_eol);
  std::vector<u8> out(sizeof(tcphdr));
  tcphdr th;
  th.source = be16(f.remote_port);
  th.dest = be16(f.local_port);
  // SYNs carry the script's absolute numbers, everything else counts from the ISNs.
  const bool syn = (spec.flags & tcphdr_syn) != 0;
  const bool absolute = syn || spec.absolute_seq;
  th.seq = be32(absolute ? spec.seq : spec.seq + f.remote_isn);
  // Who writes no number acknowledges zero, which is our SYN.
  const u32 ack = spec.ack.value_or(0);
  const bool acks = (spec.flags & tcphdr_ack) != 0 || spec.ack;
  th.ack_seq = be32(acks ? to_live_seq(f, syn && spec.ack ? ack - f.script_isn : ack) : 0);
  th.set_header_bytes(sizeof(tcphdr) + options.size());
  if (spec.ae) th.doff_res |= 1;
  th.flags = spec.flags;
  th.window = be16(spec.window.value_or(0));
  th.urg_ptr = be16(spec.urgent.value_or(0));
  append(out, options);
  out.resize(out.size() + spec.payload);  // zeros, as the genuine packetdrill sends
  copy_bytes(out, bytes_of(th));
  const csum_partial pseudo = csum_pseudo_ipv4(f.remote, f.local, uapi::ipproto_tcp,
                                               static_cast<u16>(out.size()));
  th.check = csum_fold(csum_add_bytes(out, pseudo));
  copy_bytes(out, bytes_of(th));
  return out;
}

/// What a router quotes of a packet that the host sent.
std::vector<u8> build_quote(const packet_spec& spec, const flow& f) {
  std::vector<u8> out(sizeof(iphdr) + 8);
  ipv4_header ip;
  ip.saddr = f.local;
  ip.daddr = f.remote;
  ip.ttl = 63;
  ip.protocol = uapi::ipproto_tcp;
  emit(out, ip, sizeof(tcphdr) + spec.payload);
  byte_writer rest(byte_span(out).subspan(sizeof(iphdr)));
  rest.put(be16(f.local_port));
  rest.put(be16(f.remote_port));
  rest.put(be32(spec.has_tcp ? to_live_seq(f, spec.seq) : to_live_seq(f, 0)));
  return out;
}

std::vector<u8> build_icmp(const packet_spec& spec, const flow& f) {
  std::vector<u8> out{spec.icmp->type, spec.icmp->code, 0, 0};
  append_u32(out, spec.icmp->type == uapi::icmp_dest_unreach ? spec.icmp->mtu : 0);
  append(out, build_quote(spec, f));
  copy_bytes(byte_span(out).subspan(2), bytes_of(csum_fold(csum_add_bytes(out))));
  return out;
}

u8 ecn_bits(ecn_mark mark) {
  switch (mark) {
    case ecn_mark::ect0: return 2;
    case ecn_mark::ect1: case ecn_mark::ect01: return 1;
    case ecn_mark::ce: return 3;
    default: return 0;
  }
}

struct parsed_packet {
  ipv4_view ip;
  tcp_view tcp;
};

std::optional<parsed_packet> parse_tcp_packet(const sent_packet& packet) {
  const auto ip = ipv4_view::parse(packet.bytes);
  if (!ip || ip->iph->protocol != uapi::ipproto_tcp) return std::nullopt;
  const auto tcp = tcp_view::parse(ip->payload);
  if (!tcp) return std::nullopt;
  return parsed_packet{*ip, *tcp};
}

// --- options of sent packets --------------------------------------------------------------------

std::vector<tcp_option_spec> read_options(byte_view bytes) {
  std::vector<tcp_option_spec> out;
  while (!bytes.empty()) {
    tcp_option_spec o;
    std::size_t len = 1;
    if (bytes[0] == tcpopt_eol) {
      o.kind = kind::eol;
    } else if (bytes[0] == tcpopt_nop) {
      o.kind = kind::nop;
    } else {
      if (bytes.size() < 2 || bytes[1] < 2 || bytes[1] > bytes.size()) break;
      len = bytes[1];
      byte_reader body(bytes.subspan(2, len - 2));
      switch (bytes[0]) {
        case tcpopt_mss: o.kind = kind::mss; o.value = body.take<be16>().value(); break;
        case tcpopt_window: o.kind = kind::wscale; o.value = body.take<u8>(); break;
        case tcpopt_sack_perm: o.kind = kind::sack_ok; break;
        case tcpopt_sack:
          o.kind = kind::sack;
          while (body.remaining() >= 8) {
            const u32 from = body.take<be32>().value();
            o.blocks.emplace_back(from, body.take<be32>().value());
          }
          break;
        case tcpopt_timestamp:
          o.kind = kind::timestamp;
          o.value = body.take<be32>().value();
          o.value2 = body.take<be32>().value();
          break;
        case tcpopt_fastopen:
          o.kind = kind::fast_open;
          o.bytes.assign(body.rest().begin(), body.rest().end());
          break;
        case tcpopt_exp:
          o.kind = kind::fast_open_exp;
          body.take<be16>();
          o.bytes.assign(body.rest().begin(), body.rest().end());
          break;
        case tcpopt_md5sig: o.kind = kind::md5; o.flag = true; break;
        case tcpopt_accecn0:
        case tcpopt_accecn1:
          o.kind = kind::accecn;
          o.flag = bytes[0] == tcpopt_accecn1;
          while (body.remaining() >= 3) {
            const u32 high = body.take<be16>().value();
            o.counters.push_back(high << 8 | body.take<u8>());
          }
          break;
        default: break;
      }
    }
    out.push_back(o);
    bytes = bytes.subspan(len);
  }
  return out;
}

std::string format_accecn(const tcp_option_spec& o) {
  std::string out = "ECN";
  const char* const names[] = {o.flag ? "e1b" : "e0b", "ceb", o.flag ? "e0b" : "e1b"};
  for (std::size_t i = 0; i < o.counters.size() && i < 3; ++i) {
    out += fmt::format(" {} {}", names[i], o.counters[i]);
  }
  return out;
}

std::string format_option(const tcp_option_spec& o) {
  std::string hex;
  for (const u8 byte : o.bytes) hex += fmt::format("{:02x}", byte);
  switch (o.kind) {
    case kind::eol: return "eol";
    case kind::nop: return "nop";
    case kind::mss: return fmt::format("mss {}", o.value);
    case kind::wscale: return fmt::format("wscale {}", o.value);
    case kind::sack_ok: return "sackOK";
    case kind::sack: {
      std::string out = "sack";
      for (const auto& [from, to] : o.blocks) out += fmt::format(" {}:{}", from, to);
      return out;
    }
    case kind::timestamp: return fmt::format("TS val {} ecr {}", o.value, o.value2);
    case kind::fast_open: return hex.empty() ? "FO" : "FO " + hex;
    case kind::fast_open_exp: return hex.empty() ? "FOEXP" : "FOEXP " + hex;
    case kind::md5: return o.flag ? "md5 valid" : "md5 invalid";
    case kind::accecn: return format_accecn(o);
  }
  return "?";
}

std::string format_options(const std::vector<tcp_option_spec>& options) {
  std::string out;
  for (const auto& o : options) out += (out.empty() ? "" : ",") + format_option(o);
  return out.empty() ? "" : " <" + out + ">";
}

bool option_matches(const tcp_option_spec& want, const tcp_option_spec& got,
                    const strictness& how) {
  if (want.kind != got.kind) return false;
  switch (want.kind) {
    case kind::mss: return want.value == got.value;
    case kind::wscale: return !how.option_layout || want.value == got.value;
    case kind::sack: return want.blocks == got.blocks;
    case kind::timestamp: return want.value2 == got.value2;  // val is the host's clock
    case kind::fast_open: case kind::fast_open_exp: return want.bytes == got.bytes;
    case kind::accecn: return want.flag == got.flag && want.counters == got.counters;
    default: return true;
  }
}

bool options_match(std::vector<tcp_option_spec> want, std::vector<tcp_option_spec> got,
                   const strictness& how) {
  if (!how.option_layout) {
    const auto tidy = [](std::vector<tcp_option_spec>& list) {
      std::erase_if(list, [](const auto& o) { return o.kind == kind::nop || o.kind == kind::eol; });
      std::stable_sort(list.begin(), list.end(),
                       [](const auto& a, const auto& b) { return a.kind < b.kind; });
    };
    tidy(want);
    tidy(got);
  }
  return std::equal(want.begin(), want.end(), got.begin(), got.end(),
                    [&](const auto& a, const auto& b) { return option_matches(a, b, how); });
}

std::string flag_letters(u8 flags, bool ae) {
  std::string out;
  const std::pair<u8, char> letters[] = {{tcphdr_syn, 'S'}, {tcphdr_fin, 'F'}, {tcphdr_rst, 'R'},
                                         {tcphdr_psh, 'P'}, {tcphdr_ack, '.'}, {tcphdr_urg, 'U'},
                                         {tcphdr_ece, 'E'}, {tcphdr_cwr, 'W'}};
  for (const auto& [bit, letter] : letters) {
    if ((flags & bit) != 0) out += letter;
  }
  if (ae) out += 'A';
  return out.empty() ? "-" : out;
}

/// The live packet in the script's numbers, reduced to what scripts state.
packet_spec to_script(const parsed_packet& p, const flow& f) {
  packet_spec out;
  const tcphdr& th = *p.tcp.th;
  out.flags = th.flags;
  out.ae = th.ae();
  out.payload = static_cast<u32>(p.tcp.payload.size());
  out.seq = th.seq.value() - f.isn_offset + (th.syn() ? f.script_isn : 0);
  out.seq_end = out.seq + out.payload;
  if (th.ack()) out.ack = th.ack_seq.value() - (th.syn() ? 0 : f.remote_isn);
  out.window = th.window.value();
  if (th.urg()) out.urgent = th.urg_ptr.value();
  out.options = read_options(p.tcp.options);
  for (tcp_option_spec& option : out.options) {
    for (auto& [from, to] : option.blocks) {
      from -= f.remote_isn;
      to -= f.remote_isn;
    }
  }
  return out;
}

void learn(const packet_spec& spec, const parsed_packet& p, flow& f) {
  const tcphdr& th = *p.tcp.th;
  if (!f.isn_known && th.syn()) {
    f.isn_known = true;
    f.isn_offset = th.seq.value();
    f.script_isn = spec.any_seq ? 0 : spec.seq;
  }
  if (f.local_port == 0) f.local_port = th.source.value();
  const auto live = read_options(p.tcp.options);
  const auto ts = [](const std::vector<tcp_option_spec>& list) {
    return std::find_if(list.begin(), list.end(),
                        [](const auto& o) { return o.kind == kind::timestamp; });
  };
  const auto want = ts(spec.options), got = ts(live);
  if (want == spec.options.end() || got == live.end()) return;
  f.ts_live[want->value] = got->value;
  if (!f.ts_known) {
    f.ts_known = true;
    f.ts_offset = got->value - want->value;
  }
}

std::string compare_ip(const packet_spec& spec, const parsed_packet& p) {
  const u8 tos = p.ip.iph->tos;
  const u8 ecn = tos & 3;
  if (spec.ecn == ecn_mark::ect01 ? (ecn != 1 && ecn != 2)
                                  : spec.ecn != ecn_mark::unchecked && ecn != ecn_bits(spec.ecn)) {
    return fmt::format("ECN bits are {}", ecn);
  }
  if (spec.tos && tos != *spec.tos) return fmt::format("tos is {:#x}", tos);
  if (spec.ttl && p.ip.iph->ttl != *spec.ttl) return fmt::format("ttl is {}", p.ip.iph->ttl);
  return {};
}

std::string compare_tcp(const packet_spec& spec, const packet_spec& got, const strictness& how) {
  if (spec.flags != got.flags || spec.ae != got.ae) return "flags differ";
  if (!spec.any_seq && spec.seq != got.seq) return "sequence number differs";
  if (spec.payload != got.payload) return "payload length differs";
  if (spec.ack && got.ack.value_or(0) != *spec.ack) return "acknowledgement number differs";
  if (spec.window && how.windows && *spec.window != *got.window) return "window differs";
  if (spec.urgent && spec.urgent != got.urgent) return "urgent pointer differs";
  if (!spec.any_options && !options_match(spec.options, got.options, how)) return "options differ";
  return {};
}

const tcp_option_spec* find_option(const packet_spec& s, kind which) {
  const auto found = std::find_if(s.options.begin(), s.options.end(),
                                  [&](const auto& o) { return o.kind == which; });
  return found == s.options.end() ? nullptr : &*found;
}

const tcp_option_spec* fast_open_of(const packet_spec& s) {
  const tcp_option_spec* option = find_option(s, kind::fast_open);
  return option != nullptr ? option : find_option(s, kind::fast_open_exp);
}

/// The same packet where FreeBSD's way and ours differ within the RFCs; else `spec` unchanged.
packet_spec as_freebsd_may(const packet_spec& spec, const packet_spec& got, const flow& f) {
  packet_spec out = spec;
  // RFC 9293 §3.10.7.4: a FIN that arrives is answered by <SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>.
  // FreeBSD sends its own FIN again with that.
  if (f.fin_seq && spec.flags == (tcphdr_fin | tcphdr_ack) && spec.payload == 0 &&
      spec.seq == *f.fin_seq && got.flags == tcphdr_ack) {
    out.flags = tcphdr_ack;
    out.seq = out.seq_end = spec.seq + 1;
  }
  // RFC 7413 §4.1.3.1: after a refusal a client should stop trying; Linux asks again. What it
  // shows must be a cookie that may exist (§4.1.1: 4 to 16 bytes, even).
  const tcp_option_spec* asked = fast_open_of(got);
  if (spec.flags == tcphdr_syn && fast_open_of(spec) == nullptr && asked != nullptr &&
      spec.payload == 0) {
    const std::size_t length = asked->bytes.size();
    if (length != 0 && (length < 4 || length > 16 || length % 2 != 0)) return out;
    out.options.push_back(*asked);
    out.payload = length != 0 ? got.payload : 0;
  } else if (const tcp_option_spec* want = fast_open_of(spec);
             want != nullptr && want->bytes.empty() && asked != nullptr && asked->bytes.empty()) {
    for (tcp_option_spec& o : out.options) {
      if (o.kind == kind::fast_open) o.kind = asked->kind;  // its number before RFC 7413
    }
  }
  return out;
}

/// Has our clock of timestamps gone on since the flow's first packet as the script's has?
std::string compare_clock(const packet_spec& spec, const packet_spec& got, const flow& f,
                          const strictness& how) {
  const tcp_option_spec* want = find_option(spec, kind::timestamp);
  const tcp_option_spec* have = find_option(got, kind::timestamp);
  if (how.timestamp_tick.ns == 0 || want == nullptr || have == nullptr) return {};
  const s64 ahead = static_cast<s32>(have->value - want->value - f.ts_offset);
  if (std::abs(ahead) * how.timestamp_tick.ns <= how.tolerance.ns) return {};
  return fmt::format("the timestamp is {} ticks off", ahead);
}

/// Joins the segment behind `first` to it; false when they are not one stretch of data.
bool join(sent_packet& first, const sent_packet& next) {
  const auto a = parse_tcp_packet(first), b = parse_tcp_packet(next);
  if (!a || !b || b->tcp.payload.empty()) return false;
  const u32 end = a->tcp.th->seq.value() + static_cast<u32>(a->tcp.payload.size());
  if (b->tcp.th->seq.value() != end || a->tcp.th->ack_seq != b->tcp.th->ack_seq) return false;
  const byte_view more = b->tcp.payload;
  const std::size_t flags_at = a->ip.iph->header_bytes() + 13;
  // PSH is the last segment's: a burst of several super-packets carries some on its way.
  first.bytes[flags_at] =
      static_cast<u8>((first.bytes[flags_at] & ~tcphdr_psh) | b->tcp.th->flags);
  append(first.bytes, more);
  const be16 total(static_cast<u16>(std::min<std::size_t>(first.bytes.size(), 0xffff)));
  copy_bytes(byte_span(first.bytes).subspan(2), bytes_of(total));
  return true;
}

}  // namespace

std::vector<u8> build_packet(const packet_spec& spec, const flow& f) {
  std::vector<u8> body;
  ipv4_header ip;
  ip.saddr = f.remote;
  ip.daddr = f.local;
  ip.ttl = spec.ttl.value_or(255);
  ip.tos = static_cast<u8>(spec.tos.value_or(0) | ecn_bits(spec.ecn));
  if (spec.icmp) {
    body = build_icmp(spec, f);
    ip.protocol = uapi::ipproto_icmp;
  } else if (spec.udp_payload) {
    body.resize(sizeof(udphdr) + *spec.udp_payload);
    byte_writer udp(body);
    udp.put(be16(f.remote_port));
    udp.put(be16(f.local_port));
    udp.put(be16(static_cast<u16>(body.size())));
    ip.protocol = uapi::ipproto_udp;
  } else {
    body = build_tcp(spec, f);
    ip.protocol = uapi::ipproto_tcp;
  }
  std::vector<u8> out(sizeof(iphdr));
  emit(out, ip, body.size());
  append(out, body);
  return out;
}

bool belongs(const sent_packet& packet, const flow& f) {
  const auto p = parse_tcp_packet(packet);
  if (!p || p->ip.iph->saddr != f.local || p->ip.iph->daddr != f.remote) return false;
  if (f.local_port != 0 && p->tcp.th->source.value() != f.local_port) return false;
  // The flow's port shows in its SYN; before that, anything else is of an older connection.
  if (f.local_port == 0 && !p->tcp.th->syn()) return false;
  return p->tcp.th->dest.value() == f.remote_port;
}

std::string match_packet(const packet_spec& spec, flow& f, std::deque<sent_packet>& sent,
                         const strictness& how, bool& missing) {
  missing = false;
  while (!sent.empty() && !belongs(sent.front(), f)) sent.pop_front();
  if (sent.empty()) {
    missing = true;
    return "no packet was sent";
  }
  auto live = parse_tcp_packet(sent.front());
  learn(spec, *live, f);
  // A script packet may stand for a burst of segments, as a device with TSO would be given it.
  while (!how.strict_segments && live->tcp.payload.size() < spec.payload) {
    if (sent.size() < 2) {
      missing = true;
      break;
    }
    if (!join(sent[0], sent[1])) break;
    sent.erase(sent.begin() + 1);
    live = parse_tcp_packet(sent.front());
    if (!live) return "a joined segment cannot be read";
  }
  std::string why = compare_ip(spec, *live);
  const packet_spec got = to_script(*live, f);
  if (why.empty()) {
    why = compare_tcp(how.freebsd ? as_freebsd_may(spec, got, f) : spec, got, how);
  }
  if (why.empty()) why = compare_clock(spec, got, f, how);
  if (!why.empty()) return why;
  if ((got.flags & tcphdr_fin) != 0) f.fin_seq = got.seq_end;
  sent.pop_front();
  return {};
}

std::optional<packet_spec> in_script_numbers(const sent_packet& packet, const flow& f) {
  const auto p = parse_tcp_packet(packet);
  if (!p) return std::nullopt;
  return to_script(*p, f);
}

std::string format_spec(const packet_spec& s) {
  std::string out = flag_letters(s.flags, s.ae);
  out += s.any_seq ? fmt::format(" ...({})", s.payload)
                   : fmt::format(" {}:{}({})", s.seq, s.seq_end, s.payload);
  if (s.ack) out += fmt::format(" ack {}", *s.ack);
  if (s.window) out += fmt::format(" win {}", *s.window);
  if (s.urgent) out += fmt::format(" urg {}", *s.urgent);
  return out + (s.any_options ? " <...>" : format_options(s.options));
}

std::string format_sent(const sent_packet& packet, const flow& f) {
  const auto p = parse_tcp_packet(packet);
  if (!p) return fmt::format("({} bytes, no TCP)", packet.bytes.size());
  return format_spec(to_script(*p, f));
}

}  // namespace ph::packetdrill
