// Ports taken, and the random choice of ephemeral ones (RFC 6056 §3.3.2).
#include "net/inet/inet_ports.h"

#include <algorithm>
#include <memory>

namespace ph {
namespace {

/// So often a port is drawn before the rest is searched one by one: while a tenth of the range is
/// free, a draw in ten succeeds.
constexpr u32 random_draws = 32;

/// Would packets for one also be for the other, as far as devices decide?
bool same_device(const inet_port_kind& a, const inet_port_kind& b) {
  return !a.dev || !b.dev || a.dev == b.dev;
}

/// socket(7): SO_REUSEPORT on both, and the same user.
bool share_reuseport(const inet_port_kind& a, const inet_port_kind& b) {
  return a.reuseport && b.reuseport && a.uid == b.uid;
}

/// That, or SO_REUSEADDR on both and no listener among them.
bool share(const inet_port_kind& a, const inet_port_kind& b) {
  return (a.reuseaddr && b.reuseaddr) || share_reuseport(a, b);
}

inet_port_kind datagram_kind(const inet_sock& sk) {
  return {sk.opt.bound_dev_if, sk.opt.uid, sk.opt.reuseaddr, sk.opt.reuseport};
}

/// Does `sk` share with the last who took the port by SO_REUSEPORT? One who has a single address
/// was not asked about the others.
bool follows(const inet_bind_bucket& tb, const inet_sock& sk, const inet_port_kind& kind) {
  return tb.last && kind.reuseport && tb.last->uid == kind.uid &&
         (tb.last->addr.is_any() || tb.last->addr == sk.rcv_saddr);
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

inet_bind2_bucket& inet_ports::bucket_at(inet_bind_bucket& tb, const inet_bind2_place& place) {
  const auto found = tb.addresses.find(place, inet_bind2_before{});
  if (found != tb.addresses.end()) return *found;
  return *tb.addresses.insert(*std::make_unique<inet_bind2_bucket>(tb, place).release()).first;
}

void inet_ports::own(inet_bind2_bucket& at, inet_sock& sk) {
  at.owners.push_back(sk);
  sk.bind2 = &at;
  sk.sport = at.port.port;
}

void inet_ports::own(inet_bind_bucket& tb, inet_sock& sk, const inet_port_kind& kind) {
  inet_bind2_bucket& at = bucket_at(tb, {sk.rcv_saddr, kind});
  if (at.owners.empty()) ++tb.kinds[kind];
  own(at, sk);
}

void inet_ports::leave(inet_bind2_bucket& at, inet_sock& sk) {
  at.owners.erase(at.owners.iterator_to(sk));
  if (!at.owners.empty()) return;
  inet_bind_bucket& tb = at.port;
  const auto kind = tb.kinds.find(at.place.kind);
  if (kind != tb.kinds.end() && --kind->second == 0) tb.kinds.erase(kind);
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
                          bool shared) {
  const auto in_the_way = [&](const inet_port_kind& other) {
    return same_device(kind, other) && !(shared && share(kind, other));
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

/// Does a socket that holds the port refuse it to `sk`? As Linux: of those in the way the youngest
/// decides or, where the kernel chooses the port, each of them.
bool inet_ports::refuses(inet_bind_bucket& taken, const inet_sock& sk, bool chosen) {
  const inet_port_kind kind = datagram_kind(sk);
  if (kind.reuseaddr && taken.unwilling == 0) return false;
  const bool may_share = kind.reuseport && !sk.in_reuseport_group();
  const inet_sock* youngest = nullptr;
  const auto refused_by = [&](const inet_sock& other) {
    return !may_share || !share_reuseport(kind, datagram_kind(other));
  };
  const bool refused = find_address(taken, sk.rcv_saddr, [&](inet_bind2_bucket& at) {
    if (kind.reuseaddr && at.unwilling == 0) return false;
    for (auto other = at.owners.rbegin(); other != at.owners.rend(); ++other) {
      const inet_port_kind held = datagram_kind(*other);
      if (&*other == &sk || !same_device(kind, held)) continue;
      if (!overlaps(sk.rcv_saddr, other->rcv_saddr)) continue;
      if (kind.reuseaddr && held.reuseaddr) continue;
      if (!may_share || (chosen && refused_by(*other))) return true;
      if (youngest == nullptr || other->port_age > youngest->port_age) youngest = &*other;
      if (!chosen) return false;
    }
    return false;
  });
  return refused || (youngest != nullptr && refused_by(*youngest));
}

result<void> inet_ports::bind_datagram(inet_sock& sk, port_no port, bool chosen) {
  inet_bind_bucket* const taken = find(port);
  if (taken != nullptr && refuses(*taken, sk, chosen)) return fail(errc::addrinuse);
  inet_bind_bucket& tb = bucket(port);
  tb.connecting_only = false;
  own(bucket_at(tb, {sk.rcv_saddr, {}}), sk);
  sk.port_age = ++last_age_;
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
    return usable(port) && bind(sk, port, kind);
  });
}

result<port_no> inet_ports::bind_datagram_ephemeral(inet_sock& sk, u16 low, u16 high, rng& random) {
  return search(low, high, random,
                [&](port_no port) { return bind_datagram(sk, port, true).has_value(); });
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
