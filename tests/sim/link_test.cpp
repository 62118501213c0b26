// The simulated wire between two bare devices: what arrives, when, and what is counted when it
// does not. No protocol above: a tap on the receiving side notes the frames.
#include "sim/link.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <set>

#include "net/core/dev_tx.h"
#include "net/core/scarce_memory.h"
#include "net/ethernet/eth.h"

namespace ph::sim {
namespace {

using namespace literals;
using testing::Each;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

struct arrival {
  instant when;
  u8 number;
  std::vector<u8> bytes;
};

/// A machine with one device and no protocols.
struct bare_host {
  bare_host(event_queue& q, packet_memory& memory, const char* name, u8 number)
      : events(q), machine({.name = name, .memory = &memory}), net(machine, "init"),
        turn([this] { run(); }) {
    machine.set_on_wake([this] { events.schedule(turn, events.now()); });
    const rtnl_guard rtnl(machine.rtnl());
    mem_config config;
    config.name = "eth0";
    config.addr = mac_addr{{2, 0, 0, 0, 0, number}};
    port = *mem_create(rtnl.held(), net, config);
    EXPECT_TRUE(port->device().open(rtnl.held(), machine.boot_cpu()));
    tap.func = [this](cpu& cx, const sk_buff& skb, net_device&, bool outgoing) {
      if (outgoing) return;
      std::vector<u8> bytes(skb.len());
      EXPECT_TRUE(skb.copy_bits(0, bytes));
      got.push_back({cx.now(), bytes.empty() ? u8{0} : bytes[0], bytes});
    };
    net.add_tap(tap);
  }
  void run() {
    const instant next = machine.run(events.now());
    if (next != never) events.schedule(turn, next);
  }
  /// Sends a frame of `len` bytes with header, whose payload is all `number`.
  void send(u8 number, u32 len = 1000) {
    machine.enter(events.now());
    cpu& cx = machine.boot_cpu();
    skb_ptr skb = alloc_skb(cx, max_header + len);
    skb->reserve(max_header);
    const std::vector<u8> payload(len - 14, number);
    skb->put_bytes(payload);
    skb->dev = &port->device();
    const mac_addr everyone = mac_addr::broadcast();
    port->device().headers()->create(cx, *skb, port->device(), 0x88b5, &everyone, nullptr);
    static_cast<void>(dev_queue_xmit(cx, std::move(skb)));
  }
  [[nodiscard]] u64 drops(skb_drop_reason why) { return machine.drops().get(why.info()); }
  [[nodiscard]] std::vector<s64> arrival_us() const {
    std::vector<s64> out;
    for (const arrival& a : got) out.push_back(a.when.us());
    return out;
  }
  [[nodiscard]] std::vector<int> order() const {
    std::vector<int> out;
    for (const arrival& a : got) out.push_back(a.number);
    return out;
  }

  event_queue& events;
  kernel machine;
  net_namespace net;
  event turn;
  mem_port* port = nullptr;
  packet_tap tap;
  std::vector<arrival> got;
};

struct wire_test : testing::Test {
  packet_memory memory;
  event_queue events;
  bare_host a{events, memory, "a", 1};
  bare_host b{events, memory, "b", 2};
  std::unique_ptr<link> wire;

