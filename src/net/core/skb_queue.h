// Lists of packets: owning FIFO with byte and packet counts.
#pragma once

#include "net/core/skbuff.h"

namespace ph {

/// Owns its packets. purge() it before it dies: packets left then count as unreasoned.
class skb_queue {
 public:
  skb_queue() = default;
  skb_queue(const skb_queue&) = delete;
  skb_queue& operator=(const skb_queue&) = delete;
  ~skb_queue() {
    while (!empty()) static_cast<void>(pop_front());
  }
  [[nodiscard]] bool empty() const { return list_.empty(); }
  [[nodiscard]] std::size_t size() const { return count_; }
  [[nodiscard]] u64 bytes() const { return bytes_; }
  [[nodiscard]] sk_buff* front() { return list_.empty() ? nullptr : &list_.front(); }
  [[nodiscard]] sk_buff* back() { return list_.empty() ? nullptr : &list_.back(); }
  void push_back(skb_ptr skb) {
    account(*skb);
    list_.push_back(*skb.release());
  }
  void push_front(skb_ptr skb) {
    account(*skb);
    list_.push_front(*skb.release());
  }
  void insert_before(sk_buff& at, skb_ptr skb) {
    account(*skb);
    list_.insert(list_.iterator_to(at), *skb.release());
  }
  void insert_after(sk_buff& at, skb_ptr skb) {
    account(*skb);
    list_.insert(std::next(list_.iterator_to(at)), *skb.release());
  }
  skb_ptr pop_front() {
    if (list_.empty()) return {};
    return remove(list_.front());
  }
  skb_ptr pop_back() {
    if (list_.empty()) return {};
    return remove(list_.back());
  }
  skb_ptr remove(sk_buff& skb) {
    list_.erase(list_.iterator_to(skb));
    --count_;
    bytes_ -= skb.len();
    return skb_ptr(&skb);
  }
  /// The neighbours in the queue, nullptr at the ends.
  [[nodiscard]] sk_buff* next(sk_buff& skb) {
    auto it = std::next(list_.iterator_to(skb));
    return it == list_.end() ? nullptr : &*it;
  }
  [[nodiscard]] sk_buff* prev(sk_buff& skb) {
    auto it = list_.iterator_to(skb);
    return it == list_.begin() ? nullptr : &*std::prev(it);
  }
  /// Call around a change of a queued packet's length.
  void adjust_bytes(s64 delta) { bytes_ = static_cast<u64>(static_cast<s64>(bytes_) + delta); }
  void purge(cpu& cx, skb_drop_reason why) {
    while (!empty()) drop(cx, pop_front(), why);
  }
  void splice_back(skb_queue& from) {
    list_.splice(list_.end(), from.list_);
    count_ += std::exchange(from.count_, 0);
    bytes_ += std::exchange(from.bytes_, 0);
  }

 private:
  void account(const sk_buff& skb) {
    ++count_;
    bytes_ += skb.len();
  }
  intrusive_list<sk_buff, skb_list_tag> list_;
  std::size_t count_ = 0;
  u64 bytes_ = 0;
};

}  // namespace ph
