// Sending and receiving on datagram anchors, where the kernel's own answer is not enough.
#include "shim/datagram_io.h"

#include <cerrno>

#include "shim/anchor.h"
#include "shim/message.h"

namespace ph::shim {

ssize_t send_datagram(int fd, const msghdr& message, int flags) {
  return send_by_daemon(fd, message, flags);
}

ssize_t repeat_datagram(int fd, const msghdr& message, int flags, int error) {
  if (error == ECONNRESET) return -true_error(fd);
  return send_by_daemon(fd, message, flags);
}

int datagram_receive_error(int fd, int error) {
  return error == ECONNRESET ? true_error(fd) : error;
}

}  // namespace ph::shim
