// Options of level SOL_SOCKET of the kernel's own sockets, whose value is a number.
#pragma once

#include <sys/socket.h>

namespace ph::dropin {

/// The option's value; 0 when it cannot be had.
inline int int_option(int fd, int name) {
  int value = 0;
  socklen_t len = sizeof value;
  ::getsockopt(fd, SOL_SOCKET, name, &value, &len);
  return value;
}

}  // namespace ph::dropin
