// Recursive descent over the packetdrill language: times, packets, system calls, commands, code.
#include <charconv>
#include <map>

#include "sim/packetdrill/conditionals.h"
#include "sim/packetdrill/lexer.h"
#include "sim/packetdrill/script.h"

namespace ph::packetdrill {

const expression* expression::field(std::string_view name) const {
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i] == name) return &items[i];
  }
  return nullptr;
}

namespace {

duration from_seconds(double s) { return {static_cast<s64>(s * 1e9 + (s < 0 ? -0.5 : 0.5))}; }

// --- times ------------------------------------------------------------------------------------

/// At most eleven days, so that sums of times stay far from the end of the clock.
duration parse_seconds(lexer& in) {
  const auto value = in.decimal();
  if (!value || *value > 1e6) in.fail("expected a time in seconds");
  return from_seconds(*value);
}

event_time parse_time(lexer& in) {
  event_time out;
  if (in.accept("*")) {
    out.kind = event_time::kind_type::any;
    return out;
  }
  const bool relative = in.accept("+");
  out.kind = relative ? event_time::kind_type::relative : event_time::kind_type::absolute;
  out.from = out.to = parse_seconds(in);
  if (in.accept("~")) {
    if (relative) in.expect("+");
    out.to = parse_seconds(in);
  } else if (in.accept("...")) {
    in.accept("+");
    out.end = parse_seconds(in);
  }
  return out;
}

// --- packets ----------------------------------------------------------------------------------

u32 parse_u32(lexer& in, const char* what) {
  const auto value = in.integer();
  if (!value || *value < -(s64{1} << 31) || *value > 0xffffffff) {
    in.fail(std::string("expected a 32-bit number for ") + what);
  }
  return static_cast<u32>(*value);
}

std::vector<u8> parse_hex_bytes(lexer& in) {
  const std::string digits = in.word();
  if (digits.size() % 2 != 0) in.fail("odd number of hexadecimal digits: " + digits);
  std::vector<u8> out;
  for (std::size_t i = 0; i < digits.size(); i += 2) {
    u8 byte = 0;
    const char* first = digits.data() + i;
    if (std::from_chars(first, first + 2, byte, 16).ptr != first + 2) {
      in.fail("not hexadecimal: " + digits);
    }
    out.push_back(byte);
  }
  return out;
}

/// "ECN e1b 1 ceb 0 e0b 1": one to three counters of RFC 9768, those of the tail may be missing.
void parse_accecn(lexer& in, tcp_option_spec& out) {
  static constexpr std::string_view ect0_first[] = {"e0b", "ceb", "e1b"};
  static constexpr std::string_view ect1_first[] = {"e1b", "ceb", "e0b"};
  out.kind = tcp_option_spec::kind_type::accecn;
  out.flag = in.peek_word() == "e1b";
  for (const std::string_view name : out.flag ? ect1_first : ect0_first) {
    if (!in.accept(name)) break;
    const u32 value = parse_u32(in, "a counter of AccECN");
    if (value > 0xffffff) in.fail("a counter of AccECN has 24 bits");
    out.counters.push_back(value);
  }
  if (out.counters.empty()) in.fail("ECN without e0b or e1b: the option's order is unknown");
}

tcp_option_spec parse_tcp_option(lexer& in) {
  using kind = tcp_option_spec::kind_type;
  tcp_option_spec out;
  const std::string name = in.word();
  if (name == "nop") {
    out.kind = kind::nop;
  } else if (name == "eol") {
    out.kind = kind::eol;
  } else if (name == "mss") {
    out.kind = kind::mss;
    out.value = parse_u32(in, "mss");
  } else if (name == "wscale") {
    out.kind = kind::wscale;
    out.value = parse_u32(in, "wscale");
  } else if (name == "sackOK") {
    out.kind = kind::sack_ok;
  } else if (name == "sack") {
    out.kind = kind::sack;
    while (in.peek() >= '0' && in.peek() <= '9') {
      const u32 from = parse_u32(in, "sack");
      in.expect(":");
      out.blocks.emplace_back(from, parse_u32(in, "sack"));
    }
  } else if (name == "TS") {
    out.kind = kind::timestamp;
    in.expect("val");
    out.value = parse_u32(in, "TS val");
    in.expect("ecr");
    out.value2 = parse_u32(in, "TS ecr");
  } else if (name == "FO" || name == "FOEXP") {
    out.kind = name == "FO" ? kind::fast_open : kind::fast_open_exp;
    out.bytes = parse_hex_bytes(in);
  } else if (name == "ECN") {
    parse_accecn(in, out);
  } else if (name == "md5") {
    out.kind = kind::md5;
    const std::string state = in.peek_word();
    if (state == "valid" || state == "invalid") {
      in.word();
      out.flag = state == "valid";
    } else {
      out.bytes = parse_hex_bytes(in);
    }
  } else {
    in.fail("unknown TCP option '" + name + "'");
  }
  return out;
}

void parse_tcp_options(lexer& in, packet_spec& out) {
  if (!in.accept("<")) return;
  if (in.accept("...")) {
    out.any_options = true;
    in.expect(">");
    return;
  }
  while (!in.accept(">")) {
    out.options.push_back(parse_tcp_option(in));
    if (in.accept(">")) return;
    in.expect(",");
  }
}

/// One letter of the flags, or a digit: the ACE field of RFC 9768 (AE, CWR, ECE). False: neither.
bool parse_flag(char c, packet_spec& out) {
  switch (c) {
    case 'S': out.flags |= tcphdr_syn; return true;
    case 'F': out.flags |= tcphdr_fin; return true;
    case 'R': out.flags |= tcphdr_rst; return true;
    case 'P': out.flags |= tcphdr_psh; return true;
    case '.': out.flags |= tcphdr_ack; return true;
    case 'U': out.flags |= tcphdr_urg; return true;
    case 'E': out.flags |= tcphdr_ece; return true;
    case 'W': out.flags |= tcphdr_cwr; return true;
    case 'A': out.ae = true; return true;
    default: break;
  }
  if (c < '0' || c > '7') return false;
  const int ace = c - '0';
  out.ae = (ace & 4) != 0;
  if ((ace & 2) != 0) out.flags |= tcphdr_cwr;
  if ((ace & 1) != 0) out.flags |= tcphdr_ece;
  return true;
}

/// Letters may stand apart ("F ."), a digit only behind another flag: it begins the numbers else.
void parse_flags(lexer& in, packet_spec& out) {
  if (in.accept("-")) return;
  bool any = false;
  for (;; any = true) {
    const bool apart = !any || std::isspace(static_cast<unsigned char>(in.peek_raw())) != 0;
    const char c = in.peek();
    const bool digit = c >= '0' && c <= '9';
    if (in.comes("...") || (apart && digit)) break;  // "S ...(0)" is a SYN with any number
    if (!parse_flag(c, out)) break;
    in.next();
  }
  if (!any) in.fail("expected TCP flags");
}

void parse_sequence(lexer& in, packet_spec& out) {
  out.any_seq = in.accept("...");
  if (!out.any_seq) {
    out.seq = parse_u32(in, "seq");
    in.expect(":");
    out.seq_end = parse_u32(in, "end of seq");
  }
  in.expect("(");
  out.payload = parse_u32(in, "payload length");
  in.expect(")");
  out.absolute_seq = in.accept("!");
  if (!out.any_seq && out.seq + out.payload != out.seq_end) {
    in.fail("sequence range and length do not agree");
  }
}

void parse_udp_encapsulation(lexer& in, packet_spec& out) {
  if (!in.accept("/")) return;
  in.expect("udp");
  in.expect("(");
  const u32 source = parse_u32(in, "port");
  in.expect(">");
  const u32 dest = parse_u32(in, "port");
  in.expect(")");
  out.udp_encapsulation = {static_cast<u16>(source), static_cast<u16>(dest)};
}

void parse_tcp(lexer& in, packet_spec& out) {
  parse_flags(in, out);
  parse_sequence(in, out);
  if (in.accept("ack")) out.ack = parse_u32(in, "ack");
  if (in.accept("win")) out.window = static_cast<u16>(parse_u32(in, "win"));
  if (in.accept("urg")) out.urgent = static_cast<u16>(parse_u32(in, "urg"));
  parse_tcp_options(in, out);
  parse_udp_encapsulation(in, out);
}

const std::map<std::string_view, std::pair<u8, u8>>& icmp_names() {
  static const std::map<std::string_view, std::pair<u8, u8>> names = {
      {"unreachable", {3, 0}}, {"time_exceeded", {11, 0}}, {"parameter_problem", {12, 0}},
      {"echo_request", {8, 0}}, {"echo_reply", {0, 0}}, {"source_quench", {4, 0}},
      {"redirect", {5, 0}}, {"packet_too_big", {2, 0}},
  };
  return names;
}

const std::map<std::string_view, u8>& icmp_code_names() {
  static const std::map<std::string_view, u8> names = {
      {"net_unreachable", u8{0}}, {"host_unreachable", u8{1}}, {"protocol_unreachable", u8{2}},
      {"port_unreachable", u8{3}}, {"frag_needed", u8{4}}, {"source_route_failed", u8{5}},
      {"net_unknown", u8{6}}, {"host_unknown", u8{7}}, {"source_host_isolated", u8{8}},
      {"net_prohibited", u8{9}}, {"host_prohibited", u8{10}}, {"net_unreachable_for_tos", u8{11}},
      {"host_unreachable_for_tos", u8{12}}, {"packet_filtered", u8{13}},
      {"precedence_violation", u8{14}}, {"precedence_cutoff", u8{15}},
      {"ttl_exceeded_in_transit", u8{0}}, {"fragment_reassembly_time_exceeded", u8{1}},
      {"exceeded_hop_limit", u8{0}}, {"exceeded_frag_reasm_time", u8{1}},
      {"error_pointer", u8{0}}, {"required_option_missing", u8{1}}, {"bad_length", u8{2}},
      {"frag_reass_exceeded", u8{1}}, {"exceeded_frag_time", u8{1}},
      {"header_field", u8{0}}, {"no_route", u8{0}}, {"admin_prohibited", u8{1}},
      {"not_neighbour", u8{2}}, {"address_unreachable", u8{3}}, {"reject_route", u8{6}},
      {"beyond_scope", u8{2}}, {"source_address_failed_policy", u8{5}},
      {"erroneous_header_field", u8{0}}, {"unknown_next_header", u8{1}}, {"unknown_option", u8{2}},
  };
  return names;
}

void parse_icmp(lexer& in, packet_spec& out) {
  icmp_spec icmp;
  out.has_tcp = false;
  const std::string type = in.word();
  const auto known = icmp_names().find(type);
  if (known == icmp_names().end()) in.fail("unknown ICMP type '" + type + "'");
  icmp.type = known->second.first;
  for (;;) {
    const std::string name = in.peek_word();
    if (name.empty() || (name[0] >= '0' && name[0] <= '9')) break;
    if (name == "mtu") {
      in.expect("mtu");
      icmp.mtu = parse_u32(in, "mtu");
    } else if (icmp_code_names().contains(name)) {
      icmp.code = icmp_code_names().at(in.word());
    } else if (name.starts_with("code_")) {
      in.word();
      icmp.code = static_cast<u8>(std::atoi(name.c_str() + 5));
    } else {
      in.fail("unknown ICMP code '" + name + "'");
    }
  }
  if (in.accept("[")) {
    out.has_tcp = true;
    parse_sequence(in, out);
    parse_udp_encapsulation(in, out);
    in.expect("]");
  }
  out.icmp = icmp;
}

/// One of "[ect0, ttl 3]" or "(tos 0x10)".
void parse_ip_field(lexer& in, packet_spec& out) {
  static const std::map<std::string_view, ecn_mark> marks = {
      {"noecn", ecn_mark::none}, {"ect0", ecn_mark::ect0}, {"ect1", ecn_mark::ect1},
      {"ect01", ecn_mark::ect01}, {"ce", ecn_mark::ce}};
  const std::string name = in.word();
  if (const auto mark = marks.find(name); mark != marks.end()) {
    out.ecn = mark->second;
    return;
  }
  in.accept("=");
  const u32 value = parse_u32(in, "an IP header field");
  if (name == "ttl" || name == "hlim") out.ttl = static_cast<u8>(value);
  else if (name == "tos" || name == "class") out.tos = static_cast<u8>(value);
  else if (name != "flowlabel") in.fail("unknown IP header field '" + name + "'");
}

void parse_ip_prefix(lexer& in, packet_spec& out) {
  for (;;) {
    const std::string_view close = in.accept("[") ? "]" : in.accept("(") ? ")" : "";
    if (close.empty()) return;
    while (!in.accept(close)) {
      parse_ip_field(in, out);
      in.accept(",");
    }
  }
}

packet_spec parse_packet(lexer& in) {
  packet_spec out;
  out.inbound = in.accept("<");
  if (!out.inbound) in.expect(">");
  parse_ip_prefix(in, out);
  for (const char* outer : {"ipv4", "ipv6", "gre", "mpls", "encap"}) {
    if (in.peek_word() == outer) in.unsupported(std::string("encapsulation in ") + outer);
  }
  if (in.peek() >= '0' && in.peek() <= '9') in.unsupported("a packet with ports of its own");
  if (in.accept("icmp")) {
    parse_icmp(in, out);
  } else if (in.accept("udp")) {
    out.has_tcp = false;
    in.expect("(");
    out.udp_payload = parse_u32(in, "UDP length");
    in.expect(")");
  } else {
    parse_tcp(in, out);
  }
  return out;
}

// --- system calls -----------------------------------------------------------------------------

expression parse_expression(lexer& in);

void parse_items(lexer& in, std::string_view close, expression& out) {
  while (!in.accept(close)) {
    const lexer::mark before = in.here();
    std::string name = in.word();
    if (!name.empty() && in.accept("(")) in.until(")");  // msg_iov(2)=
    if (name.empty() || !in.accept("=")) {
      in.back_to(before);
      name.clear();
    }
    out.items.push_back(parse_expression(in));
    out.names.push_back(name);
    if (in.accept(close)) return;
    in.expect(",");
  }
}

expression parse_word_expression(lexer& in) {
  expression out;
  out.kind = expression::kind_type::word;
  out.word = in.word();
  if (out.word.empty()) in.fail("expected a value");
  if (in.accept("(")) {  // htons(8080), inet_addr("192.0.2.1")
    out.kind = expression::kind_type::function;
    parse_items(in, ")", out);
    return out;
  }
  while (in.accept("|")) {
    const std::string next = in.word();
    if (next.empty()) in.fail("expected a name after '|'");
    out.word += '|' + next;
  }
  return out;
}

/// A text up to its quote, with the escapes of C.
std::string parse_quoted(lexer& in) {
  static const std::map<char, char> escapes = {{'n', '\n'}, {'t', '\t'}, {'r', '\r'}, {'0', '\0'}};
  std::string out;
  for (char c = in.peek_raw(); c != '"'; c = in.peek_raw()) {
    if (c == '\0') in.fail("text without end");
    in.next();
    if (c != '\\') {
      out += c;
      continue;
    }
    const char escaped = in.peek_raw();
    in.next();
    if (escaped == 'x') {
      const std::string digits{in.take(), in.take()};
      u8 byte = 0;
      if (std::from_chars(digits.data(), digits.data() + 2, byte, 16).ptr != digits.data() + 2) {
        in.fail("not hexadecimal: " + digits);
      }
      out += static_cast<char>(byte);
    } else {
      const auto known = escapes.find(escaped);
      out += known != escapes.end() ? known->second : escaped;
    }
  }
  in.next();
  return out;
}

expression parse_expression(lexer& in) {
  expression out;
  if (in.accept("...")) return out;
  if (in.accept("[")) {
    out.kind = expression::kind_type::list;
    parse_items(in, "]", out);
    return out;
  }
  if (in.accept("{")) {
    out.kind = expression::kind_type::structure;
    parse_items(in, "}", out);
    return out;
  }
  if (in.peek() == '"') {
    out.kind = expression::kind_type::text;
    while (in.accept("\"")) out.word += parse_quoted(in);  // one behind the other is one text
    in.accept("...");                                      // and any bytes
    return out;
  }
  if (in.accept("~")) {
    out.kind = expression::kind_type::negated;
    out.items.push_back(parse_expression(in));
    out.names.emplace_back();
    return out;
  }
  const char next = in.peek();
  if (next == '-' || (next >= '0' && next <= '9')) {
    const auto number = in.integer();
    if (!number) in.fail("bad number");
    out.kind = expression::kind_type::integer;
    out.number = *number;
    if (in.peek() == '|') {
      in.expect("|");
      const expression rest = parse_word_expression(in);
      out.kind = expression::kind_type::word;
      out.word = std::to_string(*number) + '|' + rest.word;
    }
    return out;
  }
  return parse_word_expression(in);
}

syscall_spec parse_syscall(lexer& in) {
  syscall_spec out;
  out.name = in.word();
  if (out.name.empty()) in.fail("expected a packet, a system call, `command` or %{ code }%");
  in.expect("(");
  while (!in.accept(")")) {
    const lexer::mark before = in.here();
    const std::string name = in.word();
    if (name.empty() || !in.accept("=")) in.back_to(before);  // sendto's "addr = ..." form
    out.arguments.push_back(parse_expression(in));
    if (in.accept(")")) break;
    in.expect(",");
  }
  in.expect("=");
  if (in.accept("?")) {
    out.result.kind = expression::kind_type::ellipsis;
  } else {
    out.result = parse_expression(in);
  }
  if (in.peek_word().starts_with("E") && in.peek() == 'E') out.error = in.word();
  if (in.accept("(")) in.until(")");
  return out;
}

// --- the whole --------------------------------------------------------------------------------

event parse_event(lexer& in) {
  event out;
  out.line = in.line();
  out.time = parse_time(in);
  const char next = in.peek();
  out.line = in.line();
  if (next == '<' || next == '>') {
    out.kind = event::kind_type::packet;
    out.packet = parse_packet(in);
  } else if (in.accept("`")) {
    out.kind = event::kind_type::command;
    out.text = in.until("`");
  } else if (in.accept("%{")) {
    out.kind = event::kind_type::code;
    out.text = in.until("}%");
  } else {
    out.kind = event::kind_type::syscall;
    out.call = parse_syscall(in);
  }
  return out;
}

std::string replace_defines(std::string_view text,
                            const std::vector<std::pair<std::string, std::string>>& defines) {
  std::string out(text);
  const auto in_word = [&](std::size_t at) {
    return at < out.size() &&
           (std::isalnum(static_cast<unsigned char>(out[at])) != 0 || out[at] == '_');
  };
  for (const auto& [name, value] : defines) {
    if (value.empty()) continue;  // a name for #ifdef
    for (std::size_t at = out.find(name); at != std::string::npos; at = out.find(name, at)) {
      if ((at > 0 && in_word(at - 1)) || in_word(at + name.size())) {
        at += name.size();
        continue;
      }
      out.replace(at, name.size(), value);
      at += value.size();
    }
  }
  return out;
}

script parse_all(std::string path, std::string_view text) {
  script out;
  out.path = std::move(path);
  lexer in(text);
  while (in.accept("--")) {
    std::string line = in.rest_of_line();
    if (const std::size_t comment = line.find("//"); comment != std::string::npos) {
      line.resize(comment);
    }
    while (!line.empty() && std::isspace(static_cast<unsigned char>(line.back())) != 0) {
      line.pop_back();
    }
    const std::size_t equals = line.find('=');
    out.options.emplace_back(line.substr(0, equals),
                             equals == std::string::npos ? "" : line.substr(equals + 1));
  }
  while (!in.at_end()) {
    if (in.accept("`")) {
      std::string command = in.until("`");
      if (out.events.empty()) {
        out.init_commands.push_back(std::move(command));
      } else {
        event e;  // a command without a time happens when its turn comes
        e.kind = event::kind_type::command;
        e.line = in.line();
        e.time.kind = event_time::kind_type::relative;
        e.text = std::move(command);
        out.events.push_back(std::move(e));
      }
      continue;
    }
    out.events.push_back(parse_event(in));
  }
  return out;
}

}  // namespace

tl::expected<script, script_error> parse_script(
    std::string path, std::string_view text,
    const std::vector<std::pair<std::string, std::string>>& defines) {
  std::vector<std::string> names;
  names.reserve(defines.size());
  for (const auto& [name, value] : defines) names.push_back(name);
  const auto chosen = choose_lines(text, std::move(names));
  if (!chosen) return tl::unexpected(chosen.error());
  try {
    return parse_all(std::move(path), replace_defines(*chosen, defines));
  } catch (const parse_failure& failure) {
    return tl::unexpected(failure.error);
  }
}

}  // namespace ph::packetdrill
