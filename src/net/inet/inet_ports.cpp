// Ports taken, and the random choice of ephemeral ones (RFC 6056 §3.3.2).
#include "net/inet/inet_ports.h"

#include <algorithm>
#include <memory>

namespace ph {
namespace {

/// So often a port is drawn before the rest is searched one by one: while a tenth of the range is
/// free, a draw in ten succeeds.
constexpr u32 random_draws = 32;

/// Would packets for one also be for the other?
bool overlap(const inet_sock& a, const inet_sock& b) {
  const ifindex dev_a = a.opt.bound_dev_if, dev_b = b.opt.bound_dev_if;
  if (dev_a && dev_b && dev_a != dev_b) return false;
  return overlaps(a.rcv_saddr, b.rcv_saddr);
}

bool same_device(const inet_port_kind& a, const inet_port_kind& b) {
  return !a.dev || !b.dev || a.dev == b.dev;
}

/// socket(7): SO_REUSEADDR on both and no listener among them, or SO_REUSEPORT on both and the same
/// user.
bool shares(const inet_port_kind& a, const inet_port_kind& b) {
  return (a.reuseaddr && b.reuseaddr) || (a.reuseport && b.reuseport && a.uid == b.uid);
}

/// Does `sk` share with the last who took the port by SO_REUSEPORT?
bool follows(const inet_bind_bucket& tb, const inet_sock& sk, const inet_port_kind& kind) {
  return tb.last && kind.reuseport && tb.last->uid == kind.uid &&
         overlaps(tb.last->addr, sk.rcv_saddr);
}

}  // namespace

inet_ports::~inet_ports() {
  buckets_.for_each([this](inet_bind_bucket& tb) {
    const std::unique_ptr<inet_bind_bucket> last(&tb);
    tb.addresses.clear_and_dispose([](inet_bind2_bucket* at) {
      at->owners.clear_and_dispose([](inet_sock* sk) { sk->bind2 = nullptr; });
      std::unique_ptr<inet_bind2_bucket>(at).reset();
    });
    buckets_.erase(tb);
  });
}

inet_bind_bucket* inet_ports::find(port_no port) const {
  return buckets_.find(port.value, [&](const inet_bind_bucket& tb) { return tb.port == port; });
}

inet_bind_bucket& inet_ports::bucket(port_no port) {
  if (inet_bind_bucket* found = find(port); found != nullptr) return *found;
  auto made = std::make_unique<inet_bind_bucket>(port);
  buckets_.insert(*made, port.value);
  return *made.release();
}

/// The first port of the range that `take` takes. Where most are taken, the search goes on from
/// where the last one ended, so that to find each of the last free ones takes one walk for all
/// together.
template <class Take>
result<port_no> inet_ports::search(u16 low, u16 high, rng& random, Take&& take) {
  if (low > high) return fail(errc::addrinuse);
  const u32 range = u32{high} - low + 1;
  const auto at = [&](u32 offset) { return port_no(static_cast<u16>(low + offset % range)); };
  for (u32 i = 0; i < random_draws; ++i) {
    if (const port_no port = at(static_cast<u32>(random.below(range))); take(port)) return port;
  }
  for (u32 i = 0; i < range; ++i) {
    searched_ = (searched_ + 1) % range;
    if (const port_no port = at(searched_); take(port)) return port;
  }
  return fail(errc::addrinuse);
}

void inet_ports::own(inet_bind_bucket& tb, inet_sock& sk, const inet_port_kind& kind) {
  const inet_bind2_place place{sk.rcv_saddr, kind};
  auto at = tb.addresses.find(place, inet_bind2_before{});
  if (at == tb.addresses.end()) {
    auto made = std::make_unique<inet_bind2_bucket>(tb, place);
    ++tb.kinds[kind];
    at = tb.addresses.insert(*made.release()).first;
  }
  at->owners.push_back(sk);
  sk.bind2 = &*at;
  sk.sport = tb.port;
}

void inet_ports::leave(inet_bind2_bucket& at, inet_sock& sk) {
  at.owners.erase(at.owners.iterator_to(sk));
  if (!at.owners.empty()) return;
  inet_bind_bucket& tb = at.port;
  const auto kind = tb.kinds.find(at.place.kind);
  if (--kind->second == 0) tb.kinds.erase(kind);
  tb.addresses.erase(tb.addresses.iterator_to(at));
  std::unique_ptr<inet_bind2_bucket>(&at).reset();
}

void inet_ports::moved(inet_sock& sk, const inet_port_kind& kind) {
  inet_bind2_bucket* const at = sk.bind2;
  if (at == nullptr || at->place == inet_bind2_place{sk.rcv_saddr, kind}) return;
  inet_bind_bucket& tb = at->port;
  leave(*at, sk);
  own(tb, sk, kind);
}

/// Does somebody other than `sk` hold the port on an overlapping address who does not share it?
bool inet_ports::conflict(inet_bind_bucket& tb, const inet_sock& sk, const inet_port_kind& kind,
                          bool share) {
  const auto in_the_way = [&](const inet_port_kind& other) {
    return same_device(kind, other) && !(share && shares(kind, other));
  };
  const bool alone = sk.bind2 != nullptr && &sk.bind2->owners.front() == &sk.bind2->owners.back();
  if (sk.rcv_saddr.is_any()) {
    return std::ranges::any_of(tb.kinds, [&](const auto& held) {
      const bool own = alone && sk.bind2->place.kind == held.first;
      return held.second > (own ? 1u : 0u) && in_the_way(held.first);
    });
  }
  return find_address(tb, sk.rcv_saddr, [&](const inet_bind2_bucket& at) {
    return !(alone && sk.bind2 == &at) && in_the_way(at.place.kind);
  });
}

/// `sk` took the port.
void inet_ports::note_taker(inet_bind_bucket& tb, const inet_sock& sk, const inet_port_kind& kind) {
  if (!kind.reuseport) {
    tb.last.reset();
  } else if (!follows(tb, sk, kind)) {
    tb.last = {sk.rcv_saddr, kind.uid};
  }
}

result<void> inet_ports::bind(inet_sock& sk, port_no port, const inet_port_kind& kind) {
  inet_bind_bucket* const taken = find(port);
  if (taken != nullptr && !follows(*taken, sk, kind) && conflict(*taken, sk, kind, true)) {
    return fail(errc::addrinuse);
  }
  inet_bind_bucket& tb = bucket(port);
  tb.connecting_only = false;
  note_taker(tb, sk, kind);
  own(tb, sk, kind);
  return {};
}

result<void> inet_ports::bind_again(inet_sock& sk, const inet_port_kind& kind) {
  inet_bind_bucket& tb = sk.bind2->port;
  if (!follows(tb, sk, kind) && conflict(tb, sk, kind, true)) return fail(errc::addrinuse);
  note_taker(tb, sk, kind);
  return {};
}

/// Does a socket that holds the port refuse it to `sk`?
bool inet_ports::refuses(inet_bind_bucket& taken, const inet_sock& sk) {
  if (sk.opt.reuseaddr && taken.unwilling == 0) return false;
  bool refused = false;
  find_address(taken, sk.rcv_saddr, [&](inet_bind2_bucket& at) {
    if (sk.opt.reuseaddr && at.unwilling == 0) return false;
    for (auto other = at.owners.rbegin(); other != at.owners.rend(); ++other) {
      if (&*other == &sk || !overlap(sk, *other)) continue;
      if (sk.opt.reuseaddr && other->opt.reuseaddr) continue;
      const bool shares = sk.opt.reuseport && other->opt.reuseport && sk.opt.uid == other->opt.uid;
      refused = !shares || sk.in_reuseport_group();
      return true;
    }
    return false;
  });
  return refused;
}

result<void> inet_ports::bind_datagram(inet_sock& sk, port_no port) {
  inet_bind_bucket* const taken = find(port);
  if (taken != nullptr && refuses(*taken, sk)) return fail(errc::addrinuse);
  inet_bind_bucket& tb = bucket(port);
  tb.connecting_only = false;
  own(tb, sk, {});
  return {};
}

void inet_ports::count_unwilling(inet_sock& sk, bool more) {
  if (sk.bind2 == nullptr) return;
  sk.bind2->unwilling += more ? 1u : ~0u;
  sk.bind2->port.unwilling += more ? 1u : ~0u;
}

result<port_no> inet_ports::bind_ephemeral(inet_sock& sk, u16 low, u16 high, rng& random,
                                           const inet_port_kind& kind,
                                           inline_fn<bool(port_no)> usable) {
  return search(low, high, random, [&](port_no port) {
    inet_bind_bucket* const taken = find(port);
    if (taken != nullptr && conflict(*taken, sk, kind, false)) return false;
    return (!usable || usable(port)) && bind(sk, port, kind);
  });
}

result<port_no> inet_ports::bind_datagram_ephemeral(inet_sock& sk, u16 low, u16 high, rng& random) {
  return search(low, high, random,
                [&](port_no port) { return bind_datagram(sk, port).has_value(); });
}

result<port_no> inet_ports::connect_ephemeral(inet_sock& sk, u16 low, u16 high, rng& random,
                                              const inet_port_kind& kind,
                                              inline_fn<bool(port_no)> usable) {
  return search(low, high, random, [&](port_no port) {
    const inet_bind_bucket* const taken = find(port);
    if (taken != nullptr && !taken->connecting_only) return false;
    if (!usable(port)) return false;
    own(bucket(port), sk, kind);
    return true;
  });
}

void inet_ports::inherit(inet_sock& child, port_no port, const inet_port_kind& kind) {
  own(bucket(port), child, kind);
}

void inet_ports::release(inet_sock& sk) {
  inet_bind2_bucket* const at = std::exchange(sk.bind2, nullptr);
  if (at == nullptr) return;
  inet_bind_bucket& tb = at->port;
  leave(*at, sk);
  if (!tb.addresses.empty()) return;
  if (!tb.connecting_only) ++releases_;
  buckets_.erase(tb);
  std::unique_ptr<inet_bind_bucket>(&tb).reset();
}

}  // namespace ph
