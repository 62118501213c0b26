// The interfaces of the program's host, asked of the daemon.
#pragma once

#include "calls/caller.h"
#include "daemon/protocol.h"

namespace ph::calls {

inline constexpr std::size_t max_interfaces = 256;

/// Reads the records into `out`. Returns their number, or -errno.
long read_interfaces(caller& c, dropin::interface_record (&out)[max_interfaces]);

/// SIOCGIFCONF: fills `room` bytes with struct ifreq; with room 0 tells how much is needed. Returns
/// the bytes used, or -errno.
long fill_interface_list(caller& c, u64 out, int room);

}  // namespace ph::calls
