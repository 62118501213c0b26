// What calls on datagram anchors (UDP, raw, netlink, packet) do that the kernel cannot do alone.
#pragma once

#include <sys/socket.h>

#include <cstddef>

namespace ph::shim {

/// The largest payload of a UDP datagram over IPv4; an anchor itself would take more.
inline constexpr std::size_t max_datagram = 65507;

/// A message with an address, control data or a flag that only the stack knows: sends it through
/// the daemon. Returns the bytes sent, or -errno.
ssize_t send_datagram(int fd, const msghdr& message, int flags);

/// A plain send failed in the kernel with `error`: sends through the daemon, which either can (a
/// connected socket kept apart for its ancillary data) or knows the errno. Bytes, or -errno.
ssize_t repeat_datagram(int fd, const msghdr& message, int flags, int error);

/// A receive failed in the kernel with `error`: the errno that the program must see.
int datagram_receive_error(int fd, int error);

}  // namespace ph::shim
