// What calls on stream anchors (TCP) do that the kernel cannot do alone.
#pragma once

#include <sys/socket.h>

#include <cstddef>

namespace ph::shim {

/// True for MSG_ flags of a send that only the stack can act on.
bool stream_send_is_daemons(int flags);

/// The message without what TCP ignores and AF_UNIX does not: address and control data.
msghdr plain_stream_message(const msghdr& message);

/// A send failed in the kernel with `error`: -errno for the program.
ssize_t stream_send_error(int fd, int error);

/// The errno of a send that failed with EPIPE in the kernel: the connection's own error is first.
int stream_broken_error(int fd);

/// A receive failed in the kernel with `error`: the errno that the program must see.
int stream_receive_error(int fd, int error);

/// recv with MSG_TRUNC: TCP throws bytes away (tcp(7)), AF_UNIX streams copy them. Returns as recv.
ssize_t discard_stream(int fd, std::size_t len, int flags);

}  // namespace ph::shim
