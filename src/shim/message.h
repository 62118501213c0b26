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

/// A program's msghdr with room of ours for the address, to see who sent a message.
class address_catcher {
 public:
  explicit address_catcher(msghdr& message);
  /// After a receive: gives the program address and control data. False when the message is the
  /// dead daemon's last word, or a stranger's (the call must then fail with ECONNRESET).
  bool deliver();
  /// After a failed receive: the program's message as it was.
  void give_back();

 private:
  msghdr& message_;
  void* name_;
  socklen_t name_room_;
  std::size_t control_room_;
  sockaddr_storage caught_;
};

/// Appends one ancillary value at `used` of the program's control buffer; moves `used`.
/// False when there is no room for it (MSG_CTRUNC).
bool append_control(msghdr& message, std::size_t room, std::size_t& used, int level, int type,
                    const void* data, std::size_t len);

}  // namespace ph::shim
