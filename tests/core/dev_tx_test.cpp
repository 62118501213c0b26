// The way out, seen from a driver: order, room, validation, taps, waking.
#include "net/core/dev_tx.h"

#include "net/sched/sch_pfifo.h"
#include "tests/core/machine.h"
#include "uapi/packet.h"

namespace ph {
namespace {

using test::add_fake;
using test::fake_driver;
using test::machine;
using test::make_skb;

struct dev_tx : testing::Test {
  net_device& open(u32 features, bool with_qdisc) {
    if (with_qdisc) m.net().default_qdisc = pfifo_fast_create;
    net_device_config config;
    config.name = "eth0";
    config.features = features;
    config.tx_queue_len = 10;
    return add_fake(m, log, std::move(config));
  }
  xmit_result send(net_device& dev, u8 number, u32 priority = 0) {
    const std::vector<u8> bytes(60, number);
    skb_ptr skb = make_skb(m.cx(), bytes);
    skb->dev = &dev;
    skb->priority = priority;
    return dev_queue_xmit(m.cx(), std::move(skb));
  }
  std::vector<u8> numbers() {
    std::vector<u8> out;
    for (const auto& frame : log.frames) out.push_back(frame[0]);
    return out;
  }
  void make_room(net_device& dev, std::size_t packets) {
    log.room = packets;
    netif_wake_queue(m.cx(), *dev.tx_queues()[0]);
    m.run_for(seconds(1));
  }
  fake_driver::log log;
  machine m;
};

TEST_F(dev_tx, goes_straight_to_the_driver_when_nothing_waits) {
  net_device& dev = open(netif_f_none, true);
  EXPECT_EQ(send(dev, 1), xmit_result::sent);
  EXPECT_EQ(send(dev, 2), xmit_result::sent);
  EXPECT_EQ(numbers(), (std::vector<u8>{1, 2}));
  EXPECT_EQ(dev.tx_queues()[0]->discipline->stats.packets, 2u);
  EXPECT_EQ(dev.tx_queues()[0]->discipline->stats.bytes, 120u);
}

TEST_F(dev_tx, a_full_ring_keeps_the_order) {
  net_device& dev = open(netif_f_none, true);
  log.room = 2;
  for (u8 i = 1; i <= 8; ++i) EXPECT_EQ(send(dev, i), xmit_result::sent) << int{i};
  EXPECT_EQ(numbers(), (std::vector<u8>{1, 2}));
  m.run_for(seconds(1));
  EXPECT_EQ(numbers().size(), 2u) << "nobody asks a full ring again";
  make_room(dev, 3);
  EXPECT_EQ(numbers(), (std::vector<u8>{1, 2, 3, 4, 5}));
  make_room(dev, 100);
  EXPECT_EQ(numbers(), (std::vector<u8>{1, 2, 3, 4, 5, 6, 7, 8}));
  EXPECT_EQ(m.drops(drop_reason::qdisc_overlimit), 0u);
}

TEST_F(dev_tx, the_driver_knows_when_more_follow) {
  net_device& dev = open(netif_f_none, true);
  log.room = 0;
  for (u8 i = 1; i <= 4; ++i) static_cast<void>(send(dev, i));
  make_room(dev, 100);
  EXPECT_EQ(log.more, (std::vector<bool>{false, true, true, false}));
}

TEST_F(dev_tx, a_full_queue_drops) {
  net_device& dev = open(netif_f_none, true);
  log.room = 0;
  int dropped = 0;
  for (u8 i = 1; i <= 20; ++i) dropped += send(dev, i) == xmit_result::dropped ? 1 : 0;
  EXPECT_EQ(dropped, 9) << "one at the head of line, ten in the band";
  EXPECT_EQ(m.drops(drop_reason::qdisc_overlimit), 9u);
  const rtnl_guard rtnl(m.host->rtnl());
  dev.close(rtnl.held(), m.cx());
  EXPECT_EQ(m.drops(drop_reason::dev_down), 11u);
}

TEST_F(dev_tx, a_stopped_queue_waits_for_its_wake) {
  net_device& dev = open(netif_f_none, true);
  netif_stop_queue(*dev.tx_queues()[0]);
  static_cast<void>(send(dev, 1));
  m.run_for(seconds(1));
  EXPECT_TRUE(log.frames.empty());
  make_room(dev, 100);
  EXPECT_EQ(numbers(), (std::vector<u8>{1}));
}

TEST_F(dev_tx, many_packets_take_several_turns_but_all_go) {
  m.net().default_qdisc = [](net_device&) { return pfifo_create(1000); };
  net_device& dev = open(netif_f_none, false);
  log.room = 0;
  for (int i = 0; i < 500; ++i) static_cast<void>(send(dev, static_cast<u8>(i)));
  make_room(dev, 10000);
  ASSERT_EQ(log.frames.size(), 500u);
  for (std::size_t i = 0; i < 500; ++i) EXPECT_EQ(log.frames[i][0], static_cast<u8>(i));
}

TEST_F(dev_tx, without_a_discipline_a_busy_driver_loses_packets_but_keeps_order) {
  net_device& dev = open(netif_f_none, false);
  EXPECT_EQ(send(dev, 1), xmit_result::sent);
  log.room = 0;
  EXPECT_EQ(send(dev, 2), xmit_result::sent);
  EXPECT_EQ(send(dev, 3), xmit_result::dropped);
  make_room(dev, 10);
  EXPECT_EQ(send(dev, 4), xmit_result::sent);
  EXPECT_EQ(numbers(), (std::vector<u8>{1, 2, 4}));
}

TEST_F(dev_tx, a_device_that_is_down_or_without_carrier_sends_nothing) {
  net_device& dev = open(netif_f_none, true);
  dev.set_carrier(m.cx(), false);
  EXPECT_EQ(send(dev, 1), xmit_result::congested);
  dev.set_carrier(m.cx(), true);
  EXPECT_EQ(send(dev, 2), xmit_result::sent);
  {
    const rtnl_guard rtnl(m.host->rtnl());
    dev.close(rtnl.held(), m.cx());
  }
  EXPECT_EQ(send(dev, 3), xmit_result::refused);
  EXPECT_EQ(numbers(), (std::vector<u8>{2}));
  EXPECT_EQ(m.drops(drop_reason::dev_down), 2u);
}

TEST_F(dev_tx, taps_see_each_frame_once) {
  net_device& dev = open(netif_f_none, true);
  std::vector<u8> seen;
  packet_tap tap;
  tap.func = [&seen](cpu&, const sk_buff& skb, net_device&, bool outgoing) {
    EXPECT_TRUE(outgoing);
    EXPECT_EQ(skb.mac_offset(), 0);
    seen.push_back(skb.data()[0]);
  };
  m.net().add_tap(tap);
  log.room = 1;
  for (u8 i = 1; i <= 4; ++i) static_cast<void>(send(dev, i));
  EXPECT_EQ(seen, (std::vector<u8>{1, 2})) << "2 was offered and refused";
  make_room(dev, 10);
  EXPECT_EQ(seen, (std::vector<u8>{1, 2, 3, 4}));
}

// --- validation -------------------------------------------------------------------------------

skb_ptr with_partial_checksum(machine& m, net_device& dev, bool fragmented) {
  std::vector<u8> bytes(100, 0);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<u8>(i);
  bytes[40] = bytes[41] = 0;
  skb_ptr skb = make_skb(m.cx(), byte_view(bytes).first(fragmented ? 50 : 100));
  if (fragmented) {
    skb_ptr rest = make_skb(m.cx(), byte_view(bytes).subspan(50));
    EXPECT_TRUE(skb->append_from(*rest));
    consume(m.cx(), std::move(rest));
  }
  skb->dev = &dev;
  skb->ip_summed = checksum_state::partial;
  skb->csum_start = static_cast<u16>(skb->headroom() + 34);
  skb->csum_offset = 6;
  return skb;
}

struct validation : dev_tx, testing::WithParamInterface<std::tuple<bool, bool, bool>> {};

TEST_P(validation, leaves_to_the_device_only_what_it_offers) {
  const auto [sg, csum, fragmented] = GetParam();
  net_device& dev = open((sg ? netif_f_sg : 0u) | (csum ? netif_f_hw_csum : 0u), true);
  EXPECT_EQ(dev_queue_xmit(m.cx(), with_partial_checksum(m, dev, fragmented)), xmit_result::sent);
  ASSERT_EQ(log.frames.size(), 1u);
  EXPECT_EQ(log.frames[0].size(), 100u);
  EXPECT_EQ(log.csum[0], csum ? checksum_state::partial : checksum_state::none);
  EXPECT_EQ(csum_ok(csum_add_bytes(byte_view(log.frames[0]).subspan(34))), !csum);
  EXPECT_EQ(log.linear[0], !fragmented || !sg);
}
INSTANTIATE_TEST_SUITE_P(features, validation,
                         testing::Combine(testing::Bool(), testing::Bool(), testing::Bool()));

TEST_F(dev_tx, nonsense_left_to_the_device_is_dropped) {
  net_device& dev = open(netif_f_none, true);
  skb_ptr skb = with_partial_checksum(m, dev, false);
  skb->csum_start = 0;
  static_cast<void>(dev_queue_xmit(m.cx(), std::move(skb)));
  EXPECT_EQ(m.drops(drop_reason::bad_offload), 1u);
  EXPECT_TRUE(log.frames.empty());
}

// --- disciplines that delay -------------------------------------------------------------------

/// Lets one packet go every 10 ms.
class slow_qdisc final : public qdisc {
 public:
  std::string_view kind() const override { return "slow"; }
  xmit_result enqueue(cpu& cx, skb_ptr skb) override {
    if (queue_.empty()) next_ = std::max(next_, cx.now());
    queue_.push_back(std::move(skb));
    return xmit_result::congested;
  }
  skb_ptr dequeue(cpu& cx) override {
    if (queue_.empty() || cx.now() < next_) return {};
    next_ = cx.now() + milliseconds(10);
    return queue_.pop_front();
  }
  const sk_buff* peek() override { return queue_.front(); }
  void reset(cpu& cx, skb_drop_reason why) override { queue_.purge(cx, why); }
  std::size_t len() const override { return queue_.size(); }
  u64 backlog_bytes() const override { return queue_.bytes(); }
  instant next_wake() const override { return queue_.empty() ? never : next_; }

