// What lately happened to a host's devices, addresses, routes and neighbours: `ph status` tells.
#pragma once

#include <deque>
#include <string>

#include "net/ipv4/ipv4_net.h"

namespace ph {

/// Listens to the host's chains of events (net/core/notifier.h) and keeps the last that happened.
class control_log : public slot_object {
 public:
  static constexpr std::size_t most = 32;
  struct entry {
    instant when;
    std::string what;   ///< "eth0 is down", "10.0.0.9 on eth0 does not answer"
    u64 times = 1;      ///< in a row
  };
  explicit control_log(net_namespace& net);
  [[nodiscard]] const std::deque<entry>& entries() const { return entries_; }

 private:
  void note(std::string what);
  void on_link(const netdev_event& event);
  void on_addresses(const struct inetaddr_event& event);
  void on_route(const fib_event& event);
  void on_neighbour(const neigh_event& event);

  net_namespace& net_;
  std::deque<entry> entries_;
  notifier<netdev_event> links_;
  notifier<inetaddr_event> addresses_;
  notifier<fib_event> routes_;
  notifier<neigh_event> neighbours_;
};
inline constexpr slot_key<control_log> control_log_key{"control log"};

}  // namespace ph
