// Look-ups by rank, the sockets that are equal for them, and SO_REUSEPORT's groups.
#include "net/udp/udp_table.h"

#include <algorithm>

#include "kernel/kernel.h"
#include "net/inet/inet_hashtables.h"

namespace ph {

struct udp_older {
  bool operator()(const udp_sock& a, const udp_sock& b) const { return a.age < b.age; }
};

struct udp_equals {
  intrusive_set<udp_sock, udp_older, udp_equal_tag> all;
};

udp_table::udp_table(net_namespace& net, std::string_view name)
    : sockets(net, name), cpus_(static_cast<s32>(net.machine().cpu_count())) {}

// --- HOT: finding the socket ------------------------------------------------------------------

u64 udp_table::hash_of(const udp_flow& flow) const {
  return inet_tuple_hash(key, {flow.daddr, flow.saddr, flow.dport, flow.sport});
}

u64 udp_table::hash_of(const udp_demux_key& of) const {
  std::array<u8, 44> bytes{};
  byte_writer out(bytes);
  out.put_bytes(of.tuple.laddr.bytes);
  out.put_bytes(of.tuple.raddr.bytes);
  out.put(be16(of.tuple.lport.value));
  out.put(be16(of.tuple.rport.value));
  out.put(be32(of.dev));
  out.put(be32(static_cast<u32>(of.cpu)));
  return siphash(key, bytes);
}

udp_sock* udp_table::best_of(const udp_demux_key& of) const {
  udp_sock* const one =
      by_key_.find(hash_of(of), [&](const udp_sock& sk) { return sk.found_by == of; });
  return one == nullptr || !one->equals ? one : &*one->equals->all.rbegin();
}

/// Those that ask for `cpu`, or else for another or none.
udp_sock* udp_table::best_for(udp_demux_key of, s32 cpu) const {
  if (on_cpus_ == 0) return best_of(of);
  of.cpu = cpu;
  udp_sock* best = best_of(of);
  if (best != nullptr) return best;
  for (of.cpu = -1; of.cpu < cpus_; ++of.cpu) {
    udp_sock* const sk = best_of(of);
    if (sk != nullptr && (best == nullptr || sk->age > best->age)) best = sk;
  }
  return best;
}

udp_sock* udp_table::best_connected(const udp_flow& flow, s32 cpu) const {
  if (connected_ == 0) return nullptr;
  const inet_tuple tuple{flow.daddr, flow.saddr, flow.dport, flow.sport};
  udp_sock* const sk = on_devices_ != 0 ? best_for({tuple, flow.iif}, cpu) : nullptr;
  return sk != nullptr ? sk : best_for({tuple}, cpu);
}

/// What Linux's walk over the sockets of one address ends with: the youngest comes first, and each
/// that is worth more than those before it takes their place; but a group keeps it, unless one of
/// its members was connected.
udp_sock* udp_table::best_at(const inet_addr& addr, const udp_flow& flow, s32 cpu) const {
  struct candidate {
    udp_sock* sk;
    int worth;
  };
  std::array<candidate, 4> found{};  // youngest first
  std::size_t count = 0;
  const auto look = [&](const inet_addr& peer, u32 dev) {
    udp_sock* const sk = best_for({{addr, peer, flow.dport, {}}, dev}, cpu);
    if (sk == nullptr) return;
    std::size_t at = count++;
    for (; at != 0 && found[at - 1].sk->age < sk->age; --at) found[at] = found[at - 1];
    found[at] = {sk, (peer.is_any() ? 0 : 1) + (dev == 0 ? 0 : 1)};
  };
  if (to_all_ports_ != 0) look(flow.saddr, 0);
  if (to_all_ports_ != 0 && on_devices_ != 0) look(flow.saddr, flow.iif);
  if (on_devices_ != 0) look({}, flow.iif);
  look({}, 0);
  candidate best{nullptr, -1};
  for (std::size_t i = 0; i < count; ++i) {
    if (found[i].worth <= best.worth) continue;
    best = found[i];
    if (best.sk->shares() && !best.sk->group->had_connections) break;
  }
  return best.sk;
}

udp_sock* udp_table::find(const udp_flow& flow, s32 cpu) const {
  udp_sock* sk = best_connected(flow, cpu);
  if (sk == nullptr) sk = best_at(flow.daddr, flow, cpu);
  return sk != nullptr ? sk : best_at({}, flow, cpu);
}

udp_sock* udp_group::select(cpu& cx, const udp_sock& best, u64 flow_hash,
                            const sk_buff* skb) const {
  if (chooser && skb != nullptr) {
    const u32 chosen = chooser->run(cx, *skb, 0);
    if (chosen < members_.size()) return members_[chosen];
  }
  std::size_t at = (flow_hash >> 32) * members_.size() >> 32;
  const auto here = static_cast<s32>(cx.id().value);
  if (best.found_by.cpu != here) return members_[at];
  while (members_[at]->found_by.cpu != here) at = (at + 1) % members_.size();
  return members_[at];
}

udp_sock* udp_lookup(cpu& cx, net_namespace& net, const udp_flavour& flavour, const udp_flow& flow,
                     const sk_buff* skb) {
  const udp_table& table = net.slots().get(flavour.key);
  udp_sock* const best = table.find(flow, static_cast<s32>(cx.id().value));
  if (best == nullptr || !best->shares()) return best;
  return best->group->select(cx, *best, table.hash_of(flow), skb);
}

// --- coming and going -------------------------------------------------------------------------

udp_demux_key udp_table::key_of(const udp_sock& sk) const {
  udp_demux_key out;
  if (!sk.rcv_saddr.is_any()) out.tuple.laddr = sk.rcv_saddr;
  out.tuple.lport = sk.sport;
  if (!sk.daddr.is_any()) {
    out.tuple.raddr = sk.daddr;
    out.tuple.rport = sk.dport;
  }
  out.dev = sk.opt.bound_dev_if.value;
  if (sk.opt.incoming_cpu < cpus_) out.cpu = std::max(sk.opt.incoming_cpu, -1);
  return out;
}

void udp_table::count(const udp_demux_key& of, s32 more) {
  const auto add = static_cast<u32>(more);
  const bool has_peer = !of.tuple.raddr.is_any();
  if (has_peer && of.tuple.rport) connected_ += add;
  if (has_peer && !of.tuple.rport) to_all_ports_ += add;
  if (of.dev != 0) on_devices_ += add;
  if (of.cpu >= 0) on_cpus_ += add;
}

void udp_table::place(udp_sock& sk, const udp_demux_key& by) {
  sk.found_by = by;
  count(by, 1);
  const u64 hash = hash_of(by);
  udp_sock* const other =
      by_key_.find(hash, [&](const udp_sock& there) { return there.found_by == by; });
  if (other == nullptr) return by_key_.insert(sk, hash);
  if (!other->equals) {
    other->equals = std::make_shared<udp_equals>();
    other->equals->all.insert(*other);
  }
  sk.equals = other->equals;
  sk.equals->all.insert(sk.equals->all.end(), sk);
}

/// Where sockets are equal, one of them is in the table for all.
void udp_table::take_out(udp_sock& sk) {
  count(sk.found_by, -1);
  const std::shared_ptr<udp_equals> equals = std::exchange(sk.equals, nullptr);
  const bool for_all = sk.udp_hook::hashed();
  if (for_all) by_key_.erase(sk);
  if (!equals) return;
  equals->all.erase(equals->all.iterator_to(sk));
  udp_sock& first = *equals->all.begin();
  if (for_all) by_key_.insert(first, hash_of(first.found_by));
  if (&first != &*equals->all.rbegin()) return;
  equals->all.erase(equals->all.iterator_to(first));
  first.equals.reset();
}

void udp_table::insert(udp_sock& sk) {
  sk.age = ++last_age_;
  place(sk, key_of(sk));
  join_group(sk);
}

void udp_table::erase(udp_sock& sk) {
  leave_group(sk);
  if (sk.udp_hook::hashed() || sk.equals) take_out(sk);
}

void udp_table::rehash(udp_sock& sk) {
  const udp_demux_key old = sk.found_by, now = key_of(sk);
  if (old == now) return;
  const bool moved = old.tuple.laddr != now.tuple.laddr;
  take_out(sk);
  if (moved) sk.age = ++last_age_;
  place(sk, now);
  const bool has_peer = !now.tuple.raddr.is_any();
  const bool connects = has_peer && old.tuple != now.tuple;
  if (connects && !moved && sk.group) sk.group->had_connections = true;
  if (connects || moved || old.dev != now.dev) leave_group(sk);
  // Whatever else changes, the members keep their numbers: a chooser goes by them.
  if (sk.group && !has_peer && sk.place_in_group < 0) sk.group->add(sk);
}

// --- groups -----------------------------------------------------------------------------------

void udp_group::add(udp_sock& sk) {
  sk.place_in_group = static_cast<s32>(members_.size());
  members_.push_back(&sk);
}

void udp_group::remove(udp_sock& sk) {
  if (sk.place_in_group < 0) return;
  const auto place = static_cast<std::size_t>(std::exchange(sk.place_in_group, -1));
  udp_sock* const last = members_.back();
  members_.pop_back();
  if (last == &sk) return;
  members_[place] = last;
  last->place_in_group = static_cast<s32>(place);
}

/// The socket that `sk` is to share with: the last but itself to take the port like it, and of its
/// user. SO_REUSEPORT counts as it is now, and a peer does not. Passes each socket that
/// took the port later and is no such: with SO_REUSEADDR only, of another user, at another device.
udp_sock* udp_table::partner(const udp_sock& sk) {
  inet_port_owners& owners = sk.bind2->owners;
  for (auto at = owners.rbegin(); at != owners.rend(); ++at) {
    auto& other = static_cast<udp_sock&>(*at);
    if (&other == &sk || !other.opt.reuseport || other.opt.uid != sk.opt.uid) continue;
    const bool like_it = other.found_by.dev == sk.found_by.dev &&
                         other.found_by.tuple.laddr == sk.found_by.tuple.laddr;
    if (like_it) return &other;
  }
  return nullptr;
}

void udp_table::join_group(udp_sock& sk) {
  if (!sk.opt.reuseport) return;
  if (udp_sock* const other = partner(sk); other != nullptr) {
    leave_group(sk);  // a group of its own that it may have made for its chooser
    if (!other->group) {
      other->group = make_ref<udp_group>();
      if (other->daddr.is_any()) other->group->add(*other);
    }
    sk.group = other->group;
  } else if (!sk.group) {
    sk.group = make_ref<udp_group>();
  }
  if (sk.place_in_group < 0) sk.group->add(sk);
}

void udp_table::leave_group(udp_sock& sk) {
  if (!sk.group) return;
  sk.group->remove(sk);
  sk.group.reset();
}

}  // namespace ph
