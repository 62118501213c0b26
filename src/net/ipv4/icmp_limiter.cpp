// Two token buckets in front of icmp_send.
#include "net/ipv4/icmp_limiter.h"

#include <algorithm>

namespace ph {

bool icmp_limiter::allow_global(const ipv4_sysctls& limits, instant now) {
  const double burst = limits.icmp_msgs_burst;
  if (!started_) {
    credit_ = burst;
    filled_ = now;
    started_ = true;
  }
  const double earned = (now - filled_).seconds() * limits.icmp_msgs_per_sec;
  credit_ = std::min(burst, credit_ + earned);
  filled_ = now;
  return credit_ >= 1;
}

/// A message costs icmp_ratelimit milliseconds; at most six may follow each other at once.
bool icmp_limiter::allow_peer(const ipv4_sysctls& limits, ipv4_addr daddr, instant now) {
  constexpr s64 burst = 6;
  const duration cost = milliseconds(limits.icmp_ratelimit);
  if (cost.ns == 0) return true;
  if (peers_.size() >= most_peers && !peers_.contains(daddr)) {
    std::erase_if(peers_, [&](const auto& p) { return now - p.second.last >= cost * burst; });
    if (peers_.size() >= most_peers) return false;
  }
  const auto [place, fresh] = peers_.try_emplace(daddr, bucket{cost * burst, now});
  bucket& b = place->second;
  if (!fresh) {
    b.tokens = std::min(b.tokens + (now - b.last), cost * burst);
    b.last = now;
  }
  if (b.tokens < cost) return false;
  b.tokens = b.tokens - cost;
  return true;
}

bool icmp_limiter::allow(const ipv4_sysctls& limits, ipv4_addr daddr, instant now) {
  if (!allow_global(limits, now) || !allow_peer(limits, daddr, now)) return false;
  credit_ -= 1;
  return true;
}

}  // namespace ph
