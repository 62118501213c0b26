// tcp_outstanding: packets, marks and counts that always agree.
#include "net/tcp/tcp_outstanding.h"

#include <gtest/gtest.h>

#include "tests/support/two_hosts.h"
#include "wire/tcp.h"

namespace ph {
namespace {

constexpr u32 mss = 100;

/// Packets of so many segments each, from number 0 on.
class outstanding : public testing::Test, public two_hosts {
 protected:
  ~outstanding() override {
    while (!queue.empty()) consume(cx(), queue.remove(*queue.first()));
  }
  cpu& cx() { return a.cx(); }
  skb_ptr make(seq32 seq, u32 segs) {
    skb_ptr skb = alloc_skb(cx(), 0);
    tcp_skb_cb& cb = skb->init_cb<tcp_skb_cb>();
    cb.seq = seq;
    cb.end_seq = seq + segs * mss;
    cb.pcount = static_cast<u16>(segs);
    cb.mss = mss;
    return skb;
  }
  sk_buff& add(u32 segs) {
    sk_buff& out = queue.add(make(next, segs));
    next = tcp_cb(out).end_seq;
    return out;
  }
  /// packets, delivered, lost, sent again; in flight.
  void expect(u32 out, u32 sacked, u32 lost, u32 retrans, u32 moving) {
    EXPECT_EQ(queue.packets_out(), out);
    EXPECT_EQ(queue.sacked_out(), sacked);
    EXPECT_EQ(queue.lost_out(), lost);
    EXPECT_EQ(queue.retrans_out(), retrans);
    EXPECT_EQ(queue.in_flight(), moving);
    EXPECT_TRUE(queue.is_consistent());
  }
  std::vector<u32> order() {
    std::vector<u32> out;
    for (sk_buff* skb = queue.first_sent(); skb != nullptr; skb = queue.next_sent(*skb)) {
      out.push_back(tcp_cb(*skb).seq.raw / mss);
    }
    return out;
  }
  tcp_outstanding queue;
  seq32 next{0};
};

using list = std::vector<u32>;

TEST_F(outstanding, what_leaves_is_counted_and_what_is_acknowledged_is_not) {
  sk_buff& first = add(1);
  add(3);
  expect(4, 0, 0, 0, 4);
  EXPECT_EQ(order(), (list{0, 1}));
  consume(cx(), queue.remove(first));
  expect(3, 0, 0, 0, 3);
}

TEST_F(outstanding, a_lost_packet_leaves_the_flight_and_comes_back_when_sent_again) {
  sk_buff& first = add(2);
  add(1);
  EXPECT_EQ(queue.mark_lost(first), tcp_loss::first_copy);
  expect(3, 0, 2, 0, 1);
  EXPECT_EQ(queue.mark_lost(first), tcp_loss::none) << "it is known to be";
  EXPECT_EQ(order(), (list{2}));
  queue.sent_again(first);
  queue.mark_retransmitted(first);
  expect(3, 0, 2, 2, 3);
  EXPECT_EQ(order(), (list{2, 0}));
  EXPECT_EQ(queue.mark_lost(first), tcp_loss::retransmission);
  expect(3, 0, 2, 0, 1);
}

TEST_F(outstanding, a_packet_that_arrived_is_neither_lost_nor_on_its_way) {
  sk_buff& first = add(1);
  add(1);
  queue.mark_lost(first);
  queue.sent_again(first);
  queue.mark_retransmitted(first);
  queue.mark_sacked(first);
  expect(2, 1, 0, 0, 1);
  EXPECT_EQ(order(), (list{1}));
  EXPECT_EQ(queue.mark_lost(first), tcp_loss::none);
  queue.sent_again(first);  // a probe at the tail may repeat it
  expect(2, 1, 0, 0, 1);
  queue.unmark_sacked();
  expect(2, 0, 0, 0, 2);
}

TEST_F(outstanding, a_piece_that_is_cut_off_has_the_marks_of_the_whole) {
  sk_buff& whole = add(4);
  queue.mark_lost(whole);
  queue.sent_again(whole);
  queue.mark_retransmitted(whole);
  skb_ptr rest = make(seq32(mss), 3);
  tcp_cb(*rest).sacked = tcp_cb(whole).sacked;
  tcp_cb(whole).end_seq = seq32(mss);
  tcp_cb(whole).pcount = 1;
  queue.split(whole, std::move(rest), 4);
  expect(4, 0, 4, 4, 4);
  EXPECT_EQ(order(), (list{0, 1})) << "sent at the same time";
}

TEST_F(outstanding, segments_may_become_smaller) {
  sk_buff& first = add(1);
  queue.mark_lost(first);
  tcp_cb(first).pcount = 2;
  queue.recount(first, 1);
  expect(2, 0, 2, 0, 0);
}

TEST_F(outstanding, what_was_needlessly_lost_was_sent_before_all_others) {
  sk_buff& first = add(1);
  add(1);
  sk_buff& third = add(1);
  queue.mark_lost(first);
  queue.mark_lost(third);
  queue.unmark_lost();
  expect(3, 0, 0, 0, 3);
  EXPECT_EQ(order(), (list{0, 2, 1}));
}

TEST_F(outstanding, duplicates_stand_for_no_more_than_could_have_arrived) {
  add(1);
  add(1);
  add(1);
  for (int i = 0; i < 5; ++i) {
    queue.add_duplicate();
    queue.limit_duplicates();
  }
  expect(3, 2, 0, 0, 1);
  queue.take_duplicates(1);
  expect(3, 1, 0, 0, 2);
  queue.forget_duplicates();
  expect(3, 0, 0, 0, 3);
}

TEST_F(outstanding, a_count_that_does_not_fit_is_noticed) {
  sk_buff& first = add(1);
  tcp_cb(first).sacked |= skb_lost;  // by somebody else
  EXPECT_FALSE(queue.is_consistent());
  tcp_cb(first).sacked = 0;
  EXPECT_TRUE(queue.is_consistent());
}

}  // namespace
}  // namespace ph
