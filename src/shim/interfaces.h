// The interfaces of our host, asked of the daemon.
#pragma once

#include <cstddef>

#include "daemon/protocol.h"

namespace ph::shim {

inline constexpr std::size_t max_interfaces = 256;

/// Reads the records into `out`. Returns their number, or -errno.
long read_interfaces(dropin::interface_record (&out)[max_interfaces]);

/// SIOCGIFCONF: fills `room` bytes with struct ifreq; with room 0 tells how much is needed.
/// Returns the bytes used, or -errno. `socket`: any socket.
long fill_interface_list(int socket, char* out, int room);

}  // namespace ph::shim
