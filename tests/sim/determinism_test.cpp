// The same seed gives the same packets to the byte; another seed does not; hosts that are added
// elsewhere change nothing for those that were there.
#include <gmock/gmock.h>

#include <fmt/format.h>

#include "scenario.h"

namespace ph::sim {
namespace {

struct outcome {
  u64 hash = 0;
  u64 events = 0;
  friend bool operator==(const outcome&, const outcome&) = default;
};

struct settings {
  u64 seed = 1;
  u32 cpus = 1;
  double buggify = 0;
};

/// Four flows, two each way, over a bottleneck with every fault, and some datagrams.
outcome run_dumbbell(const settings& s) {
  world w({.seed = s.seed, .buggify = s.buggify});
  hash_sink hash;
  w.trace().add(hash);
  const link_config bottleneck{.rate = 20_mbit, .delay = 8_ms, .jitter = 4_ms, .loss = 0.01,
                               .reorder = 0.01, .duplicate = 0.01, .corrupt = 0.01,
                               .queue_packets = 40};
  const dumbbell_shape net = make_dumbbell(w, 2, bottleneck, {}, {.cpus = s.cpus});
  for (std::size_t i = 0; i < 2; ++i) {
    const endpoint right(dumbbell_shape::right_addr(i), 80);
    w.spawn(*net.right[i], "checker", stream_checker(80, 300'000));
    w.spawn(*net.left[i], "sender", stream_sender(right, 300'000));
    w.spawn(*net.left[i], "checker", stream_checker(81, 100'000));
    w.spawn(*net.right[i], "sender",
            stream_sender({ipv4_addr(10, 1, static_cast<u8>(i), 2), 81}, 100'000));
  }
  w.run_apps();
  w.trace().remove(hash);
  EXPECT_GT(hash.recorded(), 5'000u);
  return {hash.value(), w.events().events_run()};
}

TEST(determinism, the_same_seed_gives_the_same_packets) {
  EXPECT_EQ(run_dumbbell({}), run_dumbbell({}));
}

TEST(determinism, also_with_two_cpus_per_host) {
  EXPECT_EQ(run_dumbbell({.cpus = 2}), run_dumbbell({.cpus = 2}));
}

TEST(determinism, also_with_rare_branches_armed) {
  EXPECT_EQ(run_dumbbell({.buggify = 0.01}), run_dumbbell({.buggify = 0.01}));
}

TEST(determinism, another_seed_gives_others) {
  EXPECT_NE(run_dumbbell({.seed = 1}).hash, run_dumbbell({.seed = 2}).hash);
}

/// What happens at a and b over a lossy wire, with `others` pairs of hosts that talk as well.
outcome run_pair_among(std::size_t others) {
  world w;
  hosts_hash hash({"a", "b"});
  w.trace().add(hash);
  const link_config lossy{.rate = 20_mbit, .delay = 3_ms, .loss = 0.02};
  const auto add_pair = [&](const std::string& x, const std::string& y, int net) {
    w.add_host(x);
    w.add_host(y);
    w.connect(x, "eth0", fmt::format("10.0.{}.1/24", net), y, "eth0",
              fmt::format("10.0.{}.2/24", net), lossy);
    w.spawn(y, "checker", stream_checker(80, 200'000));
    w.spawn(x, "sender",
            stream_sender({ipv4_addr(10, 0, static_cast<u8>(net), 2), 80}, 200'000));
  };
  for (std::size_t i = 0; i < others; ++i) {
    add_pair(fmt::format("x{}", i), fmt::format("y{}", i), static_cast<int>(i) + 1);
    if (i == 0) add_pair("a", "b", 0);  // neither first nor last
  }
  if (others == 0) add_pair("a", "b", 0);
  w.run_for(60_s);
  w.trace().remove(hash);
  return {hash.value(), hash.recorded()};
}

TEST(determinism, other_hosts_do_not_disturb) {
  const outcome alone = run_pair_among(0);
  EXPECT_GT(alone.events, 1'000u);
  EXPECT_EQ(alone, run_pair_among(1));
  EXPECT_EQ(alone, run_pair_among(5));
}

}  // namespace
}  // namespace ph::sim
