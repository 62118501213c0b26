// Demultiplexing of connection-oriented sockets (TCP; later SCTP): established, bound, listening.
#pragma once

#include "base/hash.h"
#include "base/hash_table.h"
#include "net/inet/inet_full.h"
#include "net/inet/inet_sock.h"

namespace ph {

/// What the established table holds: a full socket, a half-open request or a time-wait entry.
/// The holder of the entry knows which.
enum class ehash_kind : u8 { established, request, timewait };

struct ehash_entry : hash_hook<struct ehash_tag> {
  explicit ehash_entry(ehash_kind k) : kind(k) {}
  inet_tuple key;
  ifindex bound_dev{};
  ehash_kind kind;
};

/// Siphash of a tuple under the table's key.
u64 inet_tuple_hash(const siphash_key& key, const inet_tuple& tuple);

/// The established table of one namespace.
class inet_ehash {
 public:
  explicit inet_ehash(siphash_key key) : key_(key), table_(64) {}
  /// The entry for a tuple as the receiver sees it, or nullptr.
  [[nodiscard]] ehash_entry* find(const inet_tuple& tuple, ifindex dev) const;
  void insert(ehash_entry& entry);
  void erase(ehash_entry& entry);
  [[nodiscard]] std::size_t size() const { return table_.size(); }
  [[nodiscard]] inet_full_destinations& full() { return full_; }
  template <class F>
  void for_each(F&& f) { table_.for_each(f); }

 private:
  siphash_key key_;
  hash_table<ehash_entry, ehash_tag> table_;
  inet_full_destinations full_;
};


}  // namespace ph
