// The tree of packets by sequence number.
#include "net/tcp/tcp_skb.h"

#include <iterator>

namespace ph {

sk_buff* tcp_skb_tree::find(seq32 seq) {
  struct ends_before {
    bool operator()(const sk_buff& skb, seq32 at) const { return tcp_cb(skb).end_seq <= at; }
    bool operator()(seq32 at, const sk_buff& skb) const { return at < tcp_cb(skb).end_seq; }
  };
  const auto it = tree_.lower_bound(seq, ends_before{});
  return it == tree_.end() ? nullptr : &*it;
}

sk_buff& tcp_skb_tree::insert(skb_ptr skb) {
  sk_buff& out = *skb.release();
  tree_.insert(out);
  ++count_;
  return out;
}

sk_buff& tcp_skb_tree::push_back(skb_ptr skb) {
  sk_buff& out = *skb.release();
  tree_.insert(tree_.end(), out);
  ++count_;
  return out;
}

skb_ptr tcp_skb_tree::remove(sk_buff& skb) {
  list_hook<skb_list_tag>& order = skb;
  if (order.is_linked()) order.unlink();
  tree_.erase(tree_.iterator_to(skb));
  --count_;
  return skb_ptr(&skb);
}

}  // namespace ph
