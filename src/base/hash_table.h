// An intrusive hash table for demultiplexing: chained buckets, grown by doubling, iteration in
// the order of buckets and insertion (deterministic for a given key and history).
#pragma once

#include <boost/intrusive/list.hpp>
#include <cstddef>
#include <vector>

#include "base/intrusive.h"

namespace ph {

/// Hook for objects kept in a hash_table with the same Tag; stores the hash.
template <class Tag>
struct hash_hook : list_hook<Tag> {
  u64 hash_value = 0;
  [[nodiscard]] bool hashed() const { return list_hook<Tag>::is_linked(); }
};

/// T derives from hash_hook<Tag>. The table does not own its elements.
template <class T, class Tag>
class hash_table {
 public:
  explicit hash_table(std::size_t buckets = 16) : buckets_(round_up(buckets)) {}
  hash_table(const hash_table&) = delete;
  hash_table& operator=(const hash_table&) = delete;
  ~hash_table() { clear(); }

  void insert(T& object, u64 hash) {
    ph_debug_check(!hook(object).hashed());
    hook(object).hash_value = hash;
    if (size_ >= buckets_.size()) grow();
    bucket(hash).push_back(object);
    ++size_;
  }
  /// Takes the object out; it must be in this table.
  void erase(T& object) {
    ph_check(hook(object).hashed());
    auto& chain = bucket(hook(object).hash_value);
    chain.erase(chain.iterator_to(object));
    --size_;
  }
  /// The first element with this hash for which `equal(element)` holds, or nullptr.
  template <class Equal>
  T* find(u64 hash, Equal&& equal) const {
    for (T& object : const_cast<hash_table*>(this)->bucket(hash)) {
      if (hook(object).hash_value == hash && equal(object)) return &object;
    }
    return nullptr;
  }
  /// Calls f(element) for each element with this hash; stops early when f returns true.
  template <class F>
  void for_hash(u64 hash, F&& f) const {
    for (T& object : const_cast<hash_table*>(this)->bucket(hash)) {
      if (hook(object).hash_value == hash && f(object)) return;
    }
  }
  /// Calls f(element) for all; f may erase the element it was given.
  template <class F>
  void for_each(F&& f) {
    for (auto& chain : buckets_) {
      for (auto it = chain.begin(); it != chain.end();) {
        T& object = *it++;
        f(object);
      }
    }
  }
  void clear() {
    for (auto& chain : buckets_) chain.clear();
    size_ = 0;
  }
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  using chain_type = intrusive_list<T, Tag>;
  static hash_hook<Tag>& hook(T& object) { return object; }
  static std::size_t round_up(std::size_t n) {
    std::size_t out = 1;
    while (out < n) out *= 2;
    return out;
  }
  chain_type& bucket(u64 hash) { return buckets_[hash & (buckets_.size() - 1)]; }
  void grow() {
    std::vector<chain_type> old(buckets_.size() * 2);
    old.swap(buckets_);
    for (auto& chain : old) {
      while (!chain.empty()) {
        T& object = chain.front();
        chain.pop_front();
        bucket(hook(object).hash_value).push_back(object);
      }
    }
  }
  std::vector<chain_type> buckets_;
  std::size_t size_ = 0;
};

}  // namespace ph
