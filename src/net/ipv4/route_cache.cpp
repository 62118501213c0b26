// A direct-mapped table of answers; a changed routing table makes them all stale at once.
#include "net/ipv4/route_cache.h"

#include "base/hash.h"

namespace ph {

std::size_t route_cache::slot_of(const route_key& key) {
  const u64 addrs = (u64{key.daddr.value()} << 32) | key.saddr.value();
  const u64 rest = (u64{key.device} << 16) | (u64{key.tos} << 8) | (key.input ? 1u : 0u);
  return static_cast<std::size_t>(mix64(addrs ^ mix64(rest))) % slots;
}

ref<rtable> route_cache::find(const route_key& key) const {
  const entry& e = entries_[slot_of(key)];
  if (!e.rt || e.key != key || !rt_valid(*e.rt)) return {};
  return e.rt;
}

void route_cache::store(const route_key& key, ref<rtable> rt) {
  entries_[slot_of(key)] = {key, std::move(rt)};
}

void route_cache::clear() {
  for (entry& e : entries_) e = {};
}

const route_cache::path* route_cache::find_path(ipv4_addr daddr, instant now) const {
  const auto found = paths_.find(daddr);
  return found != paths_.end() && found->second.expires > now ? &found->second : nullptr;
}

bool route_cache::learn_path(ipv4_addr daddr, const path& what, instant now) {
  const path* known = find_path(daddr, now);
  const bool news = known == nullptr || known->mtu != what.mtu || known->locked != what.locked ||
                    known->gateway != what.gateway;
  if (known == nullptr && paths_.size() >= most_paths) {
    std::erase_if(paths_, [&](const auto& p) { return p.second.expires <= now; });
    if (paths_.size() >= most_paths) paths_.erase(paths_.begin());
  }
  paths_[daddr] = what;
  return news;
}

}  // namespace ph
