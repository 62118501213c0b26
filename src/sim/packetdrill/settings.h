// What surrounds a script's events: its --options, the settings its shell lines make, the reasons
// for which it cannot be run, and the TCP_INFO its code blocks see.
#pragma once

#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "kernel/task.h"
#include "sim/packetdrill/runner.h"
#include "sim/packetdrill/values.h"
#include "wire/inet_addr.h"

namespace ph::packetdrill {

using sysctl_list = std::vector<std::pair<std::string, std::string>>;

struct run_settings {
  ipv4_addr local{192, 168, 0, 1};
  ipv4_addr remote{192, 0, 2, 1};
  u32 mtu = 1500;
  duration tolerance = milliseconds(4);
  s64 tolerance_per_mille = 125;  ///< of the time since the event before, if that is more
  duration timestamp_tick{};   ///< --tcp_ts_tick_usecs
  u32 arriving_mss = 0;        ///< --mss: longer packets arrive as super-packets of that
  bool strict_segments = false;
  duration retransmit_slop{};  ///< what FreeBSD adds to a retransmission time-out
  bool non_fatal_syscalls = false;
  sysctl_list defaults;             ///< of the suite, before:
  sysctl_list sysctls;              ///< the script's own
  std::vector<std::string> routes;  ///< `ip route` lines before the first event
};

/// A shell line asks for what only a shell can say: the script is skipped.
struct not_supported : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The routes that `ip route add|change|replace …` lines of a command state.
std::vector<std::string> route_changes(std::string command);
/// N of `tc qdisc … pfifo limit N`.
std::optional<std::size_t> queue_limit(const std::string& command);
/// Does the shell line flush what is known of other hosts (metrics, Fast Open cookies)?
bool forgets_peers(const std::string& command);
/// "a.b = c" lines of a suite's DEFAULTS.txt, looked for in the script's folder and above it.
sysctl_list suite_defaults(const std::string& script_path);
/// What runners of suites define for IPv4: cookies, levels and types of control messages.
std::vector<std::pair<std::string, std::string>> usual_defines();
/// Options of the script and the settings made before its first event.
run_settings script_settings(const script& s, const run_options& options);
/// The settings that shell lines make: `sysctl name=value`, set_sysctls.py /proc/sys/...=value,
/// echo value > /proc/sys/.... $((arithmetic)) is evaluated.
sysctl_list command_settings(const std::string& command, const run_options& options);
/// Why a script cannot run here (another family, a protocol we lack); empty if it can.
std::string reason_to_skip(const script& s, const run_options& options);
/// Sets tcpi_* from the socket's TCP_INFO; leaves them when there is none.
void load_tcp_info(task& program, int fd, variables& vars);
/// SK_MEMINFO_* of SO_MEMINFO, likewise.
void load_meminfo(task& program, int fd, variables& vars);

}  // namespace ph::packetdrill
