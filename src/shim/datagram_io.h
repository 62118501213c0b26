// What calls on datagram anchors (UDP, raw, netlink, packet) do that the kernel cannot do alone.
#pragma once

#include <sys/socket.h>

#include <cstddef>

namespace ph::shim {

/// The largest payload of a UDP datagram over IPv4; an anchor itself would take more.
inline constexpr std::size_t max_datagram = 65507;

/// True for MSG_ flags of a send that the stack must see.
bool datagram_send_is_daemons(int flags);

/// A message with an address, control data or a flag that only the stack knows: sends it through
/// the daemon. Returns the bytes sent, or -errno.
ssize_t send_datagram(int fd, const msghdr& message, int flags);

/// A plain send failed in the kernel with `error`: sends it through the daemon, as the socket is
/// not connected (EPERM), or has an error of which only the stack knows whether it stops a send
/// (ECONNRESET). Bytes, or -errno.
ssize_t repeat_datagram(int fd, const msghdr& message, int flags, int error);

/// A receive with `flags` failed in the kernel with `error`: the errno that the program must see,
/// or 0 when the call is to be repeated.
int datagram_receive_error(int fd, int error, int flags);

/// After a receive that was repeated (datagram_receive_error said 0): the anchor shows again what
/// waits in the error queue.
void show_report_again(int fd);

/// A receive gave nothing, or EAGAIN: true when nothing will come any more, as the daemon is gone.
bool is_ending(int fd);

/// Receives with the address and the control data that the message asks for. Bytes, or -errno.
ssize_t receive_datagram(int fd, msghdr& message, int flags);

}  // namespace ph::shim
