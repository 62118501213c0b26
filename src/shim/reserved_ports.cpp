// Hooks of rresvport(3) and bindresvport(3): libc's own bind the socket from inside libc. What
// rsh's clients do with such a port, rcmd(3), is libc's: it stays without a network.
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "shim/config.h"
#include "shim/hook.h"
#include "shim/raw.h"

namespace {

using namespace ph::shim;

constinit next_function<int(int*, sa_family_t)> next_rresvport_af{"rresvport_af"};
constinit next_function<int(int, sockaddr_in*)> next_bindresvport{"bindresvport"};

/// The half of the privileged ports that these functions take theirs from.
constexpr int lowest = IPPORT_RESERVED / 2;
constexpr int highest = IPPORT_RESERVED - 1;

/// Binds to the first free port from `port` downwards, and from the top on when the bottom is
/// reached. 0 with its number in `port`, or -1: EADDRINUSE when all are taken.
int bind_reserved(int fd, sockaddr_in address, int& port) {
  if (port < lowest || port > highest) port = highest;
  for (int tried = lowest; tried <= highest; ++tried) {
    address.sin_port = htons(static_cast<in_port_t>(port));
    if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return 0;
    if (errno != EADDRINUSE) return -1;
    port = port > lowest ? port - 1 : highest;
  }
  return -1;
}

int reserved_socket(int* port, sa_family_t family) {
  if (family != AF_INET || !config().active) return next_rresvport_af(port, family);
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  if (fd < 0) return -1;
  sockaddr_in any{};
  any.sin_family = AF_INET;
  if (bind_reserved(fd, any, *port) == 0) return fd;
  const int error = errno == EADDRINUSE ? EAGAIN : errno;
  raw::close(fd);
  errno = error;
  return -1;
}

}  // namespace

PH_HOOK(int, rresvport, int* port) { return reserved_socket(port, AF_INET); }

PH_HOOK(int, rresvport_af, int* port, sa_family_t family) { return reserved_socket(port, family); }

PH_HOOK(int, bindresvport, int fd, sockaddr_in* address) {
  if (!config().active) return next_bindresvport(fd, address);
  sockaddr_in any{};
  any.sin_family = AF_INET;
  sockaddr_in& wanted = address != nullptr ? *address : any;
  if (wanted.sin_family != AF_INET) {
    errno = EAFNOSUPPORT;
    return -1;
  }
  // Programs that start one after the other do not all try the same ports first.
  int port = highest - raw::getpid() % (highest - lowest + 1);
  const int result = bind_reserved(fd, wanted, port);
  if (result == 0) wanted.sin_port = htons(static_cast<in_port_t>(port));
  return result;
}
