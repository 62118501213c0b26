// Reassembly of IPv4 datagrams (RFC 791 §3.2, RFC 815, RFC 1858; overlaps end the datagram as in
// RFC 5722). Keyed by source, destination, identification and protocol; bounded in time, in how far
// one source may run ahead (ipfrag_max_dist), and in memory: over ipfrag_high_thresh every fragment
// is refused until those that wait have had their time, so that a flood displaces nobody who was
// there before it. ipfrag_low_thresh means nothing, as in Linux since 4.17.
#pragma once

#include <map>

#include "kernel/timer_wheel.h"
#include "net/core/skb_queue.h"
#include "net/ipv4/ipv4_net.h"

namespace ph {

class inet_frags {
 public:
  explicit inet_frags(net_namespace& net);
  inet_frags(const inet_frags&) = delete;
  inet_frags& operator=(const inet_frags&) = delete;
  ~inet_frags();
  /// Takes a fragment (network header at data); gives the whole datagram once it is complete.
  [[nodiscard]] skb_ptr defrag(cpu& cx, skb_ptr skb);
  /// Bytes charged by waiting fragments.
  [[nodiscard]] u64 memory() const { return memory_; }
  [[nodiscard]] std::size_t queues() const { return queues_.size(); }
  /// Drops everything that waits.
  void purge(cpu& cx);

 private:
  struct key {
    ipv4_addr saddr, daddr;
    u16 id = 0;
    u8 protocol = 0;
    friend auto operator<=>(const key&, const key&) = default;
  };
  struct queue;
  queue& find_or_create(cpu& cx, const key& k);
  skb_drop_reason insert(cpu& cx, queue& q, skb_ptr& skb);
  static skb_drop_reason place(queue& q, u32 offset, u32 end);
  void join(cpu& cx, queue& q, sk_buff& whole);
  [[nodiscard]] skb_ptr reassemble(cpu& cx, queue& q);
  void drop_fragments(cpu& cx, queue& q, skb_drop_reason why);
  void fail(cpu& cx, queue& q, skb_drop_reason why);
  void expire(cpu& cx, queue& q);
  void erase(queue& q);
  void restart_if_too_far(cpu& cx, queue& q);

  struct source {
    u32 rid = 0;       ///< fragments of datagrams seen from this source
    u32 waiting = 0;   ///< queues that need it
  };
  net_namespace& net_;
  std::map<key, std::unique_ptr<queue>> queues_;
  std::map<ipv4_addr, source> sources_;
  u64 memory_ = 0;
};

}  // namespace ph
