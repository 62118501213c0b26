// Messages of an AF_UNIX socket that one descriptor goes with.
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <span>

#include "platform/passed_fd.h"
#include "platform/unique_fd.h"

namespace ph {

/// sendmsg(2) of these bytes, and of `fd` unless it is negative.
inline ssize_t send_with_fd(int socket, std::span<const char> bytes, int fd, int flags) {
  iovec part{const_cast<char*>(bytes.data()), bytes.size()};
  passed_fd_room room;
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (fd >= 0) room.put(message, fd);
  return ::sendmsg(socket, &message, flags);
}

/// recvmsg(2) into these bytes; a descriptor that came with them replaces `passed`.
inline ssize_t receive_with_fd(int socket, std::span<char> to, unique_fd& passed) {
  iovec part{to.data(), to.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t n = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  if (n >= 0) for_each_passed_fd(message, [&](int fd) { passed.reset(fd); });
  return n;
}

}  // namespace ph
