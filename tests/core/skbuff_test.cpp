// sk_buff against a reference: a plain vector of bytes that undergoes the same commands.
#include "net/core/skbuff.h"

#include "net/core/skb_queue.h"
#include "tests/core/machine.h"

namespace ph {
namespace {

using test::bytes_in;
using test::machine;
using test::make_skb;

std::vector<u8> random_bytes(rng& r, std::size_t n) {
  std::vector<u8> out(n);
  for (u8& b : out) b = static_cast<u8>(r.next());
  return out;
}

block_ref make_block(cpu& cx, byte_view bytes) {
  block_ref block = cx.memory().allocate_block(std::max<std::size_t>(bytes.size(), 1));
  copy_bytes({block->bytes(), bytes.size()}, bytes);
  return block;
}

/// One packet and what its bytes must be.
struct pair {
  skb_ptr skb;
  std::vector<u8> want;
};

class command_fuzz {
 public:
  explicit command_fuzz(u64 seed) : random_(seed), cx_(m_.cx()) {}
  ~command_fuzz() {
    for (pair& p : pairs_) consume(cx_, std::move(p.skb));
  }
  void run(int steps) {
    for (int i = 0; i < steps; ++i) {
      if (pairs_.empty()) add();
      step();
      for (const pair& p : pairs_) {
        ASSERT_EQ(p.skb->len(), p.want.size()) << "step " << i;
        ASSERT_EQ(bytes_in(*p.skb), p.want) << "step " << i;
      }
    }
  }

 private:
  void add() {
    std::vector<u8> bytes = random_bytes(random_, random_.below(600));
    skb_ptr skb = make_skb(cx_, bytes, static_cast<u32>(random_.below(200)));
    pairs_.push_back({std::move(skb), std::move(bytes)});
  }
  pair& pick() { return pairs_[random_.below(pairs_.size())]; }
  u32 upto(std::size_t n) { return static_cast<u32>(random_.below(n + 1)); }

  void step() {
    pair& p = pick();
    sk_buff& skb = *p.skb;
    switch (random_.below(17)) {
      case 0: return add();
      case 1: return append_linear(p);
      case 2: return prepend(p);
      case 3: return pull(p);
      case 4: {
        const u32 n = upto(p.want.size() + 3);
        ASSERT_EQ(skb.may_pull(cx_, n), n <= p.want.size());
        ASSERT_TRUE(n > p.want.size() || skb.headlen() >= n);
        return;
      }
      case 5: {
        const u32 n = upto(p.want.size() + 10);
        skb.trim(n);
        if (n < p.want.size()) p.want.resize(n);
        return;
      }
      case 6: {
        const u32 n = upto(p.want.size());
        skb.pull_any(n);
        p.want.erase(p.want.begin(), p.want.begin() + n);
        return;
      }
      case 7: return skb.expand_head(cx_, upto(300), upto(300));
      case 8: return skb.linearize(cx_);
      case 9: return add_frag(p);
      case 10: return append_other(p);
      case 11: return split(p);
      case 12: {
        if (pairs_.size() >= 24) return;
        pairs_.push_back({skb_clone(cx_, skb), p.want});
        return;
      }
      case 13: {
        if (pairs_.size() >= 24) return;
        skb_ptr copy = skb_copy(cx_, skb, 64);
        ASSERT_FALSE(copy->is_nonlinear());
        ASSERT_GE(copy->headroom(), 64u);
        pairs_.push_back({std::move(copy), p.want});
        return;
      }
      case 14: return write(p);
      case 15: return share(p);
      case 16: return end(p);
    }
  }

