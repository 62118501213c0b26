// lo: what goes out comes in again, on the same cpu, at the next poll.
#pragma once

#include "net/core/net_namespace.h"

namespace ph {

/// Makes and registers "lo" (MTU 65536, up only when opened). It becomes net.loopback.
result<net_device*> loopback_create(const rtnl_held& rtnl, net_namespace& net);

}  // namespace ph
