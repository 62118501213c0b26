// What was sent and is not yet acknowledged (RFC 9293 §3.4, RFC 6675 §4, RFC 8985 §6.1): packets by
// number and in the order of transmission, and how many of their segments arrived, are thought
// lost, were sent again. Marks of packets and counts change only here, together.
//
// Does not: decide what is lost or what is sent.
#pragma once

#include <algorithm>
#include <iterator>

#include "net/tcp/tcp_skb.h"

namespace ph {

/// What tcp_outstanding::mark_lost() found out.
enum class tcp_loss : u8 {
  none,            ///< delivered, or known to be lost
  first_copy,
  retransmission,  ///< what was sent again was lost again
};

class tcp_outstanding {
 public:
  // --- counts of segments, names as in TCP_INFO -----------------------------------------------
  [[nodiscard]] u32 packets_out() const { return packets_; }
  /// Delivered, though not cumulatively acknowledged: selectively, or (without SACK) as duplicate
  /// acknowledgements tell.
  [[nodiscard]] u32 sacked_out() const { return sacked_ + duplicates_; }
  [[nodiscard]] u32 lost_out() const { return lost_; }
  /// Sent again, and neither delivered nor thought lost since.
  [[nodiscard]] u32 retrans_out() const { return retrans_; }
  /// `pipe` of RFC 6675: on their way, as far as known.
  [[nodiscard]] u32 in_flight() const { return packets_ - sacked_out() - lost_ + retrans_; }

  // --- packets, by sequence number ------------------------------------------------------------
  [[nodiscard]] bool empty() const { return tree_.empty(); }
  [[nodiscard]] sk_buff* first() { return tree_.first(); }
  [[nodiscard]] sk_buff* last() { return tree_.last(); }
  [[nodiscard]] sk_buff* next(sk_buff& skb) { return tree_.next(skb); }
  [[nodiscard]] sk_buff* prev(sk_buff& skb) { return tree_.prev(skb); }
  /// The first packet that ends after `seq`, or nullptr.
  [[nodiscard]] sk_buff* find(seq32 seq) { return tree_.find(seq); }

  // --- packets, by transmission: those that were neither delivered nor found lost -------------
  [[nodiscard]] sk_buff* first_sent() {
    return sent_order_.empty() ? nullptr : &sent_order_.front();
  }
  [[nodiscard]] sk_buff* next_sent(sk_buff& skb) {
    const auto it = std::next(sent_order_.iterator_to(skb));
    return it == sent_order_.end() ? nullptr : &*it;
  }

  // --- what happens to packets ----------------------------------------------------------------
  /// It leaves for the first time, behind all others.
  sk_buff& add(skb_ptr skb);
  /// It is acknowledged, or given up.
  skb_ptr remove(sk_buff& skb);
  /// `rest` was cut off the end of `skb`, which had `segs_before` segments; both are counted anew.
  sk_buff& split(sk_buff& skb, skb_ptr rest, u32 segs_before);
  /// It may be of another number of segments now.
  void recount(const sk_buff& skb, u32 segs_before);
  /// It leaves again, as the latest of all.
  void sent_again(sk_buff& skb);
  /// And what left again is on its way, beside what is known of the first copy.
  void mark_retransmitted(sk_buff& skb);
  void mark_sacked(sk_buff& skb);
  tcp_loss mark_lost(sk_buff& skb);
  /// Nothing counts as lost any more; what was, is on its way since before all others.
  void unmark_lost();
  /// RFC 2018 §8: the peer took its selective acknowledgements back.
  void unmark_sacked();

  // --- without SACK: duplicate acknowledgements stand for segments that arrived (RFC 6582) ------
  void add_duplicate() { ++duplicates_; }
  void take_duplicates(u32 n) { duplicates_ -= std::min(n, duplicates_); }
  void forget_duplicates() { duplicates_ = 0; }
  /// There cannot be more than there are segments, less those missing.
  void limit_duplicates();

  /// Do packets, marks and counts agree? Looks at every packet.
  [[nodiscard]] bool is_consistent();

 private:
  void count(const tcp_skb_cb& cb, u32 segs);

  tcp_skb_tree tree_;
  intrusive_list<sk_buff, skb_list_tag> sent_order_;
  u32 packets_ = 0, sacked_ = 0, lost_ = 0, retrans_ = 0;
  u32 duplicates_ = 0;
};

}  // namespace ph
