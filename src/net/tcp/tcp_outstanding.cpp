// Marks and counts of packets that are outstanding.
#include "net/tcp/tcp_outstanding.h"

#include <algorithm>

namespace ph {
namespace {

bool has(const tcp_skb_cb& cb, u8 mark) { return (cb.sacked & mark) != 0; }
void clear(tcp_skb_cb& cb, u8 mark) { cb.sacked &= static_cast<u8>(~mark); }

bool in_order_of_sending(const sk_buff& skb) {
  const list_hook<skb_list_tag>& order = skb;
  return order.is_linked();
}

void leave_order(sk_buff& skb) {
  list_hook<skb_list_tag>& order = skb;
  if (order.is_linked()) order.unlink();
}

}  // namespace

/// Adds `segs` (of a negative number: takes them away) to each count that the marks name.
void tcp_outstanding::count(const tcp_skb_cb& cb, u32 segs) {
  packets_ += segs;
  if (has(cb, skb_sacked)) sacked_ += segs;
  if (has(cb, skb_lost)) lost_ += segs;
  if (has(cb, skb_retrans)) retrans_ += segs;
}

sk_buff& tcp_outstanding::add(skb_ptr skb) {
  sk_buff& out = tree_.push_back(std::move(skb));
  count(tcp_cb(out), tcp_cb(out).pcount);
  sent_order_.push_back(out);
  return out;
}

skb_ptr tcp_outstanding::remove(sk_buff& skb) {
  count(tcp_cb(skb), 0u - tcp_cb(skb).pcount);
  return tree_.remove(skb);
}

sk_buff& tcp_outstanding::split(sk_buff& skb, skb_ptr rest, u32 segs_before) {
  sk_buff& second = tree_.insert(std::move(rest));
  count(tcp_cb(skb), u32{tcp_cb(skb).pcount} + tcp_cb(second).pcount - segs_before);
  if (in_order_of_sending(skb)) {
    sent_order_.insert(std::next(sent_order_.iterator_to(skb)), second);
  }
  return second;
}

void tcp_outstanding::recount(const sk_buff& skb, u32 segs_before) {
  count(tcp_cb(skb), tcp_cb(skb).pcount - segs_before);
}

void tcp_outstanding::sent_again(sk_buff& skb) {
  tcp_cb(skb).sacked |= skb_ever_retrans;
  if (has(tcp_cb(skb), skb_sacked)) return;
  leave_order(skb);
  sent_order_.push_back(skb);
}

void tcp_outstanding::mark_retransmitted(sk_buff& skb) {
  tcp_skb_cb& cb = tcp_cb(skb);
  if (!has(cb, skb_retrans)) retrans_ += cb.pcount;
  cb.sacked |= skb_retrans;
}

void tcp_outstanding::mark_sacked(sk_buff& skb) {
  tcp_skb_cb& cb = tcp_cb(skb);
  leave_order(skb);
  if (has(cb, skb_lost)) lost_ -= cb.pcount;
  if (has(cb, skb_retrans)) retrans_ -= cb.pcount;
  if (!has(cb, skb_sacked)) sacked_ += cb.pcount;
  clear(cb, skb_lost | skb_retrans);
  cb.sacked |= skb_sacked;
}

tcp_loss tcp_outstanding::mark_lost(sk_buff& skb) {
  tcp_skb_cb& cb = tcp_cb(skb);
  const bool again = has(cb, skb_retrans);
  if (has(cb, skb_sacked) || (has(cb, skb_lost) && !again)) return tcp_loss::none;
  if (again) retrans_ -= cb.pcount;
  if (!has(cb, skb_lost)) lost_ += cb.pcount;
  clear(cb, skb_retrans);
  cb.sacked |= skb_lost;
  leave_order(skb);
  return again ? tcp_loss::retransmission : tcp_loss::first_copy;
}

void tcp_outstanding::unmark_lost() {
  for (sk_buff* skb = last(); skb != nullptr; skb = prev(*skb)) {
    if (!has(tcp_cb(*skb), skb_lost)) continue;
    clear(tcp_cb(*skb), skb_lost);
    if (!in_order_of_sending(*skb)) sent_order_.push_front(*skb);
  }
  lost_ = 0;
}

void tcp_outstanding::unmark_sacked() {
  for (sk_buff* skb = last(); skb != nullptr; skb = prev(*skb)) {
    if (!has(tcp_cb(*skb), skb_sacked)) continue;
    clear(tcp_cb(*skb), skb_sacked);
    sent_order_.push_front(*skb);
  }
  sacked_ = 0;
}

void tcp_outstanding::limit_duplicates() {
  const u32 missing = std::min(std::max(lost_, 1u), packets_);
  duplicates_ = std::min(duplicates_, packets_ - missing);
}

bool tcp_outstanding::is_consistent() {
  u32 packets = 0, sacked = 0, lost = 0, retrans = 0;
  std::size_t on_their_way = 0;
  const tcp_skb_cb* before = nullptr;
  for (sk_buff* skb = first(); skb != nullptr; skb = next(*skb)) {
    const tcp_skb_cb& cb = tcp_cb(*skb);
    if (cb.pcount == 0 || cb.end_seq < cb.seq) return false;
    if (before != nullptr && cb.seq != before->end_seq) return false;
    before = &cb;
    packets += cb.pcount;
    if (has(cb, skb_sacked)) sacked += cb.pcount;
    if (has(cb, skb_lost)) lost += cb.pcount;
    if (has(cb, skb_retrans)) retrans += cb.pcount;
    if (has(cb, skb_sacked) && (has(cb, skb_lost) || has(cb, skb_retrans))) return false;
    // What is neither delivered nor waits to be sent again has a place in the order of sending.
    const bool waits = has(cb, skb_lost) && !has(cb, skb_retrans);
    if (in_order_of_sending(*skb)) {
      ++on_their_way;
    } else if (!has(cb, skb_sacked) && !waits) {
      return false;
    }
    if (in_order_of_sending(*skb) && has(cb, skb_sacked)) return false;
  }
  if (packets != packets_ || sacked != sacked_) return false;
  if (lost != lost_ || retrans != retrans_) return false;
  if (sacked_out() + lost_ > packets_ || retrans_ > packets_) return false;
  std::size_t in_order = 0;
  for (sk_buff* skb = first_sent(); skb != nullptr; skb = next_sent(*skb)) ++in_order;
  return in_order == on_their_way;
}

}  // namespace ph
