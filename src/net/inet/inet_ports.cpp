// Ports taken, and the random choice of ephemeral ones (RFC 6056 §3.3.1).
#include "net/inet/inet_ports.h"

#include <algorithm>

namespace ph {
namespace {

/// Would packets for one also be for the other?
bool overlap(const inet_sock& a, const inet_sock& b) {
  const ifindex dev_a = a.opt.bound_dev_if, dev_b = b.opt.bound_dev_if;
  if (dev_a && dev_b && dev_a != dev_b) return false;
  return a.rcv_saddr.is_any() || b.rcv_saddr.is_any() || a.rcv_saddr == b.rcv_saddr;
}

}  // namespace

result<void> inet_ports::bind(inet_sock& sk, port_no port, port_share_fn may_share) {
  std::vector<inet_sock*>& owners = owners_[port];
  const bool conflict = std::any_of(owners.begin(), owners.end(), [&](const inet_sock* other) {
    return other != &sk && overlap(sk, *other) && !may_share(sk, *other);
  });
  if (conflict) return fail(errc::addrinuse);
  owners.push_back(&sk);
  sk.sport = port;
  return {};
}

result<port_no> inet_ports::bind_ephemeral(inet_sock& sk, u16 low, u16 high, rng& random,
                                           port_share_fn may_share,
                                           inline_fn<bool(port_no)> usable) {
  if (low > high) return fail(errc::addrinuse);
  const u32 range = u32{high} - low + 1;
  const u32 start = static_cast<u32>(random.below(range));
  for (u32 i = 0; i < range; ++i) {
    const port_no port(static_cast<u16>(low + (start + i) % range));
    if (usable && !usable(port)) continue;
    if (bind(sk, port, may_share)) return port;
  }
  return fail(errc::addrinuse);
}

void inet_ports::inherit(inet_sock& child, port_no port) {
  owners_[port].push_back(&child);
  child.sport = port;
}

void inet_ports::release(inet_sock& sk) {
  const auto found = owners_.find(sk.sport);
  if (found == owners_.end()) return;
  std::erase(found->second, &sk);
  if (found->second.empty()) owners_.erase(found);
}

const std::vector<inet_sock*>* inet_ports::owners(port_no port) const {
  const auto found = owners_.find(port);
  return found != owners_.end() ? &found->second : nullptr;
}

}  // namespace ph
