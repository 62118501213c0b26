// How often we may send ICMP errors: Linux's global bucket (icmp_msgs_per_sec, icmp_msgs_burst)
// and a bucket per destination (icmp_ratelimit), which errors of routing empty as well. RFC 1812
// §4.3.2.8 asks for limits.
#pragma once

#include <map>

#include "base/time.h"
#include "net/ipv4/ipv4_net.h"

namespace ph {

class icmp_limiter {
 public:
  /// May one more message go to `daddr` now? Takes a token of both buckets if so.
  [[nodiscard]] bool allow(const ipv4_sysctls& limits, ipv4_addr daddr, instant now);
  /// May `daddr` be told now that there is no route? One a second, and five at once.
  [[nodiscard]] bool allow_route_error(ipv4_addr daddr, instant now);

 private:
  bool allow_global(const ipv4_sysctls& limits, instant now);
  bool take(ipv4_addr daddr, instant now, duration cost, s64 burst);
  struct bucket {
    duration tokens{};   ///< saved time
    instant last{};
  };
  static constexpr std::size_t most_peers = 4096;
  std::map<ipv4_addr, bucket> peers_;
  instant swept_{};      ///< when peers_ was last looked through for old ones
  double credit_ = 0;    ///< messages
  instant filled_{};
  bool started_ = false;
};

}  // namespace ph
