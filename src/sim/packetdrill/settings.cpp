// Options and settings of scripts, with the names that FreeBSD's scripts use mapped to ours.
#include "sim/packetdrill/settings.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "net/socket/syscall.h"
#include "uapi/inet.h"
#include "uapi/socket.h"

namespace ph::packetdrill {
namespace {

/// "2750" for 1000 at 2.75 times.
std::string scaled(const std::string& value, double factor) {
  return std::to_string(static_cast<s64>(std::strtod(value.c_str(), nullptr) * factor));
}

/// FreeBSD's setting as ours; empty when it has no counterpart. What is left out: insecure_rst,
/// insecure_syn and drop_synfin (this stack, like Linux, always follows RFC 5961 and drops SYN+FIN
/// at a listener), and buffers of the sending side, which show only in times.
sysctl_list from_freebsd(const std::string& full_name, const std::string& value) {
  constexpr std::string_view prefix = "net.inet.tcp.";
  if (!full_name.starts_with(prefix)) return {};
  const std::string name = full_name.substr(prefix.size());
  const std::string net = "net.ipv4.";
  const auto on = [&](bool yes) { return std::string(yes ? "1" : "0"); };
  if (name == "sack.enable") return {{net + "tcp_sack", value}};
  if (name == "rfc1323") {
    // 2 and 3 ask for one of the two alone.
    return {{net + "tcp_window_scaling", on(value == "1" || value == "2")},
            {net + "tcp_timestamps", on(value == "1" || value == "3")}};
  }
  if (name == "ecn.enable") return {{net + "tcp_ecn", value}};
  if (name == "fastopen.client_enable") return {{net + "tcp_fastopen", on(value != "0")}};
  if (name == "syncookies") return {{net + "tcp_syncookies", value}};
  if (name == "syncookies_only") return {{net + "tcp_syncookies", value == "1" ? "2" : "1"}};
  // The whole of FreeBSD's buffer is window; ours keeps half for its own books.
  if (name == "recvspace") {
    return {{net + "tcp_rmem", "4096 " + scaled(value, 2.75) + " 6291456"}};
  }
  if (name == "keepidle") return {{net + "tcp_keepalive_time", scaled(value, 0.001)}};
  if (name == "keepintvl") return {{net + "tcp_keepalive_intvl", scaled(value, 0.001)}};
  if (name == "keepcnt") return {{net + "tcp_keepalive_probes", value}};
  if (name == "path_mtu_discovery") return {{net + "ip_no_pmtu_disc", on(value == "0")}};
  if (name == "pmtud_blackhole_detection") {
    return {{net + "tcp_mtu_probing", on(value != "0")}};
  }
  if (name == "pmtud_blackhole_mss") return {{net + "tcp_base_mss", value}};
  if (name == "ecn.maxretries") return {{net + "tcp_ecn_fallback", on(value != "0")}};
  return {};
}

sysctl_list one_setting(const std::string& assignment, const run_options& options) {
  const std::size_t equals = assignment.find('=');
  if (equals == std::string::npos) return {};
  std::string name = assignment.substr(0, equals);
  std::string value = assignment.substr(equals + 1);
  while (!value.empty() && value.back() == '\\') value.pop_back();  // a shell line goes on
  while (!value.empty() && (value.back() == '"' || value.back() == '\'')) value.pop_back();
  while (!value.empty() && (value.front() == '"' || value.front() == '\'')) value.erase(0, 1);
  constexpr std::string_view proc = "/proc/sys/";
  if (name.starts_with(proc)) name.erase(0, proc.size());
  for (char& c : name) c = c == '/' ? '.' : c;
  if (options.lenient_freebsd) return from_freebsd(name, value);
  if (!name.starts_with("net.")) return {};
  if (value.find_first_of("$`") != std::string::npos) {
    throw not_supported("the shell's " + value + " as the value of " + name);
  }
  if (value.starts_with("0x")) value = std::to_string(std::strtoll(value.c_str(), nullptr, 16));
  return {{name, value}};
}

/// "$((15*1024))" becomes its value.
std::string with_arithmetic(std::string command) {
  for (std::size_t at = 0; (at = command.find("$((", at)) != std::string::npos;) {
    const std::size_t end = command.find("))", at);
    if (end == std::string::npos) throw not_supported("$(( without an end");
    const std::string text = command.substr(at + 3, end - at - 3);
    variables vars;
    const std::string why = run_code("value = " + text, vars);
    if (!why.empty()) throw not_supported("shell arithmetic $((" + text + ")): " + why);
    const py_number value = vars["value"];
    // The shell divides whole numbers.
    const s64 whole = value.is_real ? static_cast<s64>(value.real) : value.whole;
    command.replace(at, end + 2 - at, std::to_string(whole));
  }
  return command;
}

/// "echo VALUE > /proc/sys/NAME" as "/proc/sys/NAME=VALUE"; comments leave.
std::string as_assignments(const std::string& command) {
  std::string out;
  std::istringstream lines(command);
  for (std::string line; std::getline(lines, line); out += '\n') {
    const std::string_view text = std::string_view(line).substr(0, line.find('#'));
    const std::size_t echo = text.find("echo "), arrow = text.find("> /proc/sys/");
    if (echo == std::string_view::npos || arrow == std::string_view::npos || echo > arrow) {
      out += text;
      continue;
    }
    const std::string_view to = text.substr(arrow + 2);
    std::string value(text.substr(echo + 5, arrow - echo - 5));
    std::erase(value, '"');
    while (!value.empty() && value.back() == ' ') value.pop_back();
    out += '"';
    out += to.substr(0, to.find_first_of(" ;"));
    out += '=' + value + '"';
  }
  return out;
}

/// What a script of the suite that the command runs (../common/defaults.sh) says, as text.
std::string included(const std::string& command, const std::string& script_path) {
  std::string out;
  const auto folder = std::filesystem::absolute(script_path).parent_path();
  std::istringstream words(command);
  for (std::string word; words >> word;) {
    if (!word.ends_with(".sh") || word.find('$') != std::string::npos) continue;
    std::ifstream file(folder / word);
    std::stringstream text;
    if (file) text << file.rdbuf();
    out += text.str() + '\n';
  }
  return out;
}

}  // namespace

sysctl_list command_settings(const std::string& command, const run_options& options) {
  sysctl_list out;
  std::istringstream words(with_arithmetic(as_assignments(command)));
  for (std::string word; words >> word;) {
    // A quoted value may hold blanks: "net.ipv4.tcp_rmem=4096 87380 6291456".
    if (word.size() > 1 && (word[0] == '"' || word.find("=\"") != std::string::npos) &&
        word.back() != '"') {
      std::string more;
      while (words >> more) {
        word += ' ' + more;
        if (more.back() == '"') break;
      }
    }
    while (!word.empty() && (word[0] == '"' || word[0] == '\'')) word.erase(0, 1);
    for (auto& setting : one_setting(word, options)) out.push_back(std::move(setting));
  }
  return out;
}

std::vector<std::string> route_changes(std::string command) {
  for (std::size_t at = 0; (at = command.find("\\\n", at)) != std::string::npos;) {
    command.replace(at, 2, "  ");  // a line that goes on
  }
  std::replace(command.begin(), command.end(), ';', '\n');
  std::vector<std::string> out;
  std::istringstream lines(command);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string word;
    if (!(words >> word) || word != "ip") continue;
    words >> word;
    if (word == "-4") words >> word;
    if (word != "route" && word != "ro" && word != "r") continue;
    words >> word;
    if (word != "add" && word != "change" && word != "replace") continue;
    std::string rest;
    for (; words >> word;) {
      if (word.find('>') != std::string::npos || word == "&&") break;
      rest += (rest.empty() ? "" : " ") + word;
    }
    out.push_back(rest);
  }
  return out;
}

