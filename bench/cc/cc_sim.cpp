// ph_cc sim: so many transfers between two of our hosts over a bottleneck, in virtual time.
#include "bench/cc/cc_sim.h"

#include <algorithm>
#include <memory>

#include "sim/topology.h"
#include "uapi/inet.h"

namespace ph::bench {
namespace {

using namespace sim;

constexpr duration queue_step = milliseconds(1);
constexpr int samples_every = 20;  ///< steps between samples of a connection

struct flow {
  u64 received = 0;
  int fd = -1;
  app* sender = nullptr;
  series cwnd, bytes;

  [[nodiscard]] uapi::tcp_info info() const {
    uapi::tcp_info out{};
    if (fd < 0) return out;
    static_cast<void>(sender->call([&](task& t) {
      return sys_getsockopt(t, fd, uapi::sol_tcp, uapi::tcp_info_opt,
                            {reinterpret_cast<u8*>(&out), sizeof out});
    }));
    return out;
  }
};

void start(world& w, flow& f, u16 port) {
  w.spawn("b", "sink" + std::to_string(port), [&f, port](app& a) -> co<> {
    const int listener = a.listener(port);
    const int in = co_await a.accept(listener);
    std::vector<u8> buffer(1024 * 1024);
    for (;;) {
      const std::size_t got = co_await a.recv(in, buffer);
      f.received += got;
    }
  });
  f.sender = &w.spawn("a", "source" + std::to_string(port), [&f, port](app& a) -> co<> {
    f.fd = co_await a.connect(endpoint(ipv4_addr(10, 0, 0, 2), port));
    const std::vector<u8> data(256 * 1024);
    for (;;) co_await a.send_all(f.fd, data);
  });
}

}  // namespace

int run_sim(const std::string& algorithm, const path& p, u32 flows) {
  world w({.seed = p.seed});
  const host_config hosts{.sysctls = {{"net.ipv4.tcp_congestion_control", algorithm},
                                      {"net.ipv4.tcp_rmem", "4096 131072 33554432"},
                                      {"net.ipv4.tcp_wmem", "4096 131072 33554432"}}};
  const pair_shape pair = make_pair_of_hosts(w, {}, hosts);
  pair.wire.set_config(link_end::a, p.forward());
  pair.wire.set_config(link_end::b, p.back());
  std::vector<std::unique_ptr<flow>> all;
  for (u32 i = 0; i < flows; ++i) {
    all.push_back(std::make_unique<flow>());
    start(w, *all.back(), static_cast<u16>(5001 + i));
  }
  // As on Linux's side, time begins when the connections are made.
  const auto connecting = [&] {
    return std::any_of(all.begin(), all.end(), [](const auto& f) { return f->fd < 0; });
  };
  while (connecting() && w.step()) {
  }
  series queue;
  const instant begin = w.now();
  for (int step = 1; w.now() - begin < p.length(); ++step) {
    w.run_for(queue_step);
    const double t = (w.now() - begin).seconds();
    queue.add(t, pair.wire.queue_delay(link_end::a).seconds() * 1000);
    if (step % samples_every != 0) continue;
    for (const auto& f : all) {
      f->cwnd.add(t, f->info().tcpi_snd_cwnd);
      f->bytes.add(t, static_cast<double>(f->received));
    }
  }
  const link_stats& stats = pair.wire.stats(link_end::a);
  std::printf("{\"queue_ms\":%s,\"queue_drops\":%llu,\"flows\":[", queue.json().c_str(),
              static_cast<unsigned long long>(stats.queue_full));
  for (std::size_t i = 0; i < all.size(); ++i) {
    std::printf("%s{\"cwnd\":%s,\"bytes\":%s,\"retransmissions\":%u}", i == 0 ? "" : ",",
                all[i]->cwnd.json().c_str(), all[i]->bytes.json().c_str(),
                all[i]->info().tcpi_total_retrans);
  }
  std::printf("]}\n");
  return 0;
}

}  // namespace ph::bench