  void append_linear(pair& p) {
    if (p.skb->is_nonlinear()) return;
    const std::vector<u8> more = random_bytes(random_, random_.below(200));
    if (p.skb->cloned() || p.skb->tailroom() < more.size()) {
      p.skb->expand_head(cx_, p.skb->headroom(), static_cast<u32>(more.size()));
    }
    p.skb->put_bytes(more);
    p.want.insert(p.want.end(), more.begin(), more.end());
  }
  void prepend(pair& p) {
    const std::vector<u8> more = random_bytes(random_, random_.below(64));
    p.skb->cow_head(cx_, static_cast<u32>(more.size()));
    copy_bytes(p.skb->push(static_cast<u32>(more.size())), more);
    p.want.insert(p.want.begin(), more.begin(), more.end());
  }
  void pull(pair& p) {
    const u32 n = upto(p.skb->headlen());
    p.skb->pull(n);
    p.want.erase(p.want.begin(), p.want.begin() + n);
  }
  void add_frag(pair& p) {
    const std::vector<u8> bytes = random_bytes(random_, random_.below(300));
    const u32 at = upto(bytes.size());
    const u32 n = upto(bytes.size() - at);
    const std::size_t before = p.skb->nr_frags();
    const bool fits = p.skb->add_frag(make_block(cx_, bytes), at, n);
    ASSERT_EQ(fits, n == 0 || before < max_skb_frags);
    if (fits) p.want.insert(p.want.end(), bytes.begin() + at, bytes.begin() + at + n);
  }
  void append_other(pair& p) {
    pair& other = pick();
    if (&other == &p || p.want.size() + other.want.size() > 20000) return;
    if (!p.skb->append_from(*other.skb)) return;
    p.want.insert(p.want.end(), other.want.begin(), other.want.end());
    other.want.clear();
  }
  void split(pair& p) {
    const u32 at = upto(p.want.size());
    skb_ptr rest = alloc_skb(cx_, 300);
    rest->reserve(upto(100));
    p.skb->split(cx_, *rest, at);
    std::vector<u8> tail(p.want.begin() + at, p.want.end());
    p.want.resize(at);
    pairs_.push_back({std::move(rest), std::move(tail)});
  }
  void write(pair& p) {
    p.skb->unshare_head(cx_);
    const byte_span bytes = p.skb->writable();
    if (bytes.empty()) return;
    const std::size_t at = random_.below(bytes.size());
    bytes[at] = p.want[at] = static_cast<u8>(random_.next());
  }
  void share(pair& p) {
    pair& other = pick();
    if (&other == &p || p.want.size() > 20000) return;
    const u32 at = upto(other.want.size());
    const u32 n = upto(other.want.size() - at);
    p.skb->share_range(cx_, *other.skb, at, n);
    p.want.insert(p.want.end(), other.want.begin() + at, other.want.begin() + at + n);
  }
  void end(pair& p) {
    if (random_.below(2) == 0) {
      consume(cx_, std::move(p.skb));
    } else {
      drop(cx_, std::move(p.skb), drop_reason::queue_purge);
    }
    std::swap(p, pairs_.back());
    pairs_.pop_back();
  }