std::optional<std::size_t> queue_limit(const std::string& command) {
  std::istringstream words(command);
  bool pfifo = false;
  for (std::string word; words >> word;) {
    pfifo = pfifo || word == "pfifo";
    if (pfifo && word == "limit" && words >> word) {
      return static_cast<std::size_t>(std::atoll(word.c_str()));
    }
  }
  return std::nullopt;
}

bool forgets_peers(const std::string& command) {
  return command.find("tcp_metrics flush") != std::string::npos ||
         command.find("hostcache.purgenow=1") != std::string::npos ||
         command.find("fastopen.client_enable=0") != std::string::npos;
}

/// What FreeBSD is told to add to each retransmission time-out.
duration slop_of(const script& s) {
  constexpr std::string_view name = "rexmit_slop=";
  for (const event& e : s.events) {
    const std::size_t at = e.text.find(name);
    if (e.kind != event::kind_type::command || at == std::string::npos) continue;
    return milliseconds(std::atoi(e.text.c_str() + at + name.size()));
  }
  return {};
}

sysctl_list suite_defaults(const std::string& script_path) {
  sysctl_list out;
  std::filesystem::path folder = std::filesystem::absolute(script_path).parent_path();
  for (int up = 0; up < 4; ++up, folder = folder.parent_path()) {
    std::ifstream file(folder / "DEFAULTS.txt");
    if (!file) continue;
    for (std::string line; std::getline(file, line);) {
      const std::size_t equals = line.find(" = ");
      if (!line.starts_with("net.") || equals == std::string::npos) continue;
      for (auto& setting :
           command_settings(line.substr(0, equals) + "=\"" + line.substr(equals + 3) + "\"", {})) {
        out.push_back(std::move(setting));
      }
    }
    break;
  }
  return out;
}

