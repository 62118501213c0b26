// What a route lookup costs, by the size of the table: longest-prefix match alone, and with the
// choice of a next hop.
#include <benchmark/benchmark.h>

#include <vector>

#include "base/rng.h"
#include "drivers/net/mem.h"
#include "init/builtin.h"
#include "net/ipv4/devinet.h"
#include "net/ipv4/fib_trie.h"
#include "net/ipv4/ipv4_net.h"

namespace ph {
namespace {

/// Prefixes as a backbone's table has them: more than half are /24, few are shorter than /16.
ipv4_prefix random_prefix(rng& random) {
  static constexpr u8 lengths[] = {24, 24, 24, 24, 24, 24, 22, 23, 20, 21, 19, 16};
  const u8 len = lengths[random.below(std::size(lengths))];
  const u32 addr = 0x0b000000u + static_cast<u32>(random.below(0xb0000000u));
  return {ipv4_addr(addr & ipv4_mask(len).value()), len};
}

struct some_addresses {
  explicit some_addresses(const std::vector<ipv4_prefix>& prefixes) {
    rng random(9);
    for (std::size_t i = 0; i < count; ++i) {
      const ipv4_prefix& in = prefixes[random.below(prefixes.size())];
      const u32 rest = static_cast<u32>(random.next()) & ~ipv4_mask(in.len).value();
      addresses.push_back(ipv4_addr(in.addr.value() | rest));
    }
  }
  ipv4_addr next() { return addresses[at++ % count]; }
  static constexpr std::size_t count = 4096;
  std::vector<ipv4_addr> addresses;
  std::size_t at = 0;
};

/// range(0) routes.
void fib_trie_match(benchmark::State& state) {
  rng random(3);
  fib_trie trie;
  std::vector<ipv4_prefix> prefixes;
  for (s64 i = 0; i < state.range(0); ++i) {
    prefixes.push_back(random_prefix(random));
    auto route = std::make_unique<fib_route>();
    route->dst = prefixes.back();
    trie.at(prefixes.back()).push_back(std::move(route));
  }
  some_addresses to(prefixes);
  for (auto _ : state) {
    const fib_route* found = nullptr;
    trie.match(to.next(), [&](const fib_route& route) {
      found = &route;
      return true;
    });
    benchmark::DoNotOptimize(found);
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(fib_trie_match)->Arg(1)->Arg(100)->Arg(20'000)->Arg(200'000);

/// The same through local and main table of a machine, as every packet without a cached route.
void fib_lookup(benchmark::State& state) {
  packet_memory memory;
  kernel machine({.memory = &memory});
  builtin_init(machine);
  net_namespace& net = init_net(machine);
  std::vector<ipv4_prefix> prefixes;
  {
    const rtnl_guard rtnl(machine.rtnl());
    mem_port* port = *mem_create(rtnl.held(), net, {.addr = mac_addr{{2, 0, 0, 0, 0, 1}}});
    ph_check(port->device().open(rtnl.held(), machine.boot_cpu()).has_value());
    in_ifaddr addr;
    addr.local = addr.address = ipv4_addr(10, 0, 0, 1);
    addr.prefix_len = 24;
    ph_check(inet_addr_add(rtnl.held(), machine.boot_cpu(), port->device(), addr).has_value());
    rng random(3);
    for (s64 i = 0; i < state.range(0); ++i) {
      fib_route route;
      route.dst = random_prefix(random);
      route.nexthops = {{.oif = port->device().index(), .gateway = ipv4_addr(10, 0, 0, 2)}};
      prefixes.push_back(route.dst);
      static_cast<void>(ipv4_of(net).fib.add(rtnl.held(), std::move(route), true));
    }
  }
  some_addresses to(prefixes);
  for (auto _ : state) {
    flowi4 flow;
    flow.daddr = to.next();
    const auto found = ipv4_of(net).fib.lookup(flow);
    if (!found) return state.SkipWithError("an address of a route has none");
    benchmark::DoNotOptimize(found);
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(fib_lookup)->Arg(1)->Arg(100)->Arg(20'000)->Arg(200'000);

}  // namespace
}  // namespace ph
