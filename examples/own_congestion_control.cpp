// A congestion control of your own, outside the library: MIMD, which doubles its window in every
// ten round trips and takes an eighth off at a loss. Registered on one simulated machine, chosen by
// its sysctl, and raced against CUBIC over 50 Mbit/s, 30 ms and a tenth of a percent of loss.
#include <algorithm>
#include <cstdio>

#include "net/tcp/tcp_cong.h"
#include "sim/topology.h"

using namespace ph;
using namespace ph::literals;

class mimd final : public tcp_congestion {
 public:
  std::string_view name() const override { return "mimd"; }
  void on_ack(cpu&, const ack_sample& sample, congestion_state& state) override {
    if (sample.in_recovery || !sample.cwnd_limited) return;
    if (state.in_slow_start()) {
      tcp_slow_start(state, sample.acked_segs);
    } else {
      tcp_cong_avoid_ai(state, 14, sample.acked_segs);  // 2^(1/10) - 1 is about 1 / 14
    }
  }
  void on_loss(cpu&, const loss_event&, congestion_state& state) override {
    state.ssthresh = std::max(state.cwnd - state.cwnd / 8, 2u);
    state.cwnd = std::min(state.cwnd, state.ssthresh);
  }
};

static double race(const char* algorithm) {
  u64 received = 0;
  sim::world w;
  const sim::link_config wire{.rate = 50_mbit, .delay = 15_ms, .loss = 0.001, .queue_packets = 125};
  auto [a, b, link] = sim::make_pair_of_hosts(w, wire);
  a.machine().slots().get(tcp_congestion_key).add<mimd>("mimd");
  a.set_sysctl("net.ipv4.tcp_congestion_control", algorithm);
  w.spawn(b, "sink", [&](sim::app& p) -> sim::co<> {
    const int fd = co_await p.accept(p.listener(5001));
    std::vector<u8> buffer(65536);
    for (;;) {
      const std::size_t got = co_await p.recv(fd, buffer);
      received += got;
    }
  });
  w.spawn(a, "source", [](sim::app& p) -> sim::co<> {
    const int fd = co_await p.connect("10.0.0.2:5001");
    const std::vector<u8> data(65536);
    for (;;) co_await p.send_all(fd, data);
  });
  w.run_for(10_s);
  return double(received) * 8 / 10 / 1e6;
}

int main() {
  const double own = race("mimd"), cubic = race("cubic");
  std::printf("mimd %.1f Mbit/s, cubic %.1f Mbit/s\n", own, cubic);
  return own > 0 ? 0 : 1;
}
