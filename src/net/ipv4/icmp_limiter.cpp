// Two token buckets in front of icmp_send.
#include "net/ipv4/icmp_limiter.h"

#include <algorithm>

namespace ph {
namespace {

constexpr duration between_sweeps = milliseconds(100);
/// What a stranger has saved when it is first met, as on Linux.
constexpr duration saved_by_strangers = seconds(60);

}  // namespace

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

/// Takes what a message to a peer costs out of the time that was saved, of which at most `burst`
/// messages' worth is kept.
bool icmp_limiter::take(ipv4_addr daddr, instant now, duration cost, s64 burst) {
  if (cost.ns == 0) return true;
  if (peers_.size() >= most_peers && !peers_.contains(daddr)) {
    if (now - swept_ < between_sweeps) return false;  // forged sources cost no more than this
    swept_ = now;
    std::erase_if(peers_, [&](const auto& p) { return now - p.second.last >= cost * burst; });
    if (peers_.size() >= most_peers) return false;
  }
  bucket& b = peers_.try_emplace(daddr, bucket{saved_by_strangers, now}).first->second;
  b.tokens = std::min(b.tokens + (now - b.last), cost * burst);
  b.last = now;
  if (b.tokens < cost) return false;
  b.tokens = b.tokens - cost;
  return true;
}

bool icmp_limiter::allow_route_error(ipv4_addr daddr, instant now) {
  return take(daddr, now, seconds(1), 5);
}

bool icmp_limiter::allow(const ipv4_sysctls& limits, ipv4_addr daddr, instant now) {
  const duration cost = milliseconds(limits.icmp_ratelimit);
  if (!allow_global(limits, now) || !take(daddr, now, cost, 6)) return false;
  credit_ -= 1;
  return true;
}

}  // namespace ph
