// One machine of a world: a furnished kernel, its place in the order of events, and the words in
// which one configures it. Configuration errors are exceptions with a sentence for a person.
#pragma once

#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "drivers/net/mem.h"
#include "kernel/task.h"
#include "net/core/neighbour.h"
#include "net/core/net_namespace.h"
#include "sim/event_queue.h"
#include "sim/recovery.h"

namespace ph::sim {

/// A world cannot be built as described.
class setup_error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct host_config {
  u32 cpus = 1;
  std::vector<std::pair<std::string, std::string>> sysctls{};
  bool mortal = false;  ///< a check that fails in it ends the host, not the process
};

class host {
 public:
  host(event_queue& events, kernel_config config, const host_config& settings);
  host(const host&) = delete;
  host& operator=(const host&) = delete;

  [[nodiscard]] const std::string& name() const { return machine_->name(); }
  [[nodiscard]] kernel& machine() { return *machine_; }
  [[nodiscard]] net_namespace& net() { return init_net(*machine_); }
  /// Brings the machine's clock up to the world's. Before every call into it from outside.
  void enter() {
    if (!dead()) machine_->enter(events_.now());
  }

  // --- its death, if it is mortal: a check failed in its machine, which nobody may touch then ---
  [[nodiscard]] bool dead() const { return !death_.empty(); }
  /// "check failed: ..."; empty as long as the host lives.
  [[nodiscard]] const std::string& death() const { return death_; }
  [[nodiscard]] instant died_at() const { return died_at_; }
  /// Makes a call into the machine, with the clock up to date. False: the host is dead, or died of
  /// this call, which did not return.
  template <class F>
  bool call(F&& f) {
    if (dead()) return false;
    enter();
    if (!mortal_) {
      f();
      return true;
    }
    std::string why = run_recoverable(f);
    if (!why.empty()) die(std::move(why));
    return !dead();
  }
  /// Told once, when the host has died; must not call into it.
  void add_on_death(std::function<void()> told) { on_death_.push_back(std::move(told)); }
  /// The boot cpu, entered.
  [[nodiscard]] cpu& cx();

  /// A device whose other side the caller connects; up. Its MAC address follows from the names.
  mem_port& add_device(mem_config config);
  /// "10.0.1.2/24".
  void add_address(const std::string& device, const std::string& prefix);
  void add_address(const std::string& device, const ipv4_prefix& prefix);
  /// The words of `ip route add`: "default via 10.0.1.1", "blackhole 10.9.9.0/24".
  void add_route(const std::string& words);
  void set_sysctl(const std::string& name, const std::string& value);
  /// Throws setup_error when there is none.
  [[nodiscard]] net_device& device(const std::string& name);

  /// How many packets died for this reason, over all cpus.
  [[nodiscard]] u64 drops(skb_drop_reason why) const;
  /// A counter by nstat's name, e.g. "TcpRetransSegs". Throws setup_error for an unknown name.
  [[nodiscard]] u64 counter(std::string_view name);

 private:
  void wake();
  void run();
  void die(std::string why);

  event_queue& events_;
  std::shared_ptr<kernel> machine_;
  bool mortal_;
  std::string death_;
  instant died_at_ = never;
  std::vector<std::function<void()>> on_death_;
  event turn_;
  bool running_ = false;
};

/// A locally administered address that depends on the names alone, so that it stays the same when
/// hosts are added.
mac_addr mac_of(std::string_view host, std::string_view device);

}  // namespace ph::sim