std::vector<std::pair<std::string, std::string>> usual_defines() {
  return {{"TFO_COOKIE", "3021b9d889017eeb"},
          {"CMSG_LEVEL_IP", "SOL_IP"},
          {"CMSG_TYPE_RECVERR", "IP_RECVERR"},
          {"CODE", "host_unreachable"}};
}

namespace {

/// Options that change nothing here: the machine has one wire, whose far side is the script.
constexpr std::string_view passed_over[] = {
    "ip_version", "gateway_ip", "netmask_ip", "speed", "init_scripts", "code_command",
    "code_format", "code_sockopt", "verbose", "debug", "send_omit_free", "tcp_ts_ecr_scaled"};

/// False: an option that we do not know.
bool take_option(run_settings& out, const std::string& name, const std::string& value) {
  if (name == "tolerance_usecs") {
    out.tolerance = microseconds(std::atoll(value.c_str()));
  } else if (name == "tolerance_percent") {
    out.tolerance_per_mille = static_cast<s64>(std::strtod(value.c_str(), nullptr) * 10);
  } else if (name == "tcp_ts_tick_usecs") {
    out.timestamp_tick = microseconds(std::atoll(value.c_str()));
  } else if (name == "mtu") {
    out.mtu = static_cast<u32>(std::atoi(value.c_str()));
  } else if (name == "mss") {
    out.arriving_mss = static_cast<u32>(std::atoi(value.c_str()));
  } else if (name == "local_ip") {
    out.local = ipv4_addr::parse(value).value_or(out.local);
  } else if (name == "remote_ip") {
    out.remote = ipv4_addr::parse(value).value_or(out.remote);
  } else if (name == "strict_segments") {
    out.strict_segments = true;
  } else if (name == "non_fatal") {
    out.non_fatal_syscalls = value.find("syscall") != std::string::npos;
  } else {
    return std::find(std::begin(passed_over), std::end(passed_over), name) !=
           std::end(passed_over);
  }
  return true;
}

}  // namespace

