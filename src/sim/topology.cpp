// Names, addresses and routes of the shapes.
#include "sim/topology.h"

#include <fmt/format.h>

namespace ph::sim {
namespace {

host_config as_router(host_config config) {
  config.sysctls.emplace_back("net.ipv4.ip_forward", "1");
  return config;
}

u8 octet(std::size_t n) {
  ph_check(n < 256);
  return static_cast<u8>(n);
}

}  // namespace

pair_shape make_pair_of_hosts(world& w, const link_config& wire, const host_config& hosts) {
  host& a = w.add_host("a", hosts);
  host& b = w.add_host("b", hosts);
  link& l = w.connect("a", "eth0", "10.0.0.1/24", "b", "eth0", "10.0.0.2/24", wire);
  return {a, b, l};
}

ipv4_addr line_shape::server_addr() const { return {10, 0, octet(routers.size()), 2}; }

line_shape make_line(world& w, std::size_t routers, const link_config& wires,
                     const host_config& hosts) {
  line_shape out{w.add_host("client", hosts), w.add_host("server", hosts), {}, {}};
  std::vector<host*> chain{&out.client};
  for (std::size_t i = 1; i <= routers; ++i) {
    out.routers.push_back(&w.add_host(fmt::format("r{}", i), as_router(hosts)));
    chain.push_back(out.routers.back());
  }
  chain.push_back(&out.server);
  for (std::size_t net = 0; net + 1 < chain.size(); ++net) {
    out.wires.push_back(&w.connect(chain[net]->name(), net == 0 ? "eth0" : "eth1",
                                   fmt::format("10.0.{}.1/24", net), chain[net + 1]->name(),
                                   "eth0", fmt::format("10.0.{}.2/24", net), wires));
  }
  // Everything to the right goes right, everything to the left goes left.
  for (std::size_t at = 0; at < chain.size(); ++at) {
    for (std::size_t net = 0; net + 1 < chain.size(); ++net) {
      if (net > at) chain[at]->add_route(fmt::format("10.0.{}.0/24 via 10.0.{}.2", net, at));
      if (net + 1 >= at) continue;
      chain[at]->add_route(fmt::format("10.0.{}.0/24 via 10.0.{}.1", net, at - 1));
    }
  }
  return out;
}

ipv4_addr star_shape::leaf_addr(std::size_t leaf) {
  return {10, octet(leaf / 256), static_cast<u8>(leaf % 256), 2};
}

star_shape make_star(world& w, std::size_t leaves, const link_config& wires,
                     const host_config& hosts) {
  w.add_host("hub", as_router(hosts));
  star_shape out;
  for (std::size_t i = 0; i < leaves; ++i) {
    const std::string name = fmt::format("leaf{}", i);
    const std::string net = fmt::format("10.{}.{}", i / 256, i % 256);
    host& leaf = w.add_host(name, hosts);
    out.leaves.push_back(&leaf);
    out.wires.push_back(&w.connect("hub", fmt::format("eth{}", i), net + ".1/24", name, "eth0",
                                   net + ".2/24", wires));
    leaf.add_route(fmt::format("default via {}.1", net));
  }
  return out;
}

ipv4_addr dumbbell_shape::right_addr(std::size_t i) { return {10, 2, octet(i), 2}; }

dumbbell_shape make_dumbbell(world& w, std::size_t pairs, const link_config& bottleneck,
                             const link_config& edges, const host_config& hosts) {
  host& west = w.add_host("west", as_router(hosts));
  host& east = w.add_host("east", as_router(hosts));
  link& shared =
      w.connect("west", "eth0", "10.0.0.1/24", "east", "eth0", "10.0.0.2/24", bottleneck);
  dumbbell_shape out{{}, {}, shared};
  west.add_route("10.2.0.0/16 via 10.0.0.2");
  east.add_route("10.1.0.0/16 via 10.0.0.1");
  const auto join = [&](host& router, std::string_view side, int net, std::size_t i) {
    const std::string name = fmt::format("{}{}", side, i);
    host& h = w.add_host(name, hosts);
    const std::string prefix = fmt::format("10.{}.{}", net, i);
    w.connect(router.name(), fmt::format("eth{}", i + 1), prefix + ".1/24", name, "eth0",
              prefix + ".2/24", edges);
    h.add_route(fmt::format("default via {}.1", prefix));
    return &h;
  };
  for (std::size_t i = 0; i < pairs; ++i) {
    out.left.push_back(join(west, "left", 1, i));
    out.right.push_back(join(east, "right", 2, i));
  }
  return out;
}

}  // namespace ph::sim
