// Making, naming and connecting sockets. Their options are in options.cpp.
#include "calls/sockets.h"

#include <linux/netlink.h>
#include <sys/socket.h>

#include <cerrno>

#include "calls/anchor.h"
#include "calls/exchange.h"
#include "calls/kernel.h"
#include "calls/renewal.h"
#include "calls/stream.h"

namespace ph::calls {
namespace {

using dropin::name_kind;
using dropin::request_kind;

/// Families that never reach the host's kernel.
bool ours_to_make(int domain, int protocol) {
  switch (domain) {
    case AF_INET:
    case AF_INET6:
    case AF_PACKET: return true;
    case AF_NETLINK:  // audit, uevents and the like are about the machine, not its network
      return protocol == NETLINK_ROUTE || protocol == NETLINK_SOCK_DIAG ||
             protocol == NETLINK_NETFILTER || protocol == NETLINK_GENERIC ||
             protocol == NETLINK_XFRM;
    default: return false;
  }
}

/// An address that a program gives. 0, or -errno.
int read_address(caller& c, u64 at, u32 len, sockaddr_storage& out) {
  if (len > sizeof out) return -EINVAL;
  return at != 0 && c.read(at, &out, len) ? 0 : -EFAULT;
}

int connect_anchor(caller& c, const anchor& a, const sockaddr_storage& address, u32 len) {
  const bool wait = a.stream() && kernel::may_block(c, a.fd, 0);
  const iovec piece{const_cast<sockaddr_storage*>(&address), len};
  exchange x;
  x.kind = request_kind::connect;
  x.fd = a.fd;
  x.flags = wait ? dropin::flag_wait : 0;
  x.data = &piece;
  x.data_pieces = 1;
  x.timeout_us = wait ? kernel::timeout_of(c, a.fd, SO_SNDTIMEO) : 0;
  int result = ask_renewing(c, x);
  if (wait && (result == -EINTR || result == -EAGAIN)) {
    // The connect goes on: after this second request the anchor shows what it has come to.
    const int interrupted = result == -EAGAIN ? -EINPROGRESS : -EINTR;
    x.flags = dropin::flag_settle;
    x.timeout_us = 0;
    result = c.ask(x);
    if (result == -EALREADY && interrupted == -EINTR) result = interrupted;
    if (result == -EINPROGRESS) result = interrupted;
  }
  const bool goes_on = result == -EINPROGRESS || result == -EALREADY || result == -EINTR;
  if (a.stream() && goes_on) c.note_connecting(a.fd, true);
  return result;
}

/// True for one of our sockets whose daemon is gone.
bool is_orphan(caller& c, const anchor& a) {
  return ask_about(c, a.fd, request_kind::getsockname) == -ECONNRESET;
}

/// The kernel accepted a connection from `from`: 0 and the daemon's name for its end, or -errno.
int check_accepted(caller& c, const anchor& listener, int made, const sockaddr_storage& from,
                   socklen_t from_len, dropin::anchor_name& end) {
  if (!decode_address(&from, from_len, end)) return -ECONNABORTED;  // a stranger's
  if (end.kind == name_kind::stream) {
    tell_accepted(c, listener, made, end);
    if (c.follows_errors(listener.fd)) c.follow_errors(made);
    return 0;
  }
  if (end.kind == name_kind::refusal) return -ENFILE;
  // The daemon's last word. Whoever waits here, too, or will, is woken by the kernel.
  kernel::shutdown(c, listener.fd, SHUT_RDWR);
  return -ECONNRESET;
}

/// One connection of a listener's: a held descriptor, and the daemon's name for its end; or -errno.
int accept_checked(caller& c, const anchor& listener, int flags, dropin::anchor_name& end) {
  sockaddr_storage from{};
  socklen_t from_len = sizeof from;
  const int made = c.accept(listener.fd, from, from_len, flags);
  // A listener that was shut, see below, tells that only to those who wait.
  const bool shut = made == -EINVAL || (made == -EAGAIN && hung_up(c, listener.fd));
  if (shut && is_orphan(c, listener)) return -ECONNRESET;
  if (made < 0) return made;
  const int error = check_accepted(c, listener, made, from, from_len, end);
  if (error == 0) return made;
  kernel::close(c, made);
  return error;
}

int shutdown_anchor(caller& c, const anchor& a, int how) {
  if (how < SHUT_RD || how > SHUT_RDWR) return -EINVAL;
  exchange x;
  x.kind = request_kind::shutdown;
  x.fd = a.fd;
  x.arg[0] = how;
  const int result = ask_renewing(c, x);
  if (how != SHUT_WR) c.expect(habit::shut_reads);
  // Without a connection Linux says so, and shuts the socket all the same: who reads is woken.
  const bool in_kernel =
      a.stream() ? (x.reply_flags & dropin::reply_shut_anchor) != 0 : result == 0;
  if (in_kernel || result == -ENOTCONN) kernel::shutdown(c, a.fd, how);
  return result;
}

/// The address that the daemon tells, to a program.
long give_asked(caller& c, const anchor& a, request_kind kind, u64 address, u64 len_at) {
  sockaddr_storage found;
  std::size_t room = sizeof found;
  const int result = ask_for(c, a.fd, kind, 0, 0, 0, nullptr, 0, &found, &room);
  return result < 0 ? result : give_address(c, &found, room, address, len_at);
}

}  // namespace

long do_socket(caller& c, int domain, int type, int protocol) {
  if (!ours_to_make(domain, protocol)) return not_ours;
  exchange x;
  x.kind = request_kind::socket;
  x.arg[0] = domain;
  x.arg[1] = type;
  x.arg[2] = protocol;
  x.cloexec = (type & SOCK_CLOEXEC) != 0;
  const int result = c.ask(x);
  if (result < 0) return result;
  return x.reply_fd >= 0 ? c.give(x.reply_fd, x.cloexec) : -EMFILE;
}

long do_bind(caller& c, int number, u64 address, u32 len) {
  anchor a;
  if (!find_anchor(c, number, a)) return not_ours;
  sockaddr_storage wanted;
  if (const int error = read_address(c, address, len, wanted); error != 0) return error;
  return ask_for(c, a.fd, request_kind::bind, 0, 0, 0, &wanted, len, nullptr, nullptr);
}

long do_connect(caller& c, int number, u64 address, u32 len) {
  anchor a;
  if (!find_anchor(c, number, a)) return not_ours;
  sockaddr_storage wanted;
  if (const int error = read_address(c, address, len, wanted); error != 0) return error;
  return len < sizeof(sa_family_t) ? -EINVAL : connect_anchor(c, a, wanted, len);
}

long do_listen(caller& c, int number, int backlog) {
  anchor a;
  if (!find_anchor(c, number, a)) return not_ours;
  exchange x;
  x.kind = request_kind::listen;
  x.fd = a.fd;
  x.arg[0] = backlog;
  return ask_renewing(c, x);
}

long do_accept4(caller& c, int number, u64 address, u64 len_at, int flags) {
  anchor a;
  if (!find_anchor(c, number, a)) return not_ours;
  dropin::anchor_name end;
  int made = accept_checked(c, a, flags, end);
  // A refusal may have waited here until there were descriptors again, and a connection behind it.
  const bool more = made == -ENFILE && (kernel::poll_now(c, a.fd, POLLIN) & POLLIN) != 0;
  if (more) made = accept_checked(c, a, flags, end);
  if (made < 0) return made;
  const int error =
      address != 0 ? give_address(c, end.remote.bytes, end.remote.len, address, len_at) : 0;
  if (error == 0) return c.give(made, (flags & SOCK_CLOEXEC) != 0);
  kernel::close(c, made);
  return error;
}

long do_shutdown(caller& c, int number, int how) {
  anchor a;
  return find_anchor(c, number, a) ? shutdown_anchor(c, a, how) : not_ours;
}

long do_getsockname(caller& c, int number, u64 address, u64 len_at) {
  anchor a;
  if (!find_anchor(c, number, a)) return not_ours;
  look_at_peer(c, a);
  if (!a.accepted()) return give_asked(c, a, request_kind::getsockname, address, len_at);
  return give_address(c, a.peer.local.bytes, a.peer.local.len, address, len_at);
}

long do_getpeername(caller& c, int number, u64 address, u64 len_at) {
  anchor a;
  if (!find_anchor(c, number, a)) return not_ours;
  look_at_peer(c, a);
  if (a.accepted() && !hung_up(c, a.fd)) {
    return give_address(c, a.peer.remote.bytes, a.peer.remote.len, address, len_at);
  }
  if (a.stream() && !a.linked) return -ENOTCONN;
  return give_asked(c, a, request_kind::getpeername, address, len_at);
}

}  // namespace ph::calls
