// A world: hosts, wires between them, and programs on them, on one virtual clock. One thread, one
// order of events: the same seed and the same calls give the same packets, to the byte.
//
// A check that fails ends the process, so that a simulation tells of it; but a mortal host
// (host_config) is only dead from then on: its programs stop, its wires lose what is sent to it,
// and the others go on.
//
// The daemon drives a world too: run_until(the real time) whenever next_deadline() has come.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "sim/app.h"
#include "sim/host.h"
#include "sim/link.h"

namespace ph::sim {

struct world_config {
  u64 seed = 1;
  entropy* secrets = nullptr;  ///< nullptr: from the seed
  double buggify = 0;          ///< chance of each rare branch (cpu::sometimes)
  /// More events than this at one instant mean that time will never move on.
  u64 most_events_at_once = 20'000'000;
};

/// Where a wire is plugged in: a device that will be made, with the address it gets.
struct attachment {
  std::string host;
  std::string device = "eth0";
  std::vector<std::string> addresses{};  ///< "10.0.1.2/24"
  u32 mtu = 1500;
};

/// Programs have not finished and nothing will wake them, or their time is over.
class stuck_error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

class world {
 public:
  explicit world(world_config config = {});
  world(const world&) = delete;
  world& operator=(const world&) = delete;
  /// Ends the programs, then the wires, then the hosts.
  ~world();

  // --- building; errors are setup_error ---------------------------------------------------------
  /// The host's randomness depends on the seed and its name alone.
  host& add_host(const std::string& name, const host_config& config = {});
  [[nodiscard]] host& host_at(std::string_view name);
  [[nodiscard]] host* find_host(std::string_view name);
  [[nodiscard]] const std::vector<std::unique_ptr<host>>& hosts() const { return hosts_; }
  link& connect(const attachment& a, const attachment& b, const link_config& config = {});
  link& connect(const std::string& host_a, const std::string& device_a, const std::string& addr_a,
                const std::string& host_b, const std::string& device_b, const std::string& addr_b,
                const link_config& config = {});
  [[nodiscard]] const std::vector<std::unique_ptr<link>>& links() const { return links_; }
  /// Starts a program on a host at the next event. It lives as long as the world.
  app& spawn(std::string_view host_name, std::string name, app::body main);
  app& spawn(host& where, std::string name, app::body main);

  // --- running; an exception that a program did not catch comes out here ------------------------
  [[nodiscard]] instant now() const { return events_.now(); }
  [[nodiscard]] instant next_deadline() const { return events_.next_deadline(); }
  /// Runs the next event; false when nothing is scheduled.
  bool step();
  /// Runs everything up to `t`, which becomes now.
  void run_until(instant t);
  /// The same with at most `most` events; true when `t` was reached.
  bool run_some_until(instant t, u64 most);
  void run_for(duration d) { run_until(now() + d); }
  /// Runs until nothing is scheduled; false when that has not come by `limit`.
  bool run_until_idle(duration limit = seconds(3600));
  /// Runs until every program has ended. Throws stuck_error, which names those that wait and for
  /// what, when nothing is scheduled any more or `limit` is over.
  void run_apps(duration limit = seconds(3600));

  [[nodiscard]] event_queue& events() { return events_; }
  [[nodiscard]] tracer& trace() { return tracer_; }
  [[nodiscard]] packet_memory& memory() { return *memory_; }
  [[nodiscard]] u64 seed() const { return config_.seed; }

 private:
  friend class app;
  void check_progress();
  void bury(host& dead);
  void set_carrier(net_device& dev, bool on);
  [[nodiscard]] bool apps_done() const;
  void rethrow_failure();
  mem_port& plug(const attachment& at, const link_config& config);

  world_config config_;
  rng chance_;
  std::shared_ptr<packet_memory> memory_ = std::make_shared<packet_memory>();
  tracer tracer_;
  event_queue events_;
  instant busy_since_{-1};
  u64 events_at_once_ = 0;
  std::map<std::string, host*, std::less<>> by_name_;
  std::vector<std::unique_ptr<host>> hosts_;
  std::vector<std::unique_ptr<link>> links_;
  std::vector<std::unique_ptr<app>> apps_;
  app* failed_ = nullptr;  ///< the first program that threw
  std::size_t running_apps_ = 0;
};

}  // namespace ph::sim
