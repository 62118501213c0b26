// What every queueing discipline must do, whatever its policy: conserve packets, count what it
// holds, honour its limit, wake when it says, and empty itself on reset. One parameter each.
#include <functional>

#include "net/core/qdisc.h"
#include "net/sched/sch_pfifo.h"
#include "tests/core/machine.h"

namespace ph {
namespace {

using test::machine;
using test::make_skb;

struct candidate {
  const char* name;
  std::function<std::unique_ptr<qdisc>(net_device&)> make;
  std::size_t limit;  ///< packets of one priority it surely takes
  bool fifo;          ///< packets of one flow and priority leave in the order they came
};

std::ostream& operator<<(std::ostream& out, const candidate& c) { return out << c.name; }

struct conformance : testing::TestWithParam<candidate> {
  conformance() {
    net_device_config config;
    config.name = "eth0";
    config.tx_queue_len = 100;
    net_device& dev = test::add_fake(m, log, std::move(config));
    q = GetParam().make(dev);
  }
  ~conformance() override { q->reset(m.cx(), drop_reason::queue_purge); }
  skb_ptr packet(u32 number, u32 priority = 0, std::size_t bytes = 100) {
    std::vector<u8> content(bytes);
    copy_bytes(content, bytes_of(number));
    skb_ptr skb = make_skb(m.cx(), content);
    skb->priority = priority;
    return skb;
  }
  static u32 number_of(const sk_buff& skb) {
    u32 out = 0;
    std::memcpy(&out, skb.data().data(), sizeof(out));
    return out;
  }
  u64 dropped() {
    u64 out = 0;
    m.cx().drops.for_each([&](const drop_reason_info&, u64 n) { out += n; });
    return out;
  }
  test::fake_driver::log log;
  machine m;
  std::unique_ptr<qdisc> q;
};

TEST_P(conformance, is_empty_at_first) {
  EXPECT_FALSE(q->kind().empty());
  EXPECT_EQ(q->len(), 0u);
  EXPECT_EQ(q->backlog_bytes(), 0u);
  EXPECT_EQ(q->peek(), nullptr);
  EXPECT_FALSE(q->dequeue(m.cx()));
  EXPECT_EQ(q->next_wake(), never);
}

TEST_P(conformance, conserves_packets_under_random_use) {
  rng r(11);
  u64 in = 0, out = 0;
  std::map<u32, u32> last_of_priority;
  for (u32 i = 1; i <= 20000; ++i) {
    if (r.below(100) < 55) {
      const u32 priority = static_cast<u32>(r.below(8));
      static_cast<void>(q->enqueue(m.cx(), packet(i, priority, 60 + r.below(1400))));
      ++in;
    } else {
      const sk_buff* head = q->peek();
      skb_ptr skb = q->dequeue(m.cx());
      if (skb) {
        EXPECT_TRUE(head == nullptr || head == skb.get()) << "peek shows what dequeue gives";
        ++out;
        u32& last = last_of_priority[skb->priority];
        EXPECT_TRUE(!GetParam().fifo || last < number_of(*skb));
        last = number_of(*skb);
        consume(m.cx(), std::move(skb));
      } else if (q->len() != 0) {
        const instant wake = q->next_wake();
        ASSERT_NE(wake, never) << "it holds packets, gives none, and will never";
        m.run_until(std::max(wake, m.now()));
      }
    }
    ASSERT_EQ(in, out + dropped() + q->len());
    ASSERT_EQ(q->len() == 0, q->backlog_bytes() == 0);
  }
  EXPECT_EQ(q->stats.drops, dropped());
}

TEST_P(conformance, honours_its_limit_and_says_so) {
  u64 refused = 0;
  for (u32 i = 1; i <= 2 * GetParam().limit; ++i) {
    refused += q->enqueue(m.cx(), packet(i)) == xmit_result::sent ? 0 : 1;
  }
  EXPECT_EQ(q->len(), GetParam().limit);
  EXPECT_EQ(refused, GetParam().limit);
  EXPECT_EQ(q->stats.drops, GetParam().limit);
  skb_ptr skb = q->dequeue(m.cx());
  ASSERT_TRUE(static_cast<bool>(skb));
  consume(m.cx(), std::move(skb));
  EXPECT_EQ(q->enqueue(m.cx(), packet(1)), xmit_result::sent) << "room again";
}

TEST_P(conformance, reset_empties_it) {
  for (u32 i = 1; i <= 10; ++i) static_cast<void>(q->enqueue(m.cx(), packet(i, i % 8)));
  const std::size_t held = q->len();
  q->reset(m.cx(), drop_reason::dev_down);
  EXPECT_EQ(m.drops(drop_reason::dev_down), held);
  EXPECT_EQ(q->len(), 0u);
  EXPECT_EQ(q->backlog_bytes(), 0u);
  EXPECT_FALSE(q->dequeue(m.cx()));
}

TEST_P(conformance, packets_with_fragments_count_whole) {
  skb_ptr skb = packet(1);
  skb_ptr more = packet(2, 0, 900);
  ASSERT_TRUE(skb->append_from(*more));
  consume(m.cx(), std::move(more));
  static_cast<void>(q->enqueue(m.cx(), std::move(skb)));
  EXPECT_EQ(q->backlog_bytes(), 1000u);
}

INSTANTIATE_TEST_SUITE_P(
    disciplines, conformance,
    testing::Values(candidate{"pfifo", [](net_device&) { return pfifo_create(50); }, 50, true},
                    candidate{"pfifo_fast", pfifo_fast_create, 100, true}),
    [](const auto& each) { return std::string(each.param.name); });

// --- policies ---------------------------------------------------------------------------------

TEST(pfifo_fast, lower_bands_go_first) {
  test::fake_driver::log log;
  machine m;
  net_device_config config;
  config.name = "eth0";
  net_device& dev = test::add_fake(m, log, std::move(config));
  std::unique_ptr<qdisc> q = pfifo_fast_create(dev);
  // Bulk, best effort, control, filler, interactive (TC_PRIO_*).
  const std::vector<u32> arrivals = {2, 0, 7, 1, 6, 0};
  for (const u32 priority : arrivals) {
    skb_ptr skb = make_skb(m.cx(), std::vector<u8>(60));
    skb->priority = priority;
    EXPECT_EQ(q->enqueue(m.cx(), std::move(skb)), xmit_result::sent);
  }
  std::vector<u32> order;
  while (skb_ptr skb = q->dequeue(m.cx())) {
    order.push_back(skb->priority);
    consume(m.cx(), std::move(skb));
  }
  EXPECT_EQ(order, (std::vector<u32>{7, 6, 0, 0, 2, 1}));
}

}  // namespace
}  // namespace ph