  void plug(const link_config& config, u64 seed = 1) {
    wire = std::make_unique<link>(events, "a-b", *a.port, *b.port, config, rng(seed));
  }
  void run() {
    while (events.run_one(never)) {
    }
  }
  const link_stats& sent() { return wire->stats(link_end::a); }
};

TEST_F(wire_test, an_ideal_wire_delivers_at_the_same_instant) {
  plug({});
  events.advance_to(instant{12345});
  a.send(7);
  run();
  ASSERT_THAT(b.got, SizeIs(1));
  EXPECT_EQ(b.got[0].when, instant{12345});
  EXPECT_THAT(b.got[0].bytes, Each(7));
  EXPECT_EQ(sent().frames, 1u);
  EXPECT_EQ(sent().bytes, 1000u);
  EXPECT_EQ(sent().delivered, 1u);
  EXPECT_EQ(wire->stats(link_end::b).frames, 0u);
}

TEST_F(wire_test, both_directions_carry) {
  plug({.delay = 1_ms});
  a.send(1);
  b.send(2);
  run();
  EXPECT_THAT(b.order(), ElementsAre(1));
  EXPECT_THAT(a.order(), ElementsAre(2));
}

TEST_F(wire_test, delay_is_added_once) {
  plug({.delay = 10_ms});
  a.send(1);
  a.send(2);
  EXPECT_EQ(wire->in_flight(link_end::a), 2u);
  run();
  EXPECT_THAT(b.arrival_us(), ElementsAre(10'000, 10'000));
  EXPECT_THAT(b.order(), ElementsAre(1, 2));
  EXPECT_EQ(wire->in_flight(link_end::a), 0u);
}

TEST_F(wire_test, rate_makes_frames_wait_for_each_other) {
  plug({.rate = 8_mbit, .delay = 5_ms});  // 1,000 bytes take 1 ms
  for (u8 i = 1; i <= 3; ++i) a.send(i);
  run();
  EXPECT_THAT(b.arrival_us(), ElementsAre(6'000, 7'000, 8'000));
  EXPECT_EQ(sent().longest_queue, 3u);
}

TEST_F(wire_test, a_wire_that_was_idle_starts_at_once) {
  plug({.rate = 8_mbit});
  a.send(1);
  run();
  events.advance_to(instant{} + 50_ms);
  a.send(2);
  run();
  EXPECT_THAT(b.arrival_us(), ElementsAre(1'000, 51'000));
}

TEST_F(wire_test, a_full_queue_drops_the_newest_and_says_so) {
  plug({.rate = 8_mbit, .queue_packets = 4});
  for (u8 i = 1; i <= 6; ++i) a.send(i);
  run();
  EXPECT_THAT(b.order(), ElementsAre(1, 2, 3, 4));
  EXPECT_EQ(sent().queue_full, 2u);
  EXPECT_EQ(a.drops(drop_reason::link_queue_full), 2u);
  events.advance_to(instant{} + 1_s);
  a.send(9);  // there is room again
  run();
  EXPECT_EQ(b.got.back().number, 9);
}

TEST_F(wire_test, a_delay_alone_does_not_hold_frames_without_end) {
  plug({.delay = 100_ms, .flight_bytes = 100'000});
  for (int i = 0; i < 1000; ++i) a.send(2);
  const u64 held = wire->in_flight(link_end::a);
  EXPECT_GT(held, 10u);
  EXPECT_LT(held, 1000u);
  EXPECT_EQ(sent().flight_full, 1000 - held);
  EXPECT_EQ(a.drops(drop_reason::link_flight_full), 1000 - held);
  run();
  EXPECT_EQ(b.got.size(), held);
  for (u64 i = 0; i < held; ++i) a.send(3);  // there is room again
  EXPECT_EQ(sent().flight_full, 1000 - held);
}

TEST_F(wire_test, what_waits_in_the_queue_is_bounded_by_its_length_alone) {
  plug({.rate = 8_mbit, .queue_packets = 500, .flight_bytes = 5000});
  for (int i = 0; i < 500; ++i) a.send(1);
  EXPECT_EQ(sent().flight_full, 0u);
  run();
  EXPECT_EQ(b.got.size(), 500u);
}

TEST_F(wire_test, what_waits_to_be_lost_makes_no_room_for_more) {
  plug({.rate = 8_mbit, .delay = 1_s, .loss = 1, .queue_packets = 500, .flight_bytes = 5000});
  for (int i = 0; i < 500; ++i) a.send(1);
  EXPECT_EQ(sent().lost, 500u);
  wire->set_config({.delay = 1_s, .flight_bytes = 5000});
  for (int i = 0; i < 100; ++i) a.send(2);
  EXPECT_LT(wire->in_flight(link_end::a), 10u);
  EXPECT_EQ(sent().flight_full, 100 - wire->in_flight(link_end::a));
}

TEST_F(wire_test, loss_is_counted_and_of_the_asked_size) {
  plug({.loss = 0.1});
  for (int i = 0; i < 2000; ++i) a.send(1);
  run();
  EXPECT_EQ(sent().lost + b.got.size(), 2000u);
  EXPECT_EQ(a.drops(drop_reason::fault_loss), sent().lost);
  EXPECT_GT(sent().lost, 140u);  // 200 ± 13 is one standard deviation
  EXPECT_LT(sent().lost, 260u);
}

TEST_F(wire_test, when_memory_is_nearly_out_it_takes_nothing) {
  plug({.delay = 1_ms});
  std::atomic<bool> starved{false};
  wire->set_starved(starved);
  a.send(1);
  starved = true;
  a.send(2);
  a.send(3);
  starved = false;
  a.send(4);
  run();
  EXPECT_THAT(b.order(), ElementsAre(1, 4));
  EXPECT_EQ(sent().starved, 2u);
  EXPECT_EQ(a.drops(drop_reason::nomem), 2u);
}

TEST_F(wire_test, bursts_lose_frames_in_a_row) {
  plug({.burst = 0.01, .burst_frames = 10});
  for (int i = 0; i < 4000; ++i) a.send(static_cast<u8>(i % 250));
  run();
  EXPECT_EQ(sent().lost + b.got.size(), 4000u);
  // One frame in a hundred begins a burst of ten: about 9 % are lost, in about 36 places.
  EXPECT_GT(sent().lost, 200u);
  EXPECT_LT(sent().lost, 900u);
  std::size_t gaps = 0;
  for (std::size_t i = 1; i < b.got.size(); ++i) {
    if ((b.got[i - 1].number + 1) % 250 != b.got[i].number) ++gaps;
  }
  EXPECT_LT(gaps * 4, sent().lost) << "losses stand together";
}

TEST_F(wire_test, loss_of_everything) {
  plug({.loss = 1});
  a.send(1);
  run();
  EXPECT_THAT(b.got, IsEmpty());
}

TEST_F(wire_test, jitter_spreads_but_never_overtakes) {
  plug({.delay = 10_ms, .jitter = 4_ms});
  for (u8 i = 0; i < 100; ++i) {
    events.advance_to(instant{} + 100_us * i);
    a.send(i);
    while (events.run_one(instant{} + 100_us * (i + 1))) {
    }
  }
  run();
  ASSERT_THAT(b.got, SizeIs(100));
  std::set<s64> flights;
  for (u8 i = 0; i < 100; ++i) {
    EXPECT_EQ(b.got[i].number, i);
    const s64 flight = b.got[i].when.us() - 100 * i;
    EXPECT_GE(flight, 6'000);
    EXPECT_LE(flight, 14'000);
    flights.insert(flight);
  }
  EXPECT_GT(flights.size(), 20u);
}

struct jitter_test : wire_test, testing::WithParamInterface<bool> {};

TEST_P(jitter_test, keeps_the_mean_however_close_the_frames) {
  const bool reorders = GetParam();
  plug({.delay = 20_ms, .jitter = 10_ms, .jitter_reorders = reorders});
  constexpr s64 frames = 10'000;
  double sum_ms = 0, squares = 0;
  s64 behind = 0;
  for (s64 i = 0; i < frames; ++i) {
    events.advance_to(instant{} + 1_ms * i);
    a.send(static_cast<u8>(i % 200));
    while (events.run_one(instant{} + 1_ms * (i + 1))) {
    }
  }
  run();
  ASSERT_THAT(b.got, SizeIs(frames));
  std::array<s64, 200> seen{};  // a frame is never more than 200 behind: its number tells it
  s64 latest = -1;
  for (const arrival& frame : b.got) {
    const s64 index = frame.number + 200 * seen[frame.number]++;
    const double flight = (frame.when - (instant{} + 1_ms * index)).seconds() * 1e3;
    EXPECT_GE(flight, 10 - 1e-3);
    EXPECT_LE(flight, 30 + 1e-3);
    sum_ms += flight;
    squares += flight * flight;
    behind += index < latest ? 1 : 0;
    latest = std::max(latest, index);
  }
  const double mean = sum_ms / frames;
  EXPECT_NEAR(mean, 20, 1);
  EXPECT_GT(std::sqrt(squares / frames - mean * mean), 4) << "it does stray";
  EXPECT_EQ(behind > 1000, reorders);
  EXPECT_EQ(behind == 0, !reorders);
}

INSTANTIATE_TEST_SUITE_P(in_order_and_not, jitter_test, testing::Bool());

TEST_F(wire_test, jitter_of_frames_far_apart_is_uniform) {
  plug({.delay = 10_ms, .jitter = 10_ms});
  for (u8 i = 0; i < 200; ++i) {
    events.advance_to(instant{} + 50_ms * i);
    a.send(i);
    while (events.run_one(instant{} + 50_ms * (i + 1))) {
    }
  }
  run();
  ASSERT_THAT(b.got, SizeIs(200));
  std::array<int, 4> quarters{};
  for (u8 i = 0; i < 200; ++i) {
    const s64 flight = (b.got[i].when - (instant{} + 50_ms * i)).us();
    ++quarters.at(static_cast<std::size_t>(std::clamp<s64>(flight / 5000, 0, 3)));
  }
  EXPECT_THAT(quarters, Each(testing::AllOf(testing::Ge(30), testing::Le(70))));
}

TEST_F(wire_test, reordered_frames_are_overtaken) {
  plug({.delay = 10_ms, .reorder = 0.2});
  for (u8 i = 0; i < 100; ++i) {
    events.advance_to(instant{} + 1_ms * i);
    a.send(i);
    while (events.run_one(instant{} + 1_ms * (i + 1))) {
    }
  }
  run();
  ASSERT_THAT(b.got, SizeIs(100));
  EXPECT_FALSE(std::is_sorted(b.got.begin(), b.got.end(),
                              [](const auto& x, const auto& y) { return x.number < y.number; }));
  const std::vector<int> order = b.order();
  EXPECT_EQ(std::set<int>(order.begin(), order.end()).size(), 100u);
  EXPECT_GT(sent().reordered, 5u);
  for (const arrival& got : b.got) EXPECT_LE(got.when.us() - 1000 * got.number, 20'000);
}

TEST_F(wire_test, duplicates_arrive_twice_with_the_same_bytes) {
  plug({.duplicate = 1});
  a.send(5);
  run();
  ASSERT_THAT(b.got, SizeIs(2));
  EXPECT_EQ(b.got[0].bytes, b.got[1].bytes);
  EXPECT_EQ(sent().duplicated, 1u);
  EXPECT_EQ(sent().delivered, 2u);
}

TEST_F(wire_test, corruption_turns_exactly_one_bit) {
  plug({.corrupt = 1});
  for (int i = 0; i < 200; ++i) a.send(0);
  run();
  EXPECT_EQ(sent().corrupted, 200u);
  std::size_t touched = 0;
  for (const arrival& got : b.got) {  // frames whose header was hit may not reach the tap
    int bits = 0;
    for (const u8 byte : got.bytes) bits += std::popcount(byte);
    EXPECT_LE(bits, 1);
    if (bits == 1) ++touched;
  }
  EXPECT_GT(touched, 150u);
}

TEST_F(wire_test, a_super_packet_cannot_be_corrupted_only_lost) {
  plug({.corrupt = 1});
  skb_ptr skb = alloc_skb(a.machine.boot_cpu(), 4000);
  static_cast<void>(skb->put(4000));
  skb->gso_size = 1448;
  skb->gso_segs = 3;
  skb->gso_type = gso_tcpv4;
  skb->dev = &a.port->device();
  net_device& dev = a.port->device();
  static_cast<void>(dev.ops().xmit(a.machine.boot_cpu(), dev, skb, false));
  run();
  EXPECT_THAT(b.got, IsEmpty());
  EXPECT_EQ(sent().corrupt_dropped, 1u);
  EXPECT_EQ(a.drops(drop_reason::fault_corrupt), 1u);
}

TEST_F(wire_test, the_same_seed_loses_the_same_frames) {
  std::vector<std::vector<int>> runs;
  for (const u64 seed : {u64{3}, u64{3}, u64{4}}) {
    wire.reset();
    b.got.clear();
    plug({.loss = 0.3}, seed);
    for (u8 i = 0; i < 100; ++i) a.send(i);
    run();
    runs.push_back(b.order());
  }
  EXPECT_EQ(runs[0], runs[1]);
  EXPECT_NE(runs[0], runs[2]);
}

TEST_F(wire_test, unplugging_drops_what_is_in_flight) {
  plug({.delay = 10_ms});
  a.send(1);
  wire.reset();
  run();
  EXPECT_THAT(b.got, IsEmpty());
  EXPECT_EQ(b.drops(drop_reason::dev_gone), 1u);
  a.send(2);
  EXPECT_EQ(a.drops(drop_reason::dev_gone), 1u);
  EXPECT_EQ(memory.live_packets(), 0u);
}

TEST_F(wire_test, the_observer_sees_frames_before_anything_befalls_them) {
  plug({.loss = 1});
  std::vector<std::pair<link_end, u32>> seen;
  wire->set_observer([&](const link::frame_seen& f) { seen.emplace_back(f.from, f.len); });
  a.send(1, 100);
  b.send(2, 200);
  run();
  EXPECT_THAT(seen, ElementsAre(std::pair(link_end::a, 100u), std::pair(link_end::b, 200u)));
}

TEST_F(wire_test, one_direction_can_change_alone) {
  plug({});
  wire->set_config(link_end::a, {.delay = 3_ms});
  a.send(1);
  b.send(2);
  run();
  EXPECT_THAT(b.arrival_us(), ElementsAre(3'000));
  EXPECT_THAT(a.arrival_us(), ElementsAre(0));
}

}  // namespace
}  // namespace ph::sim
