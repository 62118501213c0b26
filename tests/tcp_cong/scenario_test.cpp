// Whole connections over a simulated bottleneck: what each algorithm makes of it. The ranges are
// around what Linux reaches on the same path, and around Mathis' formula for Reno under loss.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "sim/topology.h"
#include "uapi/inet.h"
#include "uapi/tcp_cc_info.h"

namespace ph::sim {
namespace {

using namespace literals;

struct bottleneck {
  bit_rate rate = 20_mbit;
  duration delay = 20_ms;   ///< one way
  u32 queue_packets = 66;   ///< 100 kB
  double loss = 0;
};

/// a sends to b, for ever. Only that direction is narrow.
struct transfer {
  world w;
  pair_shape hosts;
  u64 received = 0;
  int fd = -1;          ///< the sender's socket
  app* sender = nullptr;

  transfer(const std::string& algorithm, const bottleneck& path)
      : hosts(make_pair_of_hosts(w, {}, {.sysctls = {{"net.ipv4.tcp_congestion_control",
                                                      algorithm}}})) {
    hosts.wire.set_config(link_end::a, {.rate = path.rate, .delay = path.delay, .loss = path.loss,
                                        .queue_packets = path.queue_packets});
    hosts.wire.set_config(link_end::b, {.delay = path.delay});
    w.spawn("b", "sink", [this](app& a) -> co<> {
      const int listener = a.listener(5001);
      const int in = co_await a.accept(listener);
      std::vector<u8> buffer(256 * 1024);
      for (;;) {
        const std::size_t got = co_await a.recv(in, buffer);
        received += got;
      }
    });
    sender = &w.spawn("a", "source", [this](app& a) -> co<> {
      fd = co_await a.connect("10.0.0.2:5001");
      const std::vector<u8> data(256 * 1024);
      for (;;) co_await a.send_all(fd, data);
    });
  }
  double mbit_per_second(duration over) {
    const u64 before = received;
    w.run_for(over);
    return static_cast<double>(received - before) * 8 / over.seconds() / 1e6;
  }
  template <class T>
  T option(int name) {
    T out{};
    const auto len = sender->call([&](task& t) {
      return sys_getsockopt(t, fd, uapi::sol_tcp, name, {reinterpret_cast<u8*>(&out), sizeof out});
    });
    EXPECT_TRUE(len.has_value() && *len <= sizeof out);
    return out;
  }
  uapi::tcp_info info() { return option<uapi::tcp_info>(uapi::tcp_info_opt); }
};

struct row {
  const char* algorithm;
  bottleneck path;
  double least, most;  ///< Mbit/s of payload
  duration over = 20_s;
};

class congestion_table : public testing::TestWithParam<row> {};

TEST_P(congestion_table, goodput) {
  const row& r = GetParam();
  transfer t(r.algorithm, r.path);
  t.w.run_for(1_s);
  const double goodput = t.mbit_per_second(r.over);
  RecordProperty("mbit_per_second", std::to_string(goodput));
  EXPECT_GE(goodput, r.least) << r.algorithm;
  EXPECT_LE(goodput, r.most) << r.algorithm;
}

constexpr bottleneck fat_and_lossy = {.rate = 100_mbit, .queue_packets = 330, .loss = 0.002};

INSTANTIATE_TEST_SUITE_P(
    linux, congestion_table,
    testing::Values(row{"reno", {}, 17.5, 19.3, 10_s},
                    row{"cubic", {}, 17.5, 19.3, 10_s},
                    row{"bbr", {}, 15.5, 19.3}, row{"bbr3", {}, 17.5, 19.3},
                    row{"vegas", {}, 17.5, 19.3, 10_s},
                    row{"reno", fat_and_lossy, 5.5, 9.5}, row{"cubic", fat_and_lossy, 5.5, 10.5},
                    row{"bbr", fat_and_lossy, 80, 97, 1_s},
                    row{"bbr3", fat_and_lossy, 75, 97, 5_s}),
    [](const auto& which) {
      return std::string(which.param.algorithm) + (which.param.path.loss > 0 ? "_with_loss" : "");
    });

struct lossy_row {
  double loss;
  duration delay;
};
class mathis : public testing::TestWithParam<lossy_row> {};

TEST_P(mathis, reno_under_random_loss) {
  // Mathis, Semke, Mahdavi, Ott (1997): MSS / RTT * sqrt(3/2) / sqrt(p), for a receiver whose every
  // segment counts; losses are single and the path is never full.
  const auto [loss, delay] = GetParam();
  transfer t("reno", {.rate = 1_gbit, .delay = delay, .queue_packets = 1000, .loss = loss});
  t.w.run_for(10_s);
  const double goodput = t.mbit_per_second(200_s);
  const double expected = 1448 * 8 / (2 * delay.seconds()) * std::sqrt(1.5 / loss) / 1e6;
  EXPECT_NEAR(goodput / expected, 1, 0.15) << expected;
}

INSTANTIATE_TEST_SUITE_P(closed_form, mathis,
                         testing::Values(lossy_row{0.0005, 20_ms}, lossy_row{0.002, 20_ms},
                                         lossy_row{0.002, 50_ms}, lossy_row{0.005, 10_ms}));

TEST(congestion_scenario, cubic_of_a_connection_follows_the_curve_of_rfc_9438) {
  transfer t("cubic", {.rate = 100_mbit, .delay = 50_ms, .queue_packets = 20'000});
  t.w.run_for(1200_ms);
  const link_config calm = t.hosts.wire.config(link_end::a);
  link_config broken = calm;
  broken.loss = 1;
  t.hosts.wire.set_config(link_end::a, broken);
  while (t.hosts.wire.stats(link_end::a).lost == 0) t.w.step();
  t.hosts.wire.set_config(link_end::a, calm);
  double w_max = 0;
  while (t.info().tcpi_ca_state == 0) {
    w_max = t.info().tcpi_snd_cwnd;
    t.w.run_for(1_ms);
  }
  while (t.info().tcpi_ca_state != 0) t.w.run_for(1_ms);
  const double begin_cwnd = t.info().tcpi_snd_cwnd;
  EXPECT_NEAR(begin_cwnd, 0.7 * w_max, 0.02 * w_max);
  const double k = std::cbrt((w_max - begin_cwnd) / 0.4);
  const instant begin = t.w.now();
  while (t.w.now() - begin < seconds(static_cast<s64>(k) + 4)) {
    t.w.run_for(200_ms);
    // The window follows the curve by a round trip or two.
    const double elapsed = (t.w.now() - begin).seconds();
    const auto curve = [&](double at) { return 0.4 * std::pow(at - k, 3) + w_max; };
    EXPECT_GE(t.info().tcpi_snd_cwnd, 0.98 * curve(elapsed - 0.3)) << elapsed;
    EXPECT_LE(t.info().tcpi_snd_cwnd, 1.02 * curve(elapsed)) << elapsed;
  }
  EXPECT_GT(t.info().tcpi_snd_cwnd, w_max) << "beyond the plateau";
}

/// Two algorithms on one bottleneck; the share of the first.
double share_beside(const char* first, const char* second, u32 queue_packets) {
  world w;
  dumbbell_shape hosts = make_dumbbell(w, 2, {.rate = 20_mbit, .delay = 15_ms,
                                              .queue_packets = queue_packets});
  std::array<u64, 2> received{};
  for (std::size_t i = 0; i < 2; ++i) {
    hosts.left[i]->set_sysctl("net.ipv4.tcp_congestion_control", i == 0 ? first : second);
    w.spawn(*hosts.right[i], "sink", [&received, i](app& a) -> co<> {
      const int listener = a.listener(5001);
      const int in = co_await a.accept(listener);
      std::vector<u8> buffer(256 * 1024);
      for (;;) {
        const std::size_t got = co_await a.recv(in, buffer);
        received[i] += got;
      }
    });
    w.spawn(*hosts.left[i], "source", [i](app& a) -> co<> {
      const int fd = co_await a.connect(endpoint(dumbbell_shape::right_addr(i), 5001));
      const std::vector<u8> data(256 * 1024);
      for (;;) co_await a.send_all(fd, data);
    });
  }
  w.run_for(10_s);
  const std::array<u64, 2> before = received;
  w.run_for(60_s);
  const auto got = [&](std::size_t i) { return static_cast<double>(received[i] - before[i]); };
  return got(0) / (got(0) + got(1));
}

TEST(congestion_scenario, bbr3_leaves_cubic_and_reno_a_share_and_keeps_one) {
  // One and a half bandwidth-delay products of queue.
  for (const char* other : {"cubic", "reno"}) {
    const double share = share_beside("bbr3", other, 75);
    EXPECT_GT(share, 0.2) << other;
    EXPECT_LT(share, 0.8) << other;
  }
  EXPECT_NEAR(share_beside("bbr3", "bbr3", 75), 0.5, 0.15);
}

TEST(congestion_scenario, in_a_short_queue_bbr3_is_kinder_to_cubic_than_bbr) {
  EXPECT_LT(share_beside("bbr3", "cubic", 20), share_beside("bbr", "cubic", 20));
}

TEST(congestion_scenario, bbr_drops_to_four_segments_in_the_tenth_second) {
  transfer t("bbr", {});
  t.w.run_for(1_s);
  std::vector<instant> low;
  while (t.w.now() < instant{} + 25_s) {
    t.w.run_for(20_ms);
    if (t.info().tcpi_snd_cwnd <= 4) low.push_back(t.w.now());
  }
  ASSERT_GE(low.size(), 16u);
  EXPECT_GE(low.front(), instant{} + 10_s);
  EXPECT_LE(low.front(), instant{} + 11_s);
  // Twice, for 200 ms and a round trip or two each.
  const auto gap = std::adjacent_find(low.begin(), low.end(),
                                      [](instant x, instant y) { return y - x > 5_s; });
  ASSERT_NE(gap, low.end());
  const auto first = static_cast<std::size_t>(gap - low.begin()) + 1;
  EXPECT_GE(first, 9u);
  EXPECT_LE(first, 20u);
}

TEST(congestion_scenario, bbr_keeps_the_queue_short_where_cubic_fills_it) {
  const bottleneck deep = {.queue_packets = 266};  // four bandwidth-delay products
  const auto mean_rtt_us = [&](const char* algorithm) {
    transfer t(algorithm, deep);
    t.w.run_for(3_s);
    u64 sum = 0;
    for (int i = 0; i < 60; ++i) {
      t.w.run_for(100_ms);
      sum += t.info().tcpi_rtt;
    }
    return sum / 60;
  };
  EXPECT_LT(mean_rtt_us("bbr"), 75'000u);
  EXPECT_GT(mean_rtt_us("cubic"), 90'000u);
}

TEST(congestion_scenario, pacing_spreads_segments_over_the_round_trip) {
  transfer t("bbr", {});
  t.w.run_for(5_s);
  u32 together = 0, longest = 0;
  instant last{-1};
  t.hosts.wire.set_observer([&](const link::frame_seen& f) {
    if (f.from != link_end::a) return;
    together = f.when == last ? together + 1 : 1;
    longest = std::max(longest, together);
    last = f.when;
  });
  t.w.run_for(2_s);
  EXPECT_LE(longest, 3u);
}

TEST(congestion_scenario, so_max_pacing_rate_limits_any_algorithm) {
  transfer t("cubic", {});
  t.w.run_for(100_ms);
  t.sender->setsockopt(t.fd, uapi::sol_socket, uapi::so_max_pacing_rate, 500'000);
  t.w.run_for(2_s);
  EXPECT_NEAR(t.mbit_per_second(5_s), 4.0, 0.1);
}

TEST(congestion_scenario, the_send_buffer_begins_as_on_linux) {
  // Room for a recovery, in which new data join what waits above the hole: with less, Reno in a
  // short queue loses a burst at the end of each, and halves twice.
  transfer t("reno", {.queue_packets = 17});
  t.w.run_for(100_ms);
  int bytes = 0;
  ASSERT_TRUE(t.sender->call([&](task& p) {
    return sys_getsockopt(p, t.fd, uapi::sol_socket, uapi::so_sndbuf,
                          {reinterpret_cast<u8*>(&bytes), sizeof bytes});
  }));
  EXPECT_EQ(bytes, 87'040);
  t.w.run_for(2_s);
  for (int i = 0; i < 1'000; ++i) {
    t.w.run_for(20_ms);
    EXPECT_GE(t.info().tcpi_snd_ssthresh, 36u) << t.w.now().ns;
  }
}

TEST(congestion_scenario, sysctls_and_options_name_the_algorithms) {
  world w;
  make_pair_of_hosts(w);
  host& a = w.host_at("a");
  sysctl_table& table = a.net().sysctls();
  EXPECT_EQ(*table.get("net.ipv4.tcp_congestion_control"), "cubic");
  EXPECT_EQ(*table.get("net.ipv4.tcp_available_congestion_control"),
            "reno cubic cubic++ bbr bbr3 dctcp vegas");
  EXPECT_EQ(table.set("net.ipv4.tcp_available_congestion_control", "x"), fail(errc::acces));
  EXPECT_EQ(table.set("net.ipv4.tcp_congestion_control", "nonesuch"), fail(errc::inval));
  w.spawn("a", "names", [](app& p) -> co<> {
    const int fd = p.tcp();
    const auto set = [&](std::string_view name) {
      return p.call([&](task& t) {
        return sys_setsockopt(t, fd, uapi::sol_tcp, uapi::tcp_congestion, bytes_of(name));
      });
    };
    const auto get = [&] {
      std::array<char, 16> name{};
      EXPECT_EQ(p.call([&](task& t) {
        return sys_getsockopt(t, fd, uapi::sol_tcp, uapi::tcp_congestion,
                              {reinterpret_cast<u8*>(name.data()), name.size()});
      }), 16u);
      return std::string(name.data());
    };
    EXPECT_EQ(get(), "cubic");
    for (const char* name : {"reno", "bbr", "bbr3", "dctcp", "vegas", "cubic"}) {
      EXPECT_TRUE(set(name));
      EXPECT_EQ(get(), name);
    }
    EXPECT_EQ(set("nonesuch"), fail(errc::noent));
    EXPECT_EQ(get(), "cubic");
    co_return;
  });
  w.run_apps();
}

TEST(congestion_scenario, tcp_cc_info_tells_the_model) {
  transfer bbr("bbr", {});
  bbr.w.run_for(3_s);
  const auto model = bbr.option<uapi::tcp_bbr_info>(uapi::tcp_cc_info);
  EXPECT_NEAR(model.bbr_bw_lo, 2.39e6, 0.1e6);  // payload of 20 Mbit/s of frames
  EXPECT_NEAR(model.bbr_min_rtt, 40'600, 1'500);
  EXPECT_EQ(model.bbr_cwnd_gain, 512u);
  transfer vegas("vegas", {});
  vegas.w.run_for(3_s);
  const auto rtts = vegas.option<uapi::tcpvegas_info>(uapi::tcp_cc_info);
  EXPECT_NEAR(rtts.tcpv_minrtt, 40'600, 1'500);
}

TEST(congestion_scenario, changing_the_algorithm_in_the_middle_lets_go_of_pacing) {
  transfer t("bbr", {});
  t.w.run_for(3_s);
  ASSERT_LT(t.info().tcpi_pacing_rate, 10'000'000u);
  const std::string_view name = "cubic";
  ASSERT_TRUE(t.sender->call([&](task& p) {
    return sys_setsockopt(p, t.fd, uapi::sol_tcp, uapi::tcp_congestion, bytes_of(name));
  }));
  EXPECT_GT(t.mbit_per_second(10_s), 16.0);
  EXPECT_GT(t.info().tcpi_snd_cwnd, 20u);
}

}  // namespace
}  // namespace ph::sim
