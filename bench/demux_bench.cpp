// What it costs to find the socket of a segment, by the number of connections.
#include <benchmark/benchmark.h>

#include <memory>
#include <vector>

#include "base/rng.h"
#include "net/inet/inet_hashtables.h"

namespace ph {
namespace {

/// One server with range(0) connections.
struct connections {
  explicit connections(s64 n) : table({1, 2}) {
    rng random(5);
    for (s64 i = 0; i < n; ++i) {
      auto entry = std::make_unique<ehash_entry>(ehash_kind::established);
      entry->key = {inet_addr::of(ipv4_addr(10, 0, 0, 1)),
                    inet_addr::of(ipv4_addr(0x0b000000u + static_cast<u32>(random.below(1 << 24)))),
                    port_no(443), port_no(static_cast<u16>(1024 + i % 60'000))};
      table.insert(*entry);
      entries.push_back(std::move(entry));
    }
    for (std::size_t i = 0; i < count; ++i) {
      wanted.push_back(entries[random.below(entries.size())]->key);
    }
  }
  ~connections() {
    for (auto& entry : entries) table.erase(*entry);
  }
  static constexpr std::size_t count = 4096;
  inet_ehash table;
  std::vector<std::unique_ptr<ehash_entry>> entries;
  std::vector<inet_tuple> wanted;
};

void demux_hit(benchmark::State& state) {
  connections all(state.range(0));
  std::size_t at = 0;
  for (auto _ : state) {
    const ehash_entry* found = all.table.find(all.wanted[at++ % all.count], ifindex(2));
    if (found == nullptr) return state.SkipWithError("a connection is not found");
    benchmark::DoNotOptimize(found);
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(demux_hit)->Arg(1)->Arg(1'000)->Arg(100'000)->Arg(1'000'000);

void demux_miss(benchmark::State& state) {
  connections all(state.range(0));
  inet_tuple other = all.wanted[0];
  other.lport = port_no(80);
  u16 port = 0;
  for (auto _ : state) {
    other.rport = port_no(port++);
    benchmark::DoNotOptimize(all.table.find(other, ifindex(2)));
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(demux_miss)->Arg(1)->Arg(1'000)->Arg(100'000)->Arg(1'000'000);

/// A connection comes and goes beside range(0) others.
void demux_insert_erase(benchmark::State& state) {
  connections all(state.range(0));
  ehash_entry entry(ehash_kind::established);
  entry.key = all.wanted[0];
  entry.key.lport = port_no(80);
  for (auto _ : state) {
    all.table.insert(entry);
    all.table.erase(entry);
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(demux_insert_erase)->Arg(1)->Arg(100'000);

}  // namespace
}  // namespace ph
