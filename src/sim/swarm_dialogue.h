// The dialogue of one connection of a run: each TCP segment between two ports, as it is handed to a
// wire or to lo, a line each, with where it passed.
#pragma once

#include <list>
#include <string>
#include <vector>

#include "net/core/net_namespace.h"
#include "sim/link.h"
#include "sim/world.h"

namespace ph::sim {

class swarm_dialogue {
 public:
  swarm_dialogue(u16 port, u16 peer_port) : port_(port), peer_port_(peer_port) {}
  void on_wire(const link& wire, const link::frame_seen& seen);
  /// Hears what the hosts of the world say to themselves.
  void watch_lo(world& w);
  [[nodiscard]] std::vector<std::string> take() { return std::move(lines_); }

 private:
  void add(instant when, const std::string& where, const sk_buff& frame);

  struct lo_tap {
    packet_tap tap;
    std::string where;
  };
  u16 port_, peer_port_;
  std::list<lo_tap> taps_;
  std::vector<std::string> lines_;
};

}  // namespace ph::sim
