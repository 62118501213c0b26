// A lab as a value: what a lab file (docs/lab.md) says, checked and with defaults filled in.
// Whoever holds a `lab` may trust it: names are unique and refer to something, numbers are within
// sane limits, addresses are usable. Building hosts and links from it is the daemon's work.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "base/time.h"
#include "wire/inet_addr.h"

namespace ph {

struct lab_sysctl {
  std::string name;  // "net.ipv4.ip_forward"
  std::string value;
  int line = 0;  // of the lab file, for complaints
};

struct lab_host {
  std::string name;
  u32 cpus = 1;
  std::vector<lab_sysctl> sysctls;
};

/// One end of a link: a device of a host, with the addresses it gets (host bits kept).
struct lab_end {
  std::string host;
  std::string dev;
  std::vector<ipv4_prefix> addresses;
};

/// A wire between two devices; what it does holds for each direction on its own.
struct lab_link {
  std::array<lab_end, 2> ends;
  bit_rate rate;    // 0 bps: unlimited
  duration delay;   // one way
  duration jitter;  // at most `delay`
  bool jitter_reorders = false;
  double loss = 0;  // probabilities per packet, 0.0 to 1.0
  double reorder = 0;
  double duplicate = 0;
  double corrupt = 0;
  u32 queue_packets = 1000;
  u32 mtu = 1500;  // of both ends
};

enum class lab_route_kind : u8 { unicast, blackhole, unreachable, prohibit };

struct lab_route {
  std::string host;
  lab_route_kind kind = lab_route_kind::unicast;
  ipv4_prefix to;  // 0.0.0.0/0 for "default"
  std::optional<ipv4_addr> via;
  std::string dev;  // empty: the device through which `via` is on-link
  std::optional<ipv4_addr> src;
  u32 metric = 0;
};

/// A device of a host that is the machine's TAP interface `tap`: the lab's way to the real network.
struct lab_device {
  std::string host;
  std::string name;
  std::string tap;
  std::optional<ipv4_prefix> address;
  u32 mtu = 1500;
};

struct lab {
  std::string file;  // as errors name it
  u64 seed = 1;
  std::vector<lab_host> hosts;  // in the file's order, at least one
  std::vector<lab_link> links;
  std::vector<lab_route> routes;
  std::vector<lab_device> devices;

  /// The host of that name, or null.
  [[nodiscard]] const lab_host* find_host(std::string_view name) const;
};

/// What is wrong with a lab file, and where.
struct lab_error {
  std::string file;
  int line = 0;  // counted from 1; 0 when the file as a whole is meant
  std::string found;
  std::string expected;  // empty when `found` says all

  /// "lab.yaml:7: unknown key `dely`; expected one of ends, rate, delay"
  [[nodiscard]] std::string to_string() const;
};

/// Reads a lab from YAML text; `file` is only used in errors.
tl::expected<lab, lab_error> parse_lab(std::string_view text, std::string_view file);

/// Reads a lab from a file of at most 4 MiB.
tl::expected<lab, lab_error> load_lab(const std::string& path);

inline constexpr char lower_case(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}
/// Names of hosts are the same in any case (RFC 4343).
bool same_host_name(std::string_view a, std::string_view b);

/// The lab of `ph run` without a lab file: one host of that name that has only its loopback.
lab loopback_lab(std::string host);

}  // namespace ph
