// A packet in TCP's queues: its control block, and a tree of such packets by sequence number.
#pragma once

#include "base/seq.h"
#include "kernel/clock.h"
#include "net/core/skb_queue.h"
#include "net/core/skbuff.h"

namespace ph {

/// cb::sacked bits of a segment in the retransmission queue.
enum : u8 { skb_sacked = 1, skb_retrans = 2, skb_lost = 4, skb_ever_retrans = 8 };

struct tcp_skb_cb {
  static constexpr cb_owner owner{"tcp"};
  seq32 seq;             ///< of the first byte (or of SYN)
  seq32 end_seq;         ///< after the last; SYN and FIN count
  u8 flags = 0;          ///< tcphdr_* bits
  u8 sacked = 0;         ///< skb_sacked ...
  u16 pcount = 0;        ///< tx: segments of `mss` in it
  u16 mss = 0;           ///< tx: payload bytes per segment when it was counted
  bool eor = false;      ///< tx: MSG_EOR, nothing may be appended
  bool sent = false;     ///< tx: was on the wire
  u8 tx_flags = 0;       ///< tx: skb_tx_flags, about the byte at `tskey`
  seq32 tskey;
  instant sent_at{};     ///< tx: last transmission
  // Delivery rate (tcp_rate): the connection's state when it was sent.
  u64 delivered = 0;
  instant delivered_at{};
  instant first_sent_at{};
  u32 tx_in_flight = 0;  ///< segments outstanding, these included
  u32 lost = 0;          ///< marked lost by then
  bool app_limited = false;
};
inline tcp_skb_cb& tcp_cb(sk_buff& skb) { return skb.cb<tcp_skb_cb>(); }
inline const tcp_skb_cb& tcp_cb(const sk_buff& skb) { return skb.cb<tcp_skb_cb>(); }

struct tcp_seq_order {
  bool operator()(const sk_buff& a, const sk_buff& b) const {
    return tcp_cb(a).seq < tcp_cb(b).seq;
  }
};

/// Owns packets in the order of their sequence numbers; finds one by number.
class tcp_skb_tree {
 public:
  tcp_skb_tree() = default;
  tcp_skb_tree(const tcp_skb_tree&) = delete;
  tcp_skb_tree& operator=(const tcp_skb_tree&) = delete;
  ~tcp_skb_tree() { ph_check(tree_.empty()); }
  [[nodiscard]] bool empty() const { return tree_.empty(); }
  [[nodiscard]] std::size_t size() const { return count_; }
  [[nodiscard]] sk_buff* first() { return tree_.empty() ? nullptr : &*tree_.begin(); }
  [[nodiscard]] sk_buff* last() { return tree_.empty() ? nullptr : &*tree_.rbegin(); }
  [[nodiscard]] sk_buff* next(sk_buff& skb) {
    auto it = std::next(tree_.iterator_to(skb));
    return it == tree_.end() ? nullptr : &*it;
  }
  [[nodiscard]] sk_buff* prev(sk_buff& skb) {
    auto it = tree_.iterator_to(skb);
    return it == tree_.begin() ? nullptr : &*std::prev(it);
  }
  /// The first packet that ends after `seq`, or nullptr.
  [[nodiscard]] sk_buff* find(seq32 seq);
  sk_buff& insert(skb_ptr skb);
  /// As insert, for a packet behind all others.
  sk_buff& push_back(skb_ptr skb);
  skb_ptr remove(sk_buff& skb);
  void purge(cpu& cx, skb_drop_reason why) {
    while (!empty()) drop(cx, remove(*first()), why);
  }

 private:
  intrusive_multiset<sk_buff, tcp_seq_order, skb_tree_tag> tree_;
  std::size_t count_ = 0;
};

}  // namespace ph
