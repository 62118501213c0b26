// Descriptors that travel with a message of an AF_UNIX socket (unix(7), SCM_RIGHTS). Of the shim,
// too: nothing here allocates or calls libc.
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <cstring>

namespace ph {

/// Room for the control data of a message that passes one descriptor; lives as long as the message.
class passed_fd_room {
 public:
  /// Lets `fd` go with the message.
  void put(msghdr& message, int fd) {
    message.msg_control = bytes_;
    message.msg_controllen = sizeof bytes_;
    cmsghdr* const rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof fd);
    std::memcpy(CMSG_DATA(rights), &fd, sizeof fd);
  }

 private:
  alignas(cmsghdr) char bytes_[CMSG_SPACE(sizeof(int))] = {};
};

/// Calls take(fd) for each descriptor that came with a received message; it is take's to close.
template <class Take>
void for_each_passed_fd(msghdr& message, Take&& take) {
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    for (std::size_t at = CMSG_LEN(0); at + sizeof(int) <= c->cmsg_len; at += sizeof(int)) {
      int fd = -1;
      std::memcpy(&fd, reinterpret_cast<const char*>(c) + at, sizeof fd);
      take(fd);
    }
  }
}

}  // namespace ph
