// The hash of a flow's ends and the lookup by it.
#include "net/inet/inet_hashtables.h"

namespace ph {

u64 inet_tuple_hash(const siphash_key& key, const inet_tuple& tuple) {
  std::array<u8, 36> bytes{};
  byte_writer out(bytes);
  out.put_bytes(tuple.laddr.bytes);
  out.put_bytes(tuple.raddr.bytes);
  out.put(be16(tuple.lport.value));
  out.put(be16(tuple.rport.value));
  return siphash(key, bytes);
}

ehash_entry* inet_ehash::find(const inet_tuple& tuple, ifindex dev) const {
  return table_.find(inet_tuple_hash(key_, tuple), [&](const ehash_entry& entry) {
    return entry.key == tuple && (!entry.bound_dev || entry.bound_dev == dev);
  });
}

void inet_ehash::insert(ehash_entry& entry) {
  table_.insert(entry, inet_tuple_hash(key_, entry.key));
}

void inet_ehash::erase(ehash_entry& entry) {
  if (!entry.bound_dev) full_.freed(entry.key);
  table_.erase(entry);
}

}  // namespace ph
