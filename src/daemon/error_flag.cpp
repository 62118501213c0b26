// A pair of AF_UNIX datagram sockets, cut and joined again.
#include "daemon/error_flag.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <cerrno>

namespace ph::dropin {

result<error_flag> error_flag::create() {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) != 0) {
    return fail(static_cast<errc>(errno));
  }
  error_flag out;
  out.shown_.reset(pair[0]);
  out.end_.reset(pair[1]);
  // It has a peer before it has a name: nobody else can ever send to it.
  sockaddr family_only{};
  family_only.sa_family = AF_UNIX;
  if (::bind(pair[0], &family_only, sizeof(sa_family_t)) != 0) {
    return fail(static_cast<errc>(errno));
  }
  out.name_.len = sizeof out.name_.sun;
  ::getsockname(pair[0], reinterpret_cast<sockaddr*>(&out.name_.sun), &out.name_.len);
  return out;
}

result<unique_fd> error_flag::copy() const {
  unique_fd out(::fcntl(shown_.get(), F_DUPFD_CLOEXEC, 0));
  if (!out) return fail(static_cast<errc>(errno));
  return out;
}

void error_flag::raise() {
  sockaddr none{};
  none.sa_family = AF_UNSPEC;
  static_cast<void>(!::send(shown_.get(), "", 0, MSG_DONTWAIT | MSG_NOSIGNAL));
  static_cast<void>(::connect(end_.get(), &none, sizeof none));
  static_cast<void>(
      ::connect(end_.get(), reinterpret_cast<const sockaddr*>(&name_.sun), name_.len));
  raised_ = true;
}

void error_flag::lower() {
  if (std::exchange(raised_, false) && shown_) take_anchor_error(shown_.get());
}

}  // namespace ph::dropin
