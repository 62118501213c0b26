// Hooks of the calls that make, name, connect and configure sockets: what they mean on one of ours
// is in calls/sockets.h.
#include <sys/socket.h>

#include "calls/sockets.h"
#include "shim/config.h"
#include "shim/next.h"
#include "shim/own_caller.h"

namespace {

using namespace ph;
using namespace ph::shim;

int accept_any(int fd, sockaddr* address, socklen_t* len, int flags) {
  own_caller c(fd);
  return finish_or(do_accept4(c, fd, address_of(address), address_of(len), flags),
                   [=] { return next::accept4(fd, address, len, flags); });
}

}  // namespace

PH_HOOK(int, socket, int domain, int type, int protocol) {
  own_caller c(-1);
  return finish_or(config().active ? do_socket(c, domain, type, protocol) : not_ours,
                   [=] { return next::socket(domain, type, protocol); });
}

PH_HOOK(int, bind, int fd, const sockaddr* address, socklen_t len) {
  own_caller c(fd);
  return finish_or(do_bind(c, fd, address_of(address), len),
                   [=] { return next::bind(fd, address, len); });
}

PH_HOOK(int, connect, int fd, const sockaddr* address, socklen_t len) {
  own_caller c(fd);
  return finish_or(do_connect(c, fd, address_of(address), len),
                   [=] { return next::connect(fd, address, len); });
}

PH_HOOK(int, listen, int fd, int backlog) {
  own_caller c(fd);
  return finish_or(do_listen(c, fd, backlog), [=] { return next::listen(fd, backlog); });
}

PH_HOOK(int, accept4, int fd, sockaddr* address, socklen_t* len, int flags) {
  return accept_any(fd, address, len, flags);
}

PH_HOOK(int, accept, int fd, sockaddr* address, socklen_t* len) {
  return accept_any(fd, address, len, 0);
}

PH_HOOK(int, shutdown, int fd, int how) {
  own_caller c(fd);
  return finish_or(do_shutdown(c, fd, how), [=] { return next::shutdown(fd, how); });
}

PH_HOOK(int, getsockname, int fd, sockaddr* address, socklen_t* len) {
  own_caller c(fd);
  return finish_or(do_getsockname(c, fd, address_of(address), address_of(len)),
                   [=] { return next::getsockname(fd, address, len); });
}

PH_HOOK(int, getpeername, int fd, sockaddr* address, socklen_t* len) {
  own_caller c(fd);
  return finish_or(do_getpeername(c, fd, address_of(address), address_of(len)),
                   [=] { return next::getpeername(fd, address, len); });
}

PH_HOOK(int, setsockopt, int fd, int level, int name, const void* value, socklen_t len) {
  own_caller c(fd);
  return finish_or(do_setsockopt(c, fd, level, name, address_of(value), len),
                   [=] { return next::setsockopt(fd, level, name, value, len); });
}

PH_HOOK(int, getsockopt, int fd, int level, int name, void* value, socklen_t* len) {
  own_caller c(fd);
  return finish_or(do_getsockopt(c, fd, level, name, address_of(value), address_of(len)),
                   [=] { return next::getsockopt(fd, level, name, value, len); });
}
