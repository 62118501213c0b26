// Listeners by place, youngest last, and the groups that share.
#include "net/tcp/tcp_listeners.h"

#include "net/tcp/tcp_sock.h"

namespace ph {

/// Never empty, but for a moment.
struct tcp_listeners_at {
  explicit tcp_listeners_at(const tcp_listening_place& where) : place(where) {}
  const tcp_listening_place place;
  intrusive_list<tcp_sock, tcp_listener_tag> all;
};

namespace {

void join(tcp_sock& tp, const ref<tcp_listener_group>& group) {
  tp.listener_group = group;
  tp.place_in_group = group->members.size();
  group->members.push_back(&tp);
}

/// The youngest of its user that shares where `tp` is to listen.
tcp_sock* partner(tcp_listeners_at& here, const tcp_sock& tp) {
  for (auto other = here.all.rbegin(); other != here.all.rend(); ++other) {
    if (other->opt.reuseport && other->opt.uid == tp.opt.uid) return &*other;
  }
  return nullptr;
}

/// As Linux: who got the option only since it listens is taken in with the next one.
void join_group(tcp_listeners_at& here, tcp_sock& tp) {
  tcp_sock* const other = partner(here, tp);
  if (other != nullptr && !other->listener_group) join(*other, make_ref<tcp_listener_group>());
  join(tp, other != nullptr ? other->listener_group : make_ref<tcp_listener_group>());
}

void leave_group(tcp_sock& tp) {
  const ref<tcp_listener_group> group = std::exchange(tp.listener_group, nullptr);
  if (!group) return;
  tcp_sock* const last = group->members.back();
  group->members.pop_back();
  if (last == &tp) return;
  group->members[tp.place_in_group] = last;
  last->place_in_group = tp.place_in_group;
}

}  // namespace

tcp_listeners::tcp_listeners() = default;
tcp_listeners::~tcp_listeners() = default;

void tcp_listeners::enter(tcp_sock& tp) {
  const inet_addr addr = tp.rcv_saddr.is_any() ? inet_addr{} : tp.rcv_saddr;
  const tcp_listening_place where{tp.sport, addr, tp.opt.bound_dev_if};
  std::unique_ptr<tcp_listeners_at>& here = places_[where];
  if (!here) here = std::make_unique<tcp_listeners_at>(where);
  tp.listens_at = here.get();
}

void tcp_listeners::leave(tcp_sock& tp) {
  tcp_listeners_at& here = *std::exchange(tp.listens_at, nullptr);
  here.all.erase(here.all.iterator_to(tp));
  if (here.all.empty()) places_.erase(here.place);
}

void tcp_listeners::add(tcp_sock& tp) {
  enter(tp);
  if (tp.opt.reuseport) join_group(*tp.listens_at, tp);
  tp.listens_at->all.push_back(tp);
}

void tcp_listeners::remove(tcp_sock& tp) {
  leave_group(tp);
  leave(tp);
}

void tcp_listeners::moved(tcp_sock& tp) {
  if (tp.listens_at->place.dev == tp.opt.bound_dev_if) return;
  leave(tp);
  enter(tp);
  tp.listens_at->all.push_back(tp);
}

tcp_sock* tcp_listeners::any() const { return &places_.begin()->second->all.front(); }

tcp_sock* tcp_listeners::best_at(const tcp_listening_place& where, u64 hash) const {
  const auto found = places_.find(where);
  if (found == places_.end()) return nullptr;
  tcp_sock& youngest = found->second->all.back();
  if (!youngest.opt.reuseport || !youngest.listener_group) return &youngest;
  const std::vector<tcp_sock*>& members = youngest.listener_group->members;
  return members[(hash >> 32) * members.size() >> 32];
}

tcp_sock* tcp_listeners::find(const inet_tuple& tuple, ifindex dev, u64 hash) const {
  for (const inet_addr& addr : {tuple.laddr, inet_addr{}}) {
    for (const ifindex on : {dev, ifindex{}}) {
      if (tcp_sock* const tp = best_at({tuple.lport, addr, on}, hash); tp != nullptr) return tp;
    }
  }
  return nullptr;
}

}  // namespace ph
