// Worlds of well-known shapes, addressed and routed, by name.
#pragma once

#include "sim/world.h"

namespace ph::sim {

/// a (eth0, 10.0.0.1/24) — b (eth0, 10.0.0.2/24).
struct pair_shape {
  host& a;
  host& b;
  link& wire;
};
pair_shape make_pair_of_hosts(world& w, const link_config& wire = {},
                              const host_config& hosts = {});

/// client — r1 — … — rN — server. Network i, counted from 0 at the client, is 10.0.i.0/24: .1 is
/// its left end, .2 its right one. Left ends are eth0 of the client and eth1 of routers, right
/// ends eth0.
struct line_shape {
  host& client;
  host& server;
  std::vector<host*> routers;
  std::vector<link*> wires;  ///< from the client on
  [[nodiscard]] ipv4_addr server_addr() const;
};
line_shape make_line(world& w, std::size_t routers, const link_config& wires = {},
                     const host_config& hosts = {});

/// A router "hub" with `leaves` hosts "leaf0", "leaf1" …: leaf i has 10.X.Y.2/24 on eth0 and the
/// hub 10.X.Y.1/24 on eth<i>, X = i / 256, Y = i % 256.
struct star_shape {
  std::vector<host*> leaves;
  std::vector<link*> wires;
  [[nodiscard]] static ipv4_addr leaf_addr(std::size_t leaf);
};
star_shape make_star(world& w, std::size_t leaves, const link_config& wires = {},
                     const host_config& hosts = {});

/// `pairs` senders "left<i>" (10.1.i.2) and receivers "right<i>" (10.2.i.2) joined by two routers,
/// "west" and "east", with one wire between these that all share.
struct dumbbell_shape {
  std::vector<host*> left, right;
  link& bottleneck;  ///< end a is west
  [[nodiscard]] static ipv4_addr right_addr(std::size_t i);
};
dumbbell_shape make_dumbbell(world& w, std::size_t pairs, const link_config& bottleneck,
                             const link_config& edges = {}, const host_config& hosts = {});

}  // namespace ph::sim