run_settings script_settings(const script& s, const run_options& options) {
  run_settings out;
  for (const auto& list : {options.options, s.options}) {
    for (const auto& [name, value] : list) take_option(out, name, value);
  }
  out.defaults = options.sysctls;
  if (options.lenient_freebsd) {
    out.retransmit_slop = slop_of(s);
    // FreeBSD counts challenge acknowledgements per second of the host, not of a connection.
    out.sysctls.emplace_back("net.ipv4.tcp_invalid_ratelimit", "0");
    out.sysctls.emplace_back("net.ipv4.tcp_challenge_ack_limit", "2147483647");
    // Its timer of a SYN doubles from the first time on.
    out.sysctls.emplace_back("net.ipv4.tcp_syn_linear_timeouts", "0");
  }
  for (const std::string& command : s.init_commands) {
    for (auto& setting : command_settings(included(command, s.path), options)) {
      out.defaults.push_back(std::move(setting));
    }
    for (auto& setting : command_settings(command, options)) {
      out.sysctls.push_back(std::move(setting));
    }
    for (std::string& route : route_changes(command)) out.routes.push_back(std::move(route));
  }
  return out;
}

std::string reason_to_skip(const script& s, const run_options& options) {
  if (options.family != ip_family::ipv4) return "IPv6 is not in this stack";
  for (const auto& [name, value] : s.options) {
    if (name == "ip_version" && value != "ipv4") return "script for " + value;
    if (name == "udp_encapsulation") return "TCP over UDP is not supported";
    run_settings ignored;
    if (!take_option(ignored, name, value)) return "option --" + name + " is not supported";
  }
  if (s.path.ends_with("v6.pkt")) return "script for ipv6";
  return {};
}

namespace {

/// The counters of RFC 9768, by their places in tcp_info of Linux 6.18.
void load_accecn_counters(byte_view info, variables& vars) {
  static constexpr std::pair<const char*, std::size_t> places[] = {
      {"tcpi_received_ce", 248},         {"tcpi_delivered_e1_bytes", 252},
      {"tcpi_delivered_e0_bytes", 256},  {"tcpi_delivered_ce_bytes", 260},
      {"tcpi_received_e1_bytes", 264},   {"tcpi_received_e0_bytes", 268},
      {"tcpi_received_ce_bytes", 272}};
  for (const auto& [name, at] : places) {
    const le32* value = view_as<le32>(info, at);
    if (value != nullptr) vars[name] = py_number{false, s64{value->value()}, 0};
  }
}

}  // namespace

