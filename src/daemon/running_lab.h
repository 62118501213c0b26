// A lab that runs: the world built from a lab file's value, its names, and its TAP devices. Knows
// nothing of control connections and programs.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

#include "daemon/lab.h"
#include "daemon/memory_reserve.h"
#include "drivers/net/tap.h"
#include "sim/world.h"

namespace ph {

class running_lab {
 public:
  /// Builds everything. Errors: a sentence for the user (a route whose gateway is on no link, a
  /// setting that does not exist, a TAP that cannot be had, too little memory).
  static tl::expected<std::unique_ptr<running_lab>, std::string> build(const lab& what,
                                                                       entropy& secrets);
  /// As build, but throws.
  running_lab(const lab& what, entropy& secrets);
  running_lab(const running_lab&) = delete;
  running_lab& operator=(const running_lab&) = delete;

  [[nodiscard]] sim::world& world() { return world_; }
  [[nodiscard]] const lab& description() const { return description_; }
  /// The host of that name, in any case; for an empty name the lab's only host. nullptr when there
  /// is none.
  [[nodiscard]] sim::host* find_host(std::string_view name);
  /// What a person who names a wrong host needs to know.
  [[nodiscard]] std::string no_such_host(std::string_view name) const;
  /// Or one that has died (sim::host::dead).
  [[nodiscard]] static std::string dead_host(const sim::host& h);

  /// The addresses of a host's name as seen from `asker`: those on a common subnet first, then in
  /// the order of the lab file. A host's own name without addresses, and "localhost", are
  /// 127.0.0.1. A final dot and the letters' case do not matter. Empty for a name that is not in
  /// the lab.
  [[nodiscard]] std::vector<ipv4_addr> resolve(sim::host& asker, std::string_view name);
  /// The host that has this address; empty for an address that is not in the lab.
  [[nodiscard]] std::string name_of(sim::host& asker, ipv4_addr addr);

  /// /etc/hosts as `asker` would have it: every name that resolve() knows.
  [[nodiscard]] std::string names_file(sim::host& asker);

  struct tap {
    tap_port* port;
    sim::host* host;
  };
  [[nodiscard]] const std::vector<tap>& taps() const { return taps_; }

  /// What tells whether there is memory for new work, and outlives this; without one there is.
  void set_reserve(const memory_reserve& reserve);
  [[nodiscard]] bool memory_low() const { return reserve_ != nullptr && reserve_->low(); }

 private:
  sim::host* find_named(std::string_view name);
  void add_tap(const lab_device& device);
  void set_sysctl(sim::host& h, const lab_sysctl& s);

  lab description_;
  sim::world world_;
  std::vector<tap> taps_;
  const memory_reserve* reserve_ = nullptr;
};

}  // namespace ph
