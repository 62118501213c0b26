// Runs packetdrill scripts against a machine of our own on the virtual clock: injects and expects
// packets through a memory device, makes system calls through the door every program uses.
#pragma once

#include <string>
#include <vector>

#include "sim/packetdrill/script.h"

namespace ph::packetdrill {

enum class outcome : u8 { pass, fail, skip };
enum class ip_family : u8 { ipv4, ipv6, mapped };

struct run_options {
  ip_family family = ip_family::ipv4;
  bool lenient_freebsd = false;   ///< ignore windows, scale and option order; map sysctl names
  std::vector<std::pair<std::string, std::string>> defines;
  /// Settings made before the script's own ("net.ipv4.tcp_sack", "1").
  std::vector<std::pair<std::string, std::string>> sysctls;
  /// Options of the genuine tool's command line ("tolerance_usecs", "10000"); the script's win.
  std::vector<std::pair<std::string, std::string>> options;
};

struct run_report {
  outcome result = outcome::pass;
  int line = 0;             ///< of the event that failed
  std::string reason;       ///< with expected and actual packet side by side
};

/// Reads and runs one script file.
run_report run_file(const std::string& path, const run_options& options);
/// Runs a parsed script.
run_report run_script(const script& s, const run_options& options);

}  // namespace ph::packetdrill
