// Sending and receiving on stream anchors, where the kernel's own answer is not enough.
#include "shim/stream_io.h"

#include <cerrno>

#include "shim/anchor.h"
#include "shim/next.h"
#include "shim/raw.h"

namespace ph::shim {

bool stream_send_is_daemons(int flags) { return (flags & (MSG_OOB | MSG_FASTOPEN)) != 0; }

msghdr plain_stream_message(const msghdr& message) {
  msghdr plain = message;
  plain.msg_name = nullptr;
  plain.msg_namelen = 0;
  plain.msg_control = nullptr;
  plain.msg_controllen = 0;
  return plain;
}

ssize_t stream_send_error(int fd, int error) {
  return error == ECONNRESET ? -true_error(fd) : -EPIPE;
}

int stream_broken_error(int fd) {
  int error = 0;
  socklen_t len = sizeof error;
  raw::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, len);
  return error != 0 ? true_error(fd) : EPIPE;
}

int stream_receive_error(int fd, int error) {
  return error == ECONNRESET ? true_error(fd) : ENOTCONN;  // EINVAL: a fresh or listening one
}

ssize_t discard_stream(int fd, std::size_t len, int flags) {
  char bin[16384];
  const std::size_t n = len < sizeof bin ? len : sizeof bin;
  return next::recv(fd, bin, n, flags & ~MSG_TRUNC);
}

}  // namespace ph::shim