 private:
  skb_queue queue_;
  instant next_{};
};

TEST_F(dev_tx, a_discipline_is_run_again_when_it_says) {
  m.net().default_qdisc = [](net_device&) -> std::unique_ptr<qdisc> {
    return std::make_unique<slow_qdisc>();
  };
  net_device& dev = open(netif_f_none, false);
  for (u8 i = 1; i <= 3; ++i) EXPECT_EQ(send(dev, i), xmit_result::congested);
  EXPECT_EQ(log.frames.size(), 1u);
  m.run_for(milliseconds(9));
  EXPECT_EQ(log.frames.size(), 1u);
  m.run_for(milliseconds(1));
  EXPECT_EQ(log.frames.size(), 2u);
  m.run_for(milliseconds(10));
  EXPECT_EQ(log.frames.size(), 3u);
  EXPECT_EQ(m.host->next_deadline(), never);
}

TEST_F(dev_tx, flows_of_a_cpu_use_its_queue) {
  fake_driver::log log2;
  machine two(2);
  net_device_config config;
  config.name = "eth0";
  config.tx_queues = 2;
  two.net().default_qdisc = pfifo_fast_create;
  net_device& dev = add_fake(two, log2, std::move(config));
  cpu& second = two.host->cpu_at(cpu_id(1));
  const std::vector<u8> bytes(60);
  skb_ptr skb = make_skb(second, bytes);
  skb->dev = &dev;
  EXPECT_EQ(dev_queue_xmit(second, std::move(skb)), xmit_result::sent);
  EXPECT_EQ(dev.tx_queues()[0]->discipline->stats.packets, 0u);
  EXPECT_EQ(dev.tx_queues()[1]->discipline->stats.packets, 1u);
}

}  // namespace
}  // namespace ph
