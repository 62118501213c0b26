// Messages with addresses and ancillary data, between the program's form and ours.
#pragma once

#include <sys/socket.h>

#include "shim/anchor.h"

namespace ph::shim {

/// Sends through the daemon: an addressed or otherwise special message. Returns the bytes sent, or
/// -errno. Waits for room unless MSG_DONTWAIT or O_NONBLOCK says not to.
ssize_t send_by_daemon(int fd, const msghdr& message, int flags);

/// Receives through the daemon (MSG_ERRQUEUE, MSG_OOB): fills the message; bytes or -errno.
ssize_t receive_by_daemon(int fd, msghdr& message, int flags);

/// What the kernel says of a message's lengths before it looks at the rest, and does to them: 0 or
/// -errno (recvmsg(2), sendmsg(2)).
int check_lengths(msghdr& message, bool sends);

/// Writes control data to the buffer of a program's message, as the kernel does: what does not fit
/// is cut and MSG_CTRUNC set.
class control_writer {
 public:
  /// `socket`: any socket. Control data of the message are room, not content.
  control_writer(int socket, msghdr& message);
  void append(int level, int type, const void* data, std::size_t len);
  /// Sets msg_controllen. What cannot be written to the program's buffer is not there, as with the
  /// kernel: the bytes were received.
  void finish();

 private:
  int socket_;
  msghdr& message_;
  std::size_t room_;
  std::size_t used_ = 0;
};

}  // namespace ph::shim
