// What each congestion control makes of a path: goodput by algorithm, loss and delay, in virtual
// time and by seeds, held against a committed table; and Reno against Mathis' formula.
//
// The table is tests/sim/snapshots/throughput.txt. After a change that is meant to change it:
//   PH_RENEW_SNAPSHOTS=1 build/release/test_sim --gtest_filter='throughput.*'
// and look at the difference before committing it.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "scenario.h"

namespace ph::sim {
namespace {

struct path {
  const char* algorithm;
  double loss;
  duration delay;               ///< one way
  bit_rate rate = 20_mbit;
  u32 queue_packets = 100;
};

struct outcome {
  double mbit = 0;              ///< of payload, mean over the seeds
  double resent = 0;            ///< share of segments that were retransmissions
};

/// One transfer without an end; what arrived after the first seconds.
outcome one_run(const path& p, u64 seed, duration warm_up, duration measured) {
  world w({.seed = seed});
  const pair_shape hosts =
      make_pair_of_hosts(w, {}, {.sysctls = {{"net.ipv4.tcp_congestion_control", p.algorithm}}});
  hosts.wire.set_config(link_end::a, {.rate = p.rate, .delay = p.delay, .loss = p.loss,
                                      .queue_packets = p.queue_packets});
  hosts.wire.set_config(link_end::b, {.delay = p.delay});
  u64 received = 0;
  w.spawn("b", "sink", [&received](app& a) -> co<> {
    const int fd = co_await a.accept(a.listener(80));
    std::vector<u8> buffer(256 * 1024);
    for (;;) received += co_await a.recv(fd, buffer);
  });
  w.spawn("a", "source", [](app& a) -> co<> {
    const int fd = co_await a.connect("10.0.0.2:80");
    const std::vector<u8> bytes(256 * 1024);
    for (;;) co_await a.send_all(fd, bytes);
  });
  w.run_for(warm_up);
  const u64 before = received;
  w.run_for(measured);
  host& a = w.host_at("a");
  return {static_cast<double>(received - before) * 8 / measured.seconds() / 1e6,
          static_cast<double>(a.counter("TcpRetransSegs")) /
              static_cast<double>(a.counter("TcpOutSegs"))};
}

outcome mean_of(const path& p, std::initializer_list<u64> seeds, duration warm_up,
                duration measured) {
  outcome sum;
  for (const u64 seed : seeds) {
    const outcome one = one_run(p, seed, warm_up, measured);
    sum.mbit += one.mbit / static_cast<double>(seeds.size());
    sum.resent += one.resent / static_cast<double>(seeds.size());
  }
  return sum;
}

/// M. Mathis et al., "The Macroscopic Behavior of the TCP Congestion Avoidance Algorithm" (1997):
/// rate = MSS / RTT * C / sqrt(p). C is sqrt(3/2) when losses come at equal distances and every
/// acknowledged segment counts; independent losses cost some of it.
TEST(throughput, reno_under_loss_follows_mathis_formula) {
#ifdef NDEBUG
  const std::vector<double> losses{0.001, 0.004, 0.01};
#else
  const std::vector<double> losses{0.01};  // sanitizers cost a factor of ten and more
#endif
  for (const double loss : losses) {
    for (const duration delay : {10_ms, 40_ms}) {
      const path p{"reno", loss, delay, 1_gbit, 20'000};
      const double got = mean_of(p, {1, 2, 3}, 10_s, 60_s).mbit;
      const double formula =
          1448 * 8 / (2 * delay.seconds()) * std::sqrt(1.5 / loss) / 1e6;
      EXPECT_GT(got, formula * 0.7) << loss << ' ' << delay.ms();
      EXPECT_LT(got, formula * 1.15) << loss << ' ' << delay.ms();
    }
  }
}

#ifdef NDEBUG  // the whole table takes too long under sanitizers

constexpr const char* snapshot = PH_SOURCE_DIR "/tests/sim/snapshots/throughput.txt";

struct table_row {
  std::string name;
  double mbit = 0, resent = 0;
};

std::string line_of(const table_row& row) {
  return fmt::format("{:<28} {:8.3f} {:8.2f}", row.name, row.mbit, row.resent * 100);
}

std::vector<table_row> measure() {
  std::vector<table_row> out;
  for (const char* algorithm : {"reno", "cubic", "bbr", "dctcp", "vegas"}) {
    for (const double loss : {0.0, 0.001, 0.01, 0.03}) {
      for (const duration delay : {2_ms, 20_ms, 80_ms}) {
        const outcome o = mean_of({algorithm, loss, delay}, {1, 2, 3}, 2_s, 20_s);
        out.push_back({fmt::format("{} loss {:.1f} % delay {} ms", algorithm, loss * 100,
                                   delay.ms()),
                       o.mbit, o.resent});
      }
    }
  }
  return out;
}

void renew(const std::vector<table_row>& rows) {
  std::ofstream out(snapshot);
  out << "# 20 Mbit/s, a queue of 100 packets, loss and delay in one direction's wire, the mean\n"
         "# of three seeds over 20 s. Columns: path, Mbit/s of payload, % of segments resent.\n";
  for (const table_row& row : rows) out << line_of(row) << '\n';
}

/// Small changes of behaviour move single losses about: a tenth (or what few losses explain) is
/// within the noise of three seeds; more is a change to look at.
TEST(throughput, the_table_of_paths_and_algorithms_is_as_committed) {
  const std::vector<table_row> rows = measure();
  if (std::getenv("PH_RENEW_SNAPSHOTS") != nullptr) renew(rows);
  std::ifstream in(snapshot);
  ASSERT_TRUE(in) << snapshot;
  std::size_t at = 0;
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("#")) continue;
    ASSERT_LT(at, rows.size()) << line;
    const table_row& now = rows[at++];
    ASSERT_TRUE(line.starts_with(now.name)) << line << "\nis now\n" << line_of(now);
    std::istringstream columns(line.substr(28));
    double mbit = 0, resent = 0;
    columns >> mbit >> resent;
    EXPECT_NEAR(now.mbit, mbit, std::max(mbit * 0.12, 0.15))
        << line << "\nis now\n" << line_of(now);
    EXPECT_NEAR(now.resent * 100, resent, std::max(resent * 0.3, 0.5))
        << line << "\nis now\n" << line_of(now);
  }
  EXPECT_EQ(at, rows.size());
}

#endif

}  // namespace
}  // namespace ph::sim
