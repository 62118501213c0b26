// Bulk transfer over wires that lose, reorder, duplicate and corrupt frames: every byte arrives, in
// order, and no connection gets stuck. Each seed draws its own wire and its own programs.
#include "net/tcp/tcp_sock.h"
#include "tests/sim/scenario.h"

namespace ph::sim {
namespace {

/// What a seed stands for.
struct draw {
  link_config wire;
  std::size_t forth, back;     ///< bytes each way
  std::size_t piece_out, piece_in;
  host_config client, server;
};

draw draw_of(u64 seed, double worst) {
  rng chance = rng(seed).fork("transfer");
  draw out;
  out.wire.delay = microseconds(static_cast<s64>(chance.below(30'000)));
  if (chance.chance(0.5)) {
    out.wire.rate = bit_rate{1'000'000 + chance.below(100'000'000)};
    out.wire.queue_packets = 5 + static_cast<u32>(chance.below(100));
  }
  if (chance.chance(0.3)) out.wire.jitter = out.wire.delay / 2;
  out.wire.loss = chance.chance(0.7) ? chance.uniform() * worst : 0;
  out.wire.reorder = chance.chance(0.5) ? chance.uniform() * worst : 0;
  out.wire.duplicate = chance.chance(0.5) ? chance.uniform() * worst : 0;
  out.wire.corrupt = chance.chance(0.5) ? chance.uniform() * worst : 0;
  out.forth = 1 + chance.below(120'000);
  out.back = chance.chance(0.5) ? chance.below(60'000) : 0;
  out.piece_out = 1 + chance.below(chance.chance(0.3) ? 500 : 30'000);
  out.piece_in = 1 + chance.below(chance.chance(0.3) ? 500 : 60'000);
  for (host_config* host : {&out.client, &out.server}) {
    const auto maybe = [&](const char* name, const char* value, double p) {
      if (chance.chance(p)) host->sysctls.emplace_back(name, value);
    };
    maybe("net.ipv4.tcp_sack", "0", 0.15);
    maybe("net.ipv4.tcp_timestamps", "0", 0.2);
    maybe("net.ipv4.tcp_window_scaling", "0", 0.15);
    maybe("net.ipv4.tcp_rmem", "4096 8192 16384", 0.15);
    maybe("net.ipv4.tcp_wmem", "4096 8192 16384", 0.15);
    maybe("net.ipv4.tcp_retries2", "100", 1);
    maybe("net.ipv4.tcp_syn_retries", "50", 1);
    maybe("net.ipv4.tcp_synack_retries", "50", 1);
  }
  return out;
}

app::body writer(int fd, std::size_t n, std::size_t piece) {
  return [=](app& a) -> co<> {
    for (std::size_t at = 0; at < n;) {
      const std::vector<u8> bytes = stream_bytes(at, std::min(n - at, piece));
      co_await a.send_all(fd, bytes);
      at += bytes.size();
    }
    a.shutdown(fd, shut_wr);
  };
}

/// The FIN too.
bool all_acknowledged(app& a, int fd) {
  const auto state =
      static_cast<tcp_state>(a.getsockopt(fd, uapi::ipproto_tcp, uapi::tcp_info_opt) & 0xff);
  return state == tcp_state::fin_wait2 || state == tcp_state::close ||
         state == tcp_state::time_wait;
}

app::body reader(int fd, std::size_t n, std::size_t piece) {
  return [=](app& a) -> co<> {
    std::vector<u8> buffer(piece);
    std::size_t at = 0;
    for (;;) {
      const std::size_t got = co_await a.recv(fd, buffer);
      if (got == 0) break;
      const std::size_t same = first_difference(byte_view(buffer).first(got), at);
      if (same != got) throw std::runtime_error("wrong byte at " + std::to_string(at + same));
      at += got;
    }
    EXPECT_EQ(at, n);
    // A socket that nobody holds would be given up when its peer's hardware address gets lost.
    while (!all_acknowledged(a, fd)) co_await a.sleep(1_s);
  };
}

/// The whole life of a connection on the seed's wire.
void transfer(u64 seed, double worst) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  const draw d = draw_of(seed, worst);
  world w({.seed = seed});
  w.add_host("a", d.client);
  w.add_host("b", d.server);
  w.connect("a", "eth0", "10.0.0.1/24", "b", "eth0", "10.0.0.2/24", d.wire);
  w.spawn("b", "server", [d](app& a) -> co<> {
    const int listener = a.listener(80);
    const int fd = co_await a.accept(listener);
    a.close(listener);
    a.spawn("back", writer(fd, d.back, d.piece_out));
    co_await reader(fd, d.forth, d.piece_in)(a);
  });
  w.spawn("a", "client", [d](app& a) -> co<> {
    // The address of the peer may be hard to learn on such a wire: try until it works.
    int fd = -1;
    for (int i = 0; i < 50; ++i) {
      fd = a.tcp();
      const auto done = co_await a.try_connect(fd, "10.0.0.2:80");
      if (done) break;
      a.close(fd);
      fd = -1;
      co_await a.sleep(1_s);
    }
    if (fd < 0) throw std::runtime_error("cannot connect");
    a.spawn("forth", writer(fd, d.forth, d.piece_out));
    co_await reader(fd, d.back, d.piece_in)(a);
  });
  ASSERT_NO_THROW(w.run_apps(seconds(100'000)));
  w.run_for(seconds(4000));
  for (const char* name : {"a", "b"}) {
    EXPECT_EQ(tcp_of(w.host_at(name).net()).ehash.size(), 0u) << name;
    EXPECT_EQ(w.host_at(name).net().sockets, 0u) << name;
  }
  EXPECT_EQ(w.memory().live_packets(), 0u);
  expect_no_leaks(w);
}

TEST(tcp_transfer, mild_wires) {
  for (u64 seed = 1; seed <= 300; ++seed) {
    transfer(seed, 0.03);
    if (HasFatalFailure()) return;
  }
}

TEST(tcp_transfer, terrible_wires) {
  for (u64 seed = 1001; seed <= 1400; ++seed) {
    transfer(seed, 0.2);
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace ph::sim
