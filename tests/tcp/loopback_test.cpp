// A host that talks to itself over lo, whose MTU is larger than an IP packet: segments of 64 KiB,
// super-packets, and SACK blocks that ride with data while packets get lost.
#include "base/rng.h"
#include "net/core/net_namespace.h"
#include "net/core/nf_hook.h"
#include "net/tcp/tcp_sock.h"
#include "tests/sim/scenario.h"

namespace ph::sim {
namespace {

/// Loses each packet that comes in over lo with this chance.
struct lossy_lo {
  rng chance;
  double loss;
  u64 lost = 0;
  void install(host& h) {
    h.net().hooks().add(nf_family::ipv4, nf_hooknum::prerouting,
                        {0, [this](cpu& cx, net_namespace&, skb_ptr& skb, const nf_state&) {
                           if (!chance.chance(loss)) return nf_verdict::accept;
                           ++lost;
                           drop(cx, std::move(skb), drop_reason::fault_loss);
                           return nf_verdict::stolen;
                         }});
  }
};

struct draw {
  u64 seed = 0;
  double loss = 0;
  u32 pairs = 1;
  std::size_t bytes = 0;
  duration read_pause{};
  std::vector<std::pair<std::string, std::string>> sysctls;
};

draw draw_of(u64 seed) {
  draw out;
  out.seed = seed;
  rng chance = rng(seed).fork("loopback");
  if (chance.chance(0.8)) out.loss = 0.002 + chance.uniform() * 0.05;
  out.pairs = 1 + static_cast<u32>(chance.below(3));
  out.bytes = 1'000'000 + chance.below(4'000'000);
  if (chance.chance(0.3)) out.read_pause = microseconds(static_cast<s64>(chance.below(1000)));
  const auto maybe = [&](const char* name, const char* value, double p) {
    if (chance.chance(p)) out.sysctls.emplace_back(std::string("net.ipv4.") + name, value);
  };
  maybe("tcp_timestamps", "0", 0.3);
  maybe("tcp_min_tso_segs", "8", 0.3);
  maybe("tcp_min_snd_mss", "65535", 0.1);
  maybe("tcp_ecn", "1", 0.3);
  maybe("tcp_mtu_probing", "2", 0.3);
  maybe("tcp_window_scaling", "0", 0.1);
  maybe("tcp_rmem", "4096 60000 200000", 0.3);
  return out;
}

co<> push(app& a, int fd, std::size_t bytes) {
  for (std::size_t at = 0; at < bytes;) {
    const std::vector<u8> piece = stream_bytes(at, std::min<std::size_t>(bytes - at, 100'000));
    co_await a.send_all(fd, piece);
    at += piece.size();
  }
  a.shutdown(fd, shut_wr);
}

co<> pull(app& a, int fd, std::size_t bytes, duration pause) {
  std::vector<u8> buffer(1 << 16);
  std::size_t at = 0;
  while (const std::size_t got = co_await a.recv(fd, buffer)) {
    if (first_difference(byte_view(buffer).first(got), at) != got) {
      throw std::runtime_error("a wrong byte");
    }
    at += got;
    if (pause.ns > 0) co_await a.sleep(pause);
  }
  EXPECT_EQ(at, bytes);
}

void both_ways(app& a, int fd, const draw& d) {
  a.spawn("push", [fd, &d](app& t) { return push(t, fd, d.bytes); });
  a.spawn("pull", [fd, &d](app& t) { return pull(t, fd, d.bytes, d.read_pause); });
}

/// How many packets were lost.
u64 bulk(u64 seed) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  const draw d = draw_of(seed);
  world w({.seed = seed});
  host& h = w.add_host("alone", {.sysctls = d.sysctls});
  lossy_lo faults{rng(seed).fork("loss"), d.loss};
  faults.install(h);
  w.spawn("alone", "server", [&d](app& a) -> co<> {
    const int listener = a.listener(80);
    for (u32 i = 0; i < d.pairs; ++i) both_ways(a, co_await a.accept(listener), d);
  });
  w.spawn("alone", "client", [&d](app& a) -> co<> {
    for (u32 i = 0; i < d.pairs; ++i) {
      const int fd = a.tcp();
      co_await a.connect(fd, "127.0.0.1:80");
      both_ways(a, fd, d);
    }
  });
  EXPECT_NO_THROW(w.run_apps(seconds(100'000)));
  EXPECT_EQ(h.drops(drop_reason::ip_too_long), 0u);
  return faults.lost;
}

TEST(tcp_loopback, bulk_both_ways) {
  u64 lost = 0;
  for (u64 seed = 1; seed <= 60; ++seed) lost += bulk(seed);
  EXPECT_GT(lost, 100u);
}

}  // namespace
}  // namespace ph::sim
