// Ports taken, and the random choice of ephemeral ones (RFC 6056 §3.3.2).
#include "net/inet/inet_ports.h"

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

void inet_ports::own(inet_bind_bucket& tb, inet_sock& sk) {
  auto at = tb.addresses.find(sk.rcv_saddr, inet_bind2_before{});
  if (at == tb.addresses.end()) {
    auto made = std::make_unique<inet_bind2_bucket>(tb, sk.rcv_saddr);
    at = tb.addresses.insert(*made.release()).first;
  }
  at->owners.push_back(sk);
  sk.bind2 = &*at;
  sk.sport = tb.port;
}

result<void> inet_ports::bind(inet_sock& sk, port_no port, port_share_fn may_share) {
  const bool conflict = find_owner(port, sk.rcv_saddr, [&](const inet_sock& other) {
    return &other != &sk && overlap(sk, other) && !may_share(sk, other);
  });
  if (conflict) return fail(errc::addrinuse);
  inet_bind_bucket& tb = bucket(port);
  tb.connecting_only = false;
  own(tb, sk);
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
  own(tb, sk);
  return {};
}

void inet_ports::count_unwilling(inet_sock& sk, bool more) {
  if (sk.bind2 == nullptr) return;
  sk.bind2->unwilling += more ? 1u : ~0u;
  sk.bind2->port.unwilling += more ? 1u : ~0u;
}

result<port_no> inet_ports::bind_ephemeral(inet_sock& sk, u16 low, u16 high, rng& random,
                                           port_share_fn may_share,
                                           inline_fn<bool(port_no)> usable) {
  return search(low, high, random, [&](port_no port) {
    return (!usable || usable(port)) && bind(sk, port, may_share);
  });
}

result<port_no> inet_ports::connect_ephemeral(inet_sock& sk, u16 low, u16 high, rng& random,
                                              inline_fn<bool(port_no)> usable) {
  return search(low, high, random, [&](port_no port) {
    const inet_bind_bucket* const taken = find(port);
    if (taken != nullptr && !taken->connecting_only) return false;
    if (!usable(port)) return false;
    own(bucket(port), sk);
    return true;
  });
}

void inet_ports::inherit(inet_sock& child, port_no port) { own(bucket(port), child); }

void inet_ports::release(inet_sock& sk) {
  inet_bind2_bucket* const at = std::exchange(sk.bind2, nullptr);
  if (at == nullptr) return;
  at->owners.erase(at->owners.iterator_to(sk));
  if (!at->owners.empty()) return;
  inet_bind_bucket& tb = at->port;
  tb.addresses.erase(tb.addresses.iterator_to(*at));
  std::unique_ptr<inet_bind2_bucket>(at).reset();
  if (!tb.addresses.empty()) return;
  if (!tb.connecting_only) ++releases_;
  buckets_.erase(tb);
  std::unique_ptr<inet_bind_bucket>(&tb).reset();
}

}  // namespace ph
