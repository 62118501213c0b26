// Whole machines in one process: TCP streams between two hosts of a world, every byte checked, and
// what a datagram's round trip costs. Bytes per second are those of the payload; time is real.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstring>

#include "base/hash.h"
#include "sim/topology.h"

namespace ph::sim {
namespace {

constexpr std::size_t block = 64 * 1024;

/// Repeats every `block` bytes, so that checking costs a memcmp.
const std::vector<u8>& pattern() {
  static const std::vector<u8> bytes = [] {
    std::vector<u8> out(2 * block);
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<u8>(mix64(i % block));
    return out;
  }();
  return bytes;
}

struct stream_state {
  u64 received = 0;
  bool wrong = false;
};

app::body sink(stream_state& state) {
  return [&state](app& a) -> co<> {
    const int listener = a.listener(80);
    const int fd = co_await a.accept(listener);
    std::vector<u8> buffer(block);
    for (;;) {
      const std::size_t n = co_await a.recv(fd, buffer);
      if (n == 0) co_return;
      const u8* expected = pattern().data() + state.received % block;
      state.wrong = state.wrong || std::memcmp(buffer.data(), expected, n) != 0;
      state.received += n;
    }
  };
}

app::body source() {
  return [](app& a) -> co<> {
    const int fd = co_await a.connect("10.0.0.2:80");
    for (;;) co_await a.send_all(fd, byte_view(pattern()).first(block));
  };
}

void tcp_stream(benchmark::State& bench, const link_config& wire) {
  world w;
  make_pair_of_hosts(w, wire);
  stream_state state;
  w.spawn("b", "sink", sink(state));
  w.spawn("a", "source", source());
  while (state.received < 4'000'000) w.step();  // slow start and pools are behind us
  u64 counted = 0;
  for (auto _ : bench) {
    const u64 until = state.received + 1'000'000;
    const u64 before = state.received;
    while (state.received < until) w.step();
    counted += state.received - before;
  }
  if (state.wrong) bench.SkipWithError("wrong data");
  bench.SetBytesProcessed(static_cast<s64>(counted));
  bench.counters["Gbit/s"] = benchmark::Counter(static_cast<double>(counted) * 8e-9,
                                                benchmark::Counter::kIsRate);
}

/// Real segments of 1,448 bytes with real checksums.
void sim_tcp_mtu1500(benchmark::State& bench) { tcp_stream(bench, {}); }
BENCHMARK(sim_tcp_mtu1500)->Unit(benchmark::kMillisecond)->UseRealTime();

/// Super-packets and no checksums, as between containers over veth.
void sim_tcp_offload(benchmark::State& bench) { tcp_stream(bench, {.offload = true}); }
BENCHMARK(sim_tcp_offload)->Unit(benchmark::kMillisecond)->UseRealTime();

void sim_udp_round_trip(benchmark::State& bench) {
  world w;
  make_pair_of_hosts(w);
  u64 rounds = 0;
  w.spawn("b", "echo", [](app& a) -> co<> {
    const int fd = a.udp();
    a.bind(fd, "0.0.0.0:7");
    std::vector<u8> buffer(100);
    for (;;) {
      const received_from got = co_await a.recvfrom(fd, buffer);
      co_await a.sendto(fd, byte_view(buffer).first(got.len), got.from);
    }
  });
  w.spawn("a", "ping", [&rounds](app& a) -> co<> {
    const int fd = a.udp();
    co_await a.connect(fd, "10.0.0.2:7");
    std::vector<u8> buffer(64);
    for (;;) {
      co_await a.send(fd, buffer);
      co_await a.recv(fd, buffer);
      ++rounds;
    }
  });
  while (rounds < 10) w.step();
  for (auto _ : bench) {
    const u64 until = rounds + 1;
    while (rounds < until) w.step();
  }
}
BENCHMARK(sim_udp_round_trip);

}  // namespace
}  // namespace ph::sim