  machine m_;
  rng random_;
  cpu& cx_;
  std::vector<pair> pairs_;
};

class skb_commands : public testing::TestWithParam<u64> {};

TEST_P(skb_commands, match_the_reference) {
  command_fuzz fuzz(GetParam());
  fuzz.run(1500);
}
INSTANTIATE_TEST_SUITE_P(seeds, skb_commands, testing::Range<u64>(1, 25));

TEST(skbuff, starts_empty_and_reserves) {
  machine m;
  skb_ptr skb = alloc_skb(m.cx(), 1000);
  EXPECT_EQ(skb->len(), 0u);
  EXPECT_GE(skb->tailroom(), 1000u);
  skb->reserve(100);
  EXPECT_EQ(skb->headroom(), 100u);
  EXPECT_GE(skb->truesize, 1000u + sizeof(sk_buff));
  consume(m.cx(), std::move(skb));
}

TEST(skbuff, headers_stay_where_they_are) {
  machine m;
  const std::vector<u8> bytes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  skb_ptr skb = make_skb(m.cx(), bytes, 40);
  skb->set_mac_header();
  skb->set_network_header(2);
  skb->set_transport_header(6);
  skb->pull(4);
  EXPECT_EQ(skb->network_offset(), -2);
  EXPECT_EQ(skb->transport_offset(), 2);
  EXPECT_EQ(skb->network_header<be16>().value(), 0x0203);
  skb->expand_head(m.cx(), 500, 500);
  EXPECT_EQ(skb->mac_header<be16>().value(), 0x0001);
  EXPECT_EQ(skb->transport_header<be16>().value(), 0x0607);
  EXPECT_GE(skb->headroom(), 500u);
  consume(m.cx(), std::move(skb));
}

TEST(skbuff, a_clone_does_not_see_writes) {
  machine m;
  const std::vector<u8> bytes(50, 7);
  skb_ptr skb = make_skb(m.cx(), bytes);
  skb->mark = 5;
  skb_ptr clone = skb_clone(m.cx(), *skb);
  EXPECT_TRUE(skb->cloned());
  EXPECT_EQ(clone->mark, 5u);
  clone->unshare_head(m.cx());
  clone->writable()[0] = 9;
  EXPECT_EQ(bytes_in(*skb), bytes);
  EXPECT_FALSE(skb->cloned());
  consume(m.cx(), std::move(skb));
  EXPECT_EQ(clone->data()[0], 9);
  consume(m.cx(), std::move(clone));
}

TEST(skbuff, split_shares_what_is_long) {
  machine m;
  std::vector<u8> bytes(4000);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<u8>(i * 7);
  skb_ptr skb = make_skb(m.cx(), bytes);
  skb_ptr rest = alloc_skb(m.cx(), 256);
  const u64 blocks = m.memory.live_blocks();
  skb->split(m.cx(), *rest, 1000);
  EXPECT_EQ(m.memory.live_blocks(), blocks);
  EXPECT_EQ(skb->len(), 1000u);
  EXPECT_EQ(rest->len(), 3000u);
  consume(m.cx(), std::move(skb));
  EXPECT_EQ(bytes_in(*rest), std::vector<u8>(bytes.begin() + 1000, bytes.end()));
  consume(m.cx(), std::move(rest));
}

TEST(skbuff, checksum_does_not_depend_on_the_pieces) {
  machine m;
  rng r(5);
  for (int round = 0; round < 200; ++round) {
    const std::vector<u8> bytes = random_bytes(r, 1 + r.below(900));
    skb_ptr linear = make_skb(m.cx(), bytes);
    skb_ptr pieces = alloc_skb(m.cx(), 100);
    std::size_t at = 0;
    while (at < bytes.size()) {
      const std::size_t n = std::min<std::size_t>(1 + r.below(150), bytes.size() - at);
      pieces->share_range(m.cx(), *linear, static_cast<u32>(at), static_cast<u32>(n));
      at += n;
    }
    const u32 from = static_cast<u32>(r.below(bytes.size()));
    const u32 n = static_cast<u32>(bytes.size()) - from;
    EXPECT_EQ(csum_fold(linear->checksum(from, n)), csum_fold(pieces->checksum(from, n)));
    EXPECT_EQ(csum_fold(linear->checksum(from, n)),
              csum_fold(csum_add_bytes(byte_view(bytes).subspan(from))));
    consume(m.cx(), std::move(linear));
    consume(m.cx(), std::move(pieces));
  }
}

TEST(skbuff, checksum_help_fills_in_what_was_left_to_the_device) {
  machine m;
  std::vector<u8> bytes(61);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<u8>(i);
  bytes[26] = bytes[27] = 0;
  skb_ptr skb = make_skb(m.cx(), bytes);
  skb->ip_summed = checksum_state::partial;
  skb->csum_start = static_cast<u16>(skb->headroom() + 20);
  skb->csum_offset = 6;
  skb_ptr clone = skb_clone(m.cx(), *skb);
  ASSERT_TRUE(skb_checksum_help(m.cx(), *skb));
  EXPECT_EQ(skb->ip_summed, checksum_state::none);
  EXPECT_TRUE(csum_ok(skb->checksum(20, 41)));
  EXPECT_EQ(bytes_in(*clone), bytes) << "a clone's bytes are not written";
  skb_ptr wrong = make_skb(m.cx(), bytes);
  wrong->ip_summed = checksum_state::partial;
  wrong->csum_start = static_cast<u16>(wrong->headroom() + 60);
  EXPECT_FALSE(skb_checksum_help(m.cx(), *wrong));
  consume(m.cx(), std::move(skb));
  consume(m.cx(), std::move(clone));
  consume(m.cx(), std::move(wrong));
}

TEST(skbuff, a_sum_of_zero_is_all_ones_only_where_zero_means_none) {
  machine m;
  for (const u16 offset : {u16{6}, u16{16}}) {  // of UDP's field and of TCP's
    std::vector<u8> bytes(40);
    bytes[4] = bytes[5] = 0xff;
    skb_ptr skb = make_skb(m.cx(), bytes);
    skb->ip_summed = checksum_state::partial;
    skb->csum_start = static_cast<u16>(skb->headroom());
    skb->csum_offset = offset;
    ASSERT_TRUE(skb_checksum_help(m.cx(), *skb));
    EXPECT_EQ(bytes_in(*skb)[offset], offset == 6 ? 0xff : 0);
    EXPECT_EQ(bytes_in(*skb)[offset + 1u], offset == 6 ? 0xff : 0);
    consume(m.cx(), std::move(skb));
  }
}

struct some_cb {
  static constexpr cb_owner owner{"a test"};
  u64 value = 0;
};

TEST(skbuff, control_block_travels_with_the_clone) {
  machine m;
  skb_ptr skb = alloc_skb(m.cx(), 10);
  skb->init_cb<some_cb>().value = 42;
  skb_ptr clone = skb_clone(m.cx(), *skb);
  EXPECT_EQ(clone->cb<some_cb>().value, 42u);
  EXPECT_EQ(clone->cb_owned_by(), some_cb::owner);
  consume(m.cx(), std::move(skb));
  consume(m.cx(), std::move(clone));
}

TEST(skb_queue, keeps_order_and_counts) {
  machine m;
  skb_queue queue;
  for (u32 i = 1; i <= 5; ++i) {
    const std::vector<u8> bytes(i, static_cast<u8>(i));
    queue.push_back(make_skb(m.cx(), bytes));
  }
  EXPECT_EQ(queue.size(), 5u);
  EXPECT_EQ(queue.bytes(), 15u);
  sk_buff* second = queue.next(*queue.front());
  consume(m.cx(), queue.remove(*second));
  EXPECT_EQ(queue.bytes(), 13u);
  skb_ptr first = queue.pop_front();
  EXPECT_EQ(first->len(), 1u);
  queue.insert_after(*queue.front(), std::move(first));
  skb_queue other;
  other.splice_back(queue);
  EXPECT_TRUE(queue.empty());
  std::vector<u32> lens;
  while (skb_ptr skb = other.pop_front()) {
    lens.push_back(skb->len());
    consume(m.cx(), std::move(skb));
  }
  EXPECT_EQ(lens, (std::vector<u32>{3, 1, 4, 5}));
}

TEST(skbuff, a_packet_forgotten_is_counted) {
  machine m;
  {
    skb_ptr lost = alloc_skb(m.cx(), 10);
  }
  EXPECT_EQ(m.memory.unreasoned(), 1u);
  EXPECT_EQ(m.memory.live_packets(), 0u);
  m.unreasoned = 1;
}

}  // namespace
}  // namespace ph
