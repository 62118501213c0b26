// The key of a route lookup.
#pragma once

#include "base/strong.h"
#include "wire/inet_addr.h"

namespace ph {

struct flowi4 {
  ipv4_addr daddr, saddr;
  ifindex oif{}, iif{};
  u8 tos = 0;
  u8 proto = 0;
  u8 scope = 0;          ///< RT_SCOPE_*
  bool any_src = false;  ///< saddr need not be ours (IP_TRANSPARENT, raw with header)
  u32 mark = 0;
  u32 uid = 0;
  port_no sport{}, dport{};
};

}  // namespace ph
