// A direct-mapped table of answers; a changed routing table makes them all stale at once.
#include "net/ipv4/route_cache.h"

#include "base/hash.h"

namespace ph {

std::size_t route_cache::slot_of(const route_key& key) {
  const u64 addrs = (u64{key.daddr.value()} << 32) | key.saddr.value();
  const u64 rest = (u64{key.device} << 16) | (u64{key.tos} << 8) | (key.input ? 1u : 0u);
  return static_cast<std::size_t>(mix64(addrs ^ mix64(rest))) % slots;
}

ref<rtable> route_cache::find(const route_key& key, instant now) const {
  const entry& e = entries_[slot_of(key)];
  if (!e.rt || e.key != key || !rt_valid(*e.rt, now)) return {};
  return e.rt;
}

void route_cache::store(const route_key& key, ref<rtable> rt) {
  entries_[slot_of(key)] = {key, std::move(rt)};
}

void route_cache::clear() {
  for (entry& e : entries_) e = {};
}

namespace {

/// The entry, unless its time is over.
template <class Map>
const typename Map::mapped_type* living(const Map& all, const typename Map::key_type& key,
                                        instant now) {
  const auto found = all.find(key);
  return found != all.end() && found->second.expires > now ? &found->second : nullptr;
}

/// Of strangers' reports only so many are kept; who comes to a full table takes the place of those
/// whose time is over, or of any.
template <class Map>
void make_room(Map& all, std::size_t most, instant now) {
  if (all.size() < most) return;
  std::erase_if(all, [&](const auto& e) { return e.second.expires <= now; });
  if (all.size() >= most) all.erase(all.begin());
}

}  // namespace

const route_cache::path* route_cache::find_path(ipv4_addr daddr, instant now) const {
  return living(paths_, daddr, now);
}

const route_cache::redirect* route_cache::find_redirect(const way& of, instant now) const {
  return living(redirects_, of, now);
}

bool route_cache::learn_path(ipv4_addr daddr, const path& what, instant now) {
  const path* known = find_path(daddr, now);
  const bool news = known == nullptr || known->mtu != what.mtu || known->locked != what.locked;
  if (known == nullptr) make_room(paths_, most_paths, now);
  paths_[daddr] = what;
  return news;
}

bool route_cache::learn_redirect(const way& of, const redirect& what, instant now) {
  const redirect* known = find_redirect(of, now);
  const bool news = known == nullptr || known->gateway != what.gateway;
  if (known == nullptr) make_room(redirects_, most_paths, now);
  redirects_[of] = what;
  return news;
}

}  // namespace ph
