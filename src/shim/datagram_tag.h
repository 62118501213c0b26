// What comes beside a datagram from the daemon: its tag (daemon/datagram_tags.h), as a descriptor
// that is read and closed at once, and the kernel's time.
#pragma once

#include <sys/socket.h>
#include <time.h>

#include "daemon/protocol.h"

namespace ph::shim {

struct received_tag {
  u8 bytes[dropin::max_tag];
  std::size_t len = 0;          ///< 0: there was none
  dropin::message_parts parts;  ///< of it
  timespec given{};             ///< when the datagram came to the anchor
};

/// As recvmsg(2) without a name, into the payload of `room`, whose msg_flags are set; what lies
/// beside goes into `tag`. Works also when the table of descriptors is full. Bytes, or -errno.
ssize_t receive_tagged(int fd, msghdr& room, int flags, received_tag& tag);

/// The tag of the datagram that waits. -errno: none does, or an error of the anchor was in the way
/// and is gone.
int peek_tag(int fd, received_tag& tag);

}  // namespace ph::shim