void load_tcp_info(task& program, int fd, variables& vars) {
  std::vector<u8> bytes(512);
  const auto length =
      sys_getsockopt(program, fd, uapi::sol_tcp, uapi::tcp_info_opt, bytes);
  if (!length) return;
  uapi::tcp_info info;
  std::memcpy(&info, bytes.data(), sizeof info);
  load_accecn_counters(byte_view(bytes).first(*length), vars);
  const std::pair<const char*, u64> numbers[] = {
      {"tcpi_state", info.tcpi_state},
      {"tcpi_ca_state", info.tcpi_ca_state},
      {"tcpi_retransmits", info.tcpi_retransmits},
      {"tcpi_probes", info.tcpi_probes},
      {"tcpi_backoff", info.tcpi_backoff},
      {"tcpi_options", info.tcpi_options},
      {"tcpi_snd_wscale", u64{info.tcpi_snd_wscale}},
      {"tcpi_rcv_wscale", u64{info.tcpi_rcv_wscale}},
      {"tcpi_fastopen_client_fail", u64{info.tcpi_fastopen_client_fail}},
      {"tcpi_delivery_rate_app_limited", u64{info.tcpi_delivery_rate_app_limited}},
      {"tcpi_rto", info.tcpi_rto}, {"tcpi_ato", info.tcpi_ato},
      {"tcpi_snd_mss", info.tcpi_snd_mss}, {"tcpi_rcv_mss", info.tcpi_rcv_mss},
      {"tcpi_unacked", info.tcpi_unacked}, {"tcpi_sacked", info.tcpi_sacked},
      {"tcpi_lost", info.tcpi_lost}, {"tcpi_retrans", info.tcpi_retrans},
      {"tcpi_fackets", info.tcpi_fackets}, {"tcpi_last_data_sent", info.tcpi_last_data_sent},
      {"tcpi_last_data_recv", info.tcpi_last_data_recv},
      {"tcpi_last_ack_recv", info.tcpi_last_ack_recv}, {"tcpi_pmtu", info.tcpi_pmtu},
      {"tcpi_rcv_ssthresh", info.tcpi_rcv_ssthresh}, {"tcpi_rtt", info.tcpi_rtt},
      {"tcpi_rttvar", info.tcpi_rttvar}, {"tcpi_snd_ssthresh", info.tcpi_snd_ssthresh},
      {"tcpi_snd_cwnd", info.tcpi_snd_cwnd}, {"tcpi_advmss", info.tcpi_advmss},
      {"tcpi_reordering", info.tcpi_reordering}, {"tcpi_rcv_rtt", info.tcpi_rcv_rtt},
      {"tcpi_rcv_space", info.tcpi_rcv_space}, {"tcpi_total_retrans", info.tcpi_total_retrans},
      {"tcpi_pacing_rate", info.tcpi_pacing_rate}, {"tcpi_bytes_acked", info.tcpi_bytes_acked},
      {"tcpi_bytes_received", info.tcpi_bytes_received}, {"tcpi_segs_out", info.tcpi_segs_out},
      {"tcpi_segs_in", info.tcpi_segs_in}, {"tcpi_notsent_bytes", info.tcpi_notsent_bytes},
      {"tcpi_min_rtt", info.tcpi_min_rtt}, {"tcpi_data_segs_in", info.tcpi_data_segs_in},
      {"tcpi_data_segs_out", info.tcpi_data_segs_out},
      {"tcpi_delivery_rate", info.tcpi_delivery_rate}, {"tcpi_busy_time", info.tcpi_busy_time},
      {"tcpi_rwnd_limited", info.tcpi_rwnd_limited},
      {"tcpi_sndbuf_limited", info.tcpi_sndbuf_limited}, {"tcpi_delivered", info.tcpi_delivered},
      {"tcpi_delivered_ce", info.tcpi_delivered_ce}, {"tcpi_bytes_sent", info.tcpi_bytes_sent},
      {"tcpi_bytes_retrans", info.tcpi_bytes_retrans},
      {"tcpi_dsack_dups", info.tcpi_dsack_dups}, {"tcpi_reord_seen", info.tcpi_reord_seen}};
  for (const auto& [name, value] : numbers) {
    vars[name] = py_number{false, static_cast<s64>(value), 0};
  }
}

void load_meminfo(task& program, int fd, variables& vars) {
  static constexpr const char* names[] = {
      "SK_MEMINFO_RMEM_ALLOC", "SK_MEMINFO_RCVBUF", "SK_MEMINFO_WMEM_ALLOC", "SK_MEMINFO_SNDBUF",
      "SK_MEMINFO_FWD_ALLOC", "SK_MEMINFO_WMEM_QUEUED", "SK_MEMINFO_OPTMEM",
      "SK_MEMINFO_BACKLOG", "SK_MEMINFO_DROPS"};
  std::vector<u8> bytes(sizeof(u32) * std::size(names));
  const auto length = sys_getsockopt(program, fd, uapi::sol_socket, uapi::so_meminfo, bytes);
  for (std::size_t i = 0; length && i < *length / sizeof(u32); ++i) {
    vars[names[i]] = py_number{false, s64{view_as<le32>(byte_view(bytes), 4 * i)->value()}, 0};
  }
}

}  // namespace ph::packetdrill
