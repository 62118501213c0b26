// The neighbour table under a clock set by hand, with a fake protocol that records what is asked.
#include "net/core/neighbour.h"

#include "net/ethernet/eth.h"
#include "tests/core/machine.h"
#include "uapi/packet.h"
#include "wire/ethernet.h"

namespace ph {
namespace {

using test::fake_driver;
using test::machine;
using test::make_skb;

constexpr mac_addr mac_a{{2, 0, 0, 0, 0, 0xa}}, mac_b{{2, 0, 0, 0, 0, 0xb}};

/// What the table asked of its protocol.
struct solicitation {
  instant when;
  bool unicast;
  bool waiting;
  friend bool operator==(const solicitation&, const solicitation&) = default;
};

struct fake_arp final : neigh_ops {
  struct log {
    std::vector<solicitation> asked;
    std::vector<u8> reported;
  };
  explicit fake_arp(log& to) : log_(to) {}
  void solicit(cpu& cx, neighbour&, const sk_buff* waiting, bool unicast) override {
    log_.asked.push_back({cx.now(), unicast, waiting != nullptr});
  }
  void error_report(cpu& cx, neighbour&, skb_ptr skb) override {
    log_.reported.push_back(skb->data()[0]);
    drop(cx, std::move(skb), drop_reason::neigh_failed);
  }
  bool constructor(neighbour& neigh) override {
    if (!neigh.key().ipv4().is_multicast()) return false;
    neigh.set_fixed(nud_noarp, mac_addr{{1, 0, 0x5e, 0, 0, 1}});
    return true;
  }
  log& log_;
};

struct neigh : testing::Test {
  neigh() {
    net_device_config config;
    config.name = "eth0";
    config.addr = mac_addr{{2, 0, 0, 0, 0, 1}};
    dev = &test::add_fake(m, sent, std::move(config));
    dev->set_headers(&eth_header_ops());
    table = std::make_unique<neigh_table>(m.net(), uapi::eth_p_ip,
                                          std::make_unique<fake_arp>(arp));
  }
  ~neigh() override { table.reset(); }
  ref<neighbour> get(u32 host = 2) {
    auto out = table->lookup_or_create(m.cx(), neigh_key::of(ipv4_addr(0x0a000000 + host)), *dev);
    EXPECT_TRUE(out.has_value());
    return *out;
  }
  void send(neighbour& n, u8 number, std::size_t bytes = 40) {
    const std::vector<u8> packet(bytes, number);
    skb_ptr skb = make_skb(m.cx(), packet);
    skb->dev = dev;
    const nf_state state{nf_family::ipv4, nf_hooknum::postrouting, nullptr, dev, nullptr};
    const egress_pass pass = nf_postrouting(m.cx(), m.net(), skb, state);
    static_cast<void>(table->output(m.cx(), n, std::move(skb), pass));
  }
  result<void> hear(neighbour& n, const mac_addr& from, u8 state, u32 flags = 0) {
    return table->update(m.cx(), n, &from, state, flags);
  }
  /// A resolved entry in the given state.
  ref<neighbour> resolved(u8 state = nud_reachable) {
    ref<neighbour> n = get();
    EXPECT_TRUE(hear(*n, mac_a, state, neigh_update_override));
    EXPECT_EQ(n->state(), state);
    return n;
  }
  mac_addr to_of(std::size_t frame) {
    return view_as<ethhdr>(byte_view(sent.frames[frame]))->h_dest;
  }
  /// First payload byte of each frame sent.
  std::vector<u8> numbers() {
    std::vector<u8> out;
    for (const auto& frame : sent.frames) out.push_back(frame[14]);
    return out;
  }
  fake_driver::log sent, sent_second;
  fake_arp::log arp;
  machine m;
  net_device* dev = nullptr;
  std::unique_ptr<neigh_table> table;
};

TEST_F(neigh, first_packets_wait_for_the_answer) {
  m.run_until(instant{} + seconds(100));
  const ref<neighbour> n = get();
  EXPECT_EQ(n->state(), nud_none);
  send(*n, 1);
  send(*n, 2);
  EXPECT_EQ(n->state(), nud_incomplete);
  EXPECT_TRUE(sent.frames.empty());
  EXPECT_EQ(arp.asked, (std::vector<solicitation>{{m.now(), false, true}}));
  EXPECT_TRUE(hear(*n, mac_a, nud_reachable, neigh_update_override));
  EXPECT_EQ(numbers(), (std::vector<u8>{1, 2}));
  EXPECT_EQ(to_of(0), mac_a);
  const ethhdr& eth = *view_as<ethhdr>(byte_view(sent.frames[1]));
  EXPECT_EQ(eth.h_source, dev->dev_addr());
  EXPECT_EQ(eth.h_proto.value(), uapi::eth_p_ip);
  send(*n, 3);
  EXPECT_EQ(numbers(), (std::vector<u8>{1, 2, 3}));
}

TEST_F(neigh, silence_is_reported_after_three_requests) {
  m.run_until(instant{} + seconds(100));
  const instant start = m.now();
  const ref<neighbour> n = get();
  send(*n, 1);
  send(*n, 2);
  m.run_until(start + seconds(3) - nanoseconds(1));
  EXPECT_EQ(arp.asked, (std::vector<solicitation>{{start, false, true},
                                                 {start + seconds(1), false, true},
                                                 {start + seconds(2), false, true}}));
  EXPECT_EQ(n->state(), nud_incomplete);
  EXPECT_TRUE(arp.reported.empty());
  m.run_until(start + seconds(3));
  EXPECT_EQ(n->state(), nud_failed);
  EXPECT_EQ(arp.reported, (std::vector<u8>{1, 2}));
  m.run_for(seconds(20));
  EXPECT_EQ(arp.asked.size(), 3u) << "nobody asks for a failed entry by itself";
  send(*n, 3);
  EXPECT_EQ(arp.asked.size(), 4u) << "the next packet starts over";
  EXPECT_EQ(n->state(), nud_incomplete);
}

TEST_F(neigh, the_waiting_queue_is_bounded_and_loses_the_oldest) {
  const ref<neighbour> n = get();
  skb_ptr probe = make_skb(m.cx(), std::vector<u8>(40));
  table->defaults.unres_qlen_bytes = static_cast<s32>(probe->truesize * 3);
  consume(m.cx(), std::move(probe));
  for (u8 i = 1; i <= 5; ++i) send(*n, i);
  EXPECT_EQ(m.drops(drop_reason::neigh_queuefull), 2u);
  EXPECT_TRUE(hear(*n, mac_a, nud_reachable, neigh_update_override));
  EXPECT_EQ(numbers(), (std::vector<u8>{3, 4, 5}));
}

TEST_F(neigh, reachable_becomes_stale_between_half_and_one_and_a_half_of_the_base) {
  for (u64 seed = 1; seed <= 30; ++seed) {
    fake_driver::log log;
    machine other(1, seed);
    fake_arp::log asked;
    net_device_config config;
    config.name = "eth0";
    net_device& eth = test::add_fake(other, log, std::move(config));
    neigh_table t(other.net(), uapi::eth_p_ip, std::make_unique<fake_arp>(asked));
    other.run_until(instant{} + seconds(100));
    ref<neighbour> n = *t.lookup_or_create(other.cx(), neigh_key::of(ipv4_addr(1)), eth);
    ASSERT_TRUE(t.update(other.cx(), *n, &mac_a, nud_reachable, neigh_update_override));
    other.run_for(seconds(15) - nanoseconds(1));
    EXPECT_EQ(n->state(), nud_reachable) << seed;
    other.run_for(seconds(30) + nanoseconds(1));
    EXPECT_EQ(n->state(), nud_stale) << seed;
    EXPECT_TRUE(asked.asked.empty());
  }
}

TEST_F(neigh, a_stale_entry_in_use_is_verified_by_unicast) {
  m.run_until(instant{} + seconds(100));
  ref<neighbour> n = resolved(nud_stale);
  send(*n, 1);
  EXPECT_EQ(n->state(), nud_delay);
  EXPECT_EQ(numbers(), (std::vector<u8>{1})) << "sent at once, to the address known";
  const instant start = m.now();
  m.run_until(start + seconds(5) - nanoseconds(1));
  EXPECT_TRUE(arp.asked.empty());
  m.run_until(start + seconds(5));
  EXPECT_EQ(n->state(), nud_probe);
  m.run_until(start + seconds(8) - nanoseconds(1));
  EXPECT_EQ(arp.asked, (std::vector<solicitation>{{start + seconds(5), true, false},
                                                 {start + seconds(6), true, false},
                                                 {start + seconds(7), true, false}}));
  send(*n, 2);
  EXPECT_EQ(numbers(), (std::vector<u8>{1, 2}));
  m.run_until(start + seconds(8));
  EXPECT_EQ(n->state(), nud_failed);
}

TEST_F(neigh, an_answer_to_a_probe_makes_it_reachable) {
  m.run_until(instant{} + seconds(100));
  ref<neighbour> n = resolved(nud_stale);
  send(*n, 1);
  m.run_for(seconds(5));
  EXPECT_EQ(n->state(), nud_probe);
  EXPECT_TRUE(hear(*n, mac_a, nud_reachable, neigh_update_override));
  EXPECT_EQ(n->state(), nud_reachable);
  m.run_for(seconds(10));
  EXPECT_EQ(arp.asked.size(), 1u);
}

TEST_F(neigh, upper_layer_confirmation_spares_the_probe) {
  m.run_until(instant{} + seconds(100));
  ref<neighbour> n = resolved(nud_stale);
  send(*n, 1);
  m.run_for(seconds(2));
  n->confirm(m.now());
  m.run_for(seconds(3));
  EXPECT_EQ(n->state(), nud_reachable);
  for (int i = 0; i < 200; ++i) {  // far beyond any reachable time
    m.run_for(seconds(1));
    n->confirm(m.now());
    send(*n, 2);
  }
  EXPECT_EQ(n->state(), nud_reachable);
  EXPECT_TRUE(arp.asked.empty());
}

TEST_F(neigh, a_reachable_entry_in_use_is_verified_when_its_time_is_over) {
  m.run_until(instant{} + seconds(100));
  ref<neighbour> n = resolved();
  for (int i = 0; i < 60; ++i) {
    m.run_for(seconds(1));
    send(*n, 1);
    if (n->state() == nud_probe) break;
  }
  EXPECT_EQ(n->state(), nud_probe);
  EXPECT_FALSE(arp.asked.empty());
}

struct update_case {
  const char* what;
  u8 old_state;
  mac_addr heard;
  u8 new_state;
  u32 flags;
  u8 want_state;
  mac_addr want_addr;
  errc want_error = errc::ok;
};

struct neigh_update_rules : neigh, testing::WithParamInterface<update_case> {};

TEST_P(neigh_update_rules, hold) {
  const update_case& c = GetParam();
  m.run_until(instant{} + seconds(100));
  ref<neighbour> n = get();
  ASSERT_TRUE(hear(*n, mac_a, c.old_state, neigh_update_override | neigh_update_admin));
  ASSERT_EQ(n->state(), c.old_state);
  const auto answer = hear(*n, c.heard, c.new_state, c.flags);
  EXPECT_EQ(answer ? errc::ok : answer.error(), c.want_error) << c.what;
  EXPECT_EQ(n->state(), c.want_state) << c.what;
  EXPECT_EQ(n->ha(), c.want_addr) << c.what;
}
constexpr u32 over = neigh_update_override, weak = neigh_update_weak_override,
              admin = neigh_update_admin;
INSTANTIATE_TEST_SUITE_P(
    table, neigh_update_rules,
    testing::Values(
        update_case{"same address, hearsay: nothing changes", nud_reachable, mac_a, nud_stale, 0,
                    nud_reachable, mac_a},
        update_case{"same address, proof", nud_stale, mac_a, nud_reachable, 0, nud_reachable,
                    mac_a},
        update_case{"new address, proof, override", nud_reachable, mac_b, nud_reachable, over,
                    nud_reachable, mac_b},
        update_case{"new address, hearsay, override", nud_reachable, mac_b, nud_stale, over,
                    nud_stale, mac_b},
        update_case{"new address without override", nud_reachable, mac_b, nud_reachable, 0,
                    nud_reachable, mac_a},
        update_case{"new address, weak override: verify what we know", nud_reachable, mac_b,
                    nud_reachable, weak, nud_stale, mac_a},
        update_case{"weak override, but we were not sure anyway", nud_delay, mac_b,
                    nud_reachable, weak, nud_delay, mac_a},
        update_case{"permanent stays", nud_permanent, mac_b, nud_reachable, over, nud_permanent,
                    mac_a, errc::perm},
        update_case{"permanent changes for the administrator", nud_permanent, mac_b, nud_stale,
                    over | admin, nud_stale, mac_b},
        update_case{"noarp stays", nud_noarp, mac_b, nud_reachable, over, nud_noarp, mac_a,
                    errc::perm},
        update_case{"the administrator may make it stale", nud_reachable, mac_a, nud_stale, admin,
                    nud_stale, mac_a},
        update_case{"made permanent", nud_reachable, mac_b, nud_permanent, over | admin,
                    nud_permanent, mac_b},
        update_case{"failed", nud_reachable, mac_a, nud_failed, admin, nud_failed, mac_a}));

TEST_F(neigh, without_an_address_there_is_nothing_to_learn) {
  ref<neighbour> n = get();
  EXPECT_EQ(table->update(m.cx(), *n, nullptr, nud_reachable, 0).error(), errc::inval);
  EXPECT_TRUE(hear(*n, mac_a, nud_stale));
  EXPECT_TRUE(table->update(m.cx(), *n, nullptr, nud_reachable, 0));
  EXPECT_EQ(n->ha(), mac_a);
  EXPECT_EQ(n->state(), nud_reachable);
}

TEST_F(neigh, fixed_entries_need_no_resolution) {
  const ref<neighbour> n =
      *table->lookup_or_create(m.cx(), neigh_key::of(ipv4_addr(224, 0, 0, 1)), *dev);
  EXPECT_EQ(n->state(), nud_noarp);
  send(*n, 1);
  EXPECT_EQ(to_of(0), (mac_addr{{1, 0, 0x5e, 0, 0, 1}}));
  m.run_for(seconds(1000));
  EXPECT_EQ(n->state(), nud_noarp);
}

TEST_F(neigh, lookup_finds_by_key_and_device) {
  net_device_config config;
  config.name = "eth1";
  net_device& second = test::add_fake(m, sent_second, std::move(config));
  const neigh_key key = neigh_key::of(ipv4_addr(10, 0, 0, 2));
  EXPECT_FALSE(table->lookup(key, *dev));
  const ref<neighbour> n = get(2);
  EXPECT_EQ(table->lookup(key, *dev), n);
  EXPECT_EQ(get(2), n);
  EXPECT_FALSE(table->lookup(key, second));
  EXPECT_EQ(table->size(), 1u);
}

TEST_F(neigh, a_device_that_goes_takes_its_neighbours) {
  const ref<neighbour> held = get(2);
  send(*held, 1);
  static_cast<void>(get(3));
  table->flush_dev(m.cx(), *dev);
  EXPECT_EQ(table->size(), 0u);
  EXPECT_TRUE(held->dead());
  EXPECT_EQ(m.drops(drop_reason::dev_down), 1u);
  send(*held, 2);
  EXPECT_EQ(m.drops(drop_reason::neigh_dead), 1u);
  EXPECT_EQ(hear(*held, mac_a, nud_reachable).error(), errc::inval);
  m.run_for(seconds(100));
  EXPECT_EQ(arp.asked.size(), 1u);
}

TEST_F(neigh, erase_removes_even_permanent_entries) {
  ref<neighbour> n = get();
  EXPECT_TRUE(hear(*n, mac_a, nud_permanent, neigh_update_override | neigh_update_admin));
  const rtnl_guard rtnl(m.host->rtnl());
  EXPECT_TRUE(table->erase(rtnl.held(), m.cx(), *n));
  EXPECT_EQ(table->size(), 0u);
  EXPECT_EQ(table->erase(rtnl.held(), m.cx(), *n).error(), errc::noent);
}

TEST_F(neigh, old_entries_nobody_holds_are_collected) {
  table->gc_thresh1 = 4;
  const ref<neighbour> held = get(1);
  for (u32 i = 2; i <= 10; ++i) static_cast<void>(hear(*get(i), mac_a, nud_stale));
  static_cast<void>(hear(*get(11), mac_a, nud_permanent, neigh_update_admin));
  m.run_for(seconds(40));
  EXPECT_EQ(table->size(), 11u);
  m.run_for(seconds(60));
  EXPECT_EQ(table->size(), 2u) << "what is held, and what is permanent";
  EXPECT_FALSE(held->dead());
  m.run_for(seconds(60));
  EXPECT_EQ(m.host->next_deadline(), never) << "a small table needs no collector";
}

TEST_F(neigh, a_base_time_of_nothing_does_not_keep_the_collector_busy) {
  table->gc_thresh1 = 0;
  table->defaults.base_reachable_time_ms = 0;
  const ref<neighbour> held = get();
  for (int turns = 0; turns < 3; ++turns) {
    const instant before = m.host->next_deadline();
    EXPECT_GE(before, m.now() + milliseconds(10));
    m.run_for(before - m.now());
    EXPECT_FALSE(held->dead());
  }
}

/// What sysctl takes: each is as large as an int, and some are added up.
TEST_F(neigh, settings_may_be_as_large_as_they_can) {
  constexpr s32 most = std::numeric_limits<s32>::max();
  neigh_settings& all = table->defaults;
  all.mcast_solicit = all.ucast_solicit = all.app_solicit = all.mcast_resolicit = most;
  all.gc_stale_time = all.delay_first_probe_time = all.base_reachable_time_ms = most;
  table->gc_thresh1 = 1;
  const ref<neighbour> asked = get();
  send(*asked, 1);
  static_cast<void>(hear(*get(3), mac_a, nud_stale));
  m.run_for(seconds(3600));
  EXPECT_EQ(asked->state(), nud_incomplete);
  EXPECT_GE(arp.asked.size(), 3600u) << "and it goes on";
  EXPECT_EQ(table->size(), 2u) << "nothing is stale for so long";
}

TEST_F(neigh, a_full_table_makes_room_or_refuses) {
  table->gc_thresh2 = 8;
  table->gc_thresh3 = 16;
  std::vector<ref<neighbour>> held;
  for (u32 i = 0; i < 16; ++i) held.push_back(get(i));
  const neigh_key one_more = neigh_key::of(ipv4_addr(10, 1, 0, 0));
  EXPECT_EQ(table->lookup_or_create(m.cx(), one_more, *dev).error(), errc::nobufs);
  held.clear();
  EXPECT_EQ(table->lookup_or_create(m.cx(), one_more, *dev).error(), errc::nobufs)
      << "all are younger than five seconds";
  m.run_for(seconds(6));
  EXPECT_TRUE(table->lookup_or_create(m.cx(), one_more, *dev));
  EXPECT_LE(table->size(), 8u);
}

TEST_F(neigh, many_neighbours_stay_apart) {
  for (u32 i = 0; i < 500; ++i) {
    const mac_addr mac{{2, 0, 0, 0, static_cast<u8>(i >> 8), static_cast<u8>(i)}};
    EXPECT_TRUE(hear(*get(i), mac, nud_reachable, neigh_update_override));
  }
  for (u32 i = 0; i < 500; ++i) {
    send(*get(i), 1);
    EXPECT_EQ(to_of(i), (mac_addr{{2, 0, 0, 0, static_cast<u8>(i >> 8), static_cast<u8>(i)}}));
  }
}

}  // namespace
}  // namespace ph
