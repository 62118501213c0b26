// What comes beside a datagram from the daemon: its tag (daemon/datagram_tags.h), as a descriptor
// that is read and closed at once, and the kernel's time.
#pragma once

#include <sys/socket.h>
#include <time.h>

#include "calls/caller.h"
#include "daemon/protocol.h"

namespace ph::calls {

struct received_tag {
  u8 bytes[dropin::max_tag];
  std::size_t len = 0;          ///< 0: there was none
  dropin::message_parts parts;  ///< of it
  timespec given{};             ///< when the datagram came to the anchor
};

/// Room for what the kernel says beside a datagram.
struct control_room {
  alignas(cmsghdr) char bytes[256];
  void offer(msghdr& to) {
    to.msg_control = bytes;
    to.msg_controllen = sizeof bytes;
  }
};

/// A message was received with such room: reads the tag, and closes its descriptor.
void read_beside(caller& c, msghdr& received, received_tag& to);

/// As recvmsg(2) without a name; what lies beside goes into `tag`. Bytes, or -errno.
long receive_parsed(caller& c, int held, const buffers& room, int flags, int& came,
                    received_tag& tag);

/// The tag of the datagram that waits. -errno: none does, or an error of the anchor was in the way
/// and is gone.
int peek_tag(caller& c, int held, received_tag& tag);

}  // namespace ph::calls
