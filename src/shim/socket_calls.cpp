// Hooks of the calls that make, name, connect and configure sockets.
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "shim/anchor.h"
#include "shim/channel.h"
#include "shim/config.h"
#include "shim/error_flags.h"
#include "shim/next.h"
#include "shim/program_memory.h"
#include "shim/raw.h"
#include "shim/renewal.h"
#include "shim/stream_io.h"

namespace {

using namespace ph;
using namespace ph::shim;
using dropin::name_kind;
using dropin::request_kind;

constexpr int tcp_inq = 36;  // TCP_INQ of <linux/tcp.h>, which glibc's headers do not suffer beside

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

bool nonblocking(int fd) {
  const int flags = raw::fcntl(fd, F_GETFL);
  return flags >= 0 && (flags & O_NONBLOCK) != 0;
}

long timeout_of(int fd, int option) {
  timeval limit{};
  socklen_t len = sizeof limit;
  if (raw::getsockopt(fd, SOL_SOCKET, option, &limit, len) != 0) return 0;
  return limit.tv_sec * 1000000 + limit.tv_usec;
}

int connect_anchor(int fd, const anchor& a, const sockaddr* address, socklen_t len) {
  const bool wait = a.stream() && !nonblocking(fd);
  iovec piece{const_cast<sockaddr*>(address), len};
  exchange x;
  x.kind = request_kind::connect;
  x.fd = fd;
  x.flags = wait ? dropin::flag_wait : 0;
  x.data = &piece;
  x.data_pieces = 1;
  x.timeout_us = wait ? timeout_of(fd, SO_SNDTIMEO) : 0;
  int result = ask_renewing(x);
  if (wait && (result == -EINTR || result == -EAGAIN)) {
    // The connect goes on: after this second request the anchor shows what it has come to.
    const int interrupted = result == -EAGAIN ? -EINPROGRESS : -EINTR;
    x.flags = dropin::flag_settle;
    x.timeout_us = 0;
    result = ask(x);
    if (result == -EALREADY && interrupted == -EINTR) result = interrupted;
    if (result == -EINPROGRESS) result = interrupted;
  }
  return result;
}

/// An accepted socket with its peer's address, if that is wanted.
int hand_over(int fd, const void* from, std::size_t from_len, sockaddr* address, socklen_t* len) {
  const int given = address != nullptr ? give_address(fd, from, from_len, address, len) : 0;
  if (given == 0) return fd;
  raw::close(fd);
  return given;
}

/// Address of an accepted socket's peer, or an error for connections that are not the daemon's.
int check_accepted(int listener, int fd, const sockaddr_storage& from, socklen_t from_len,
                   sockaddr* address, socklen_t* len) {
  dropin::anchor_name name;
  anchor a;
  if (decode_address(&from, from_len, name) && is_anchor(listener, a)) {
    if (name.kind == name_kind::stream) {
      tell_accepted(listener, fd, name);
      if (error_flags_in_use() && error_flag_of(listener) >= 0) want_error_flag(fd);
      return hand_over(fd, name.remote.bytes, name.remote.len, address, len);
    }
    raw::close(fd);
    if (name.kind == name_kind::refusal) return -ENFILE;
    // The daemon's last word. Whoever waits here, too, or will, is woken by the kernel.
    raw::call(SYS_shutdown, listener, SHUT_RDWR);
    return -ECONNRESET;
  }
  return hand_over(fd, &from, from_len, address, len);
}

/// True for one of our sockets whose daemon is gone.
bool is_orphan(int fd) {
  const int saved = errno;
  anchor a;
  const bool orphan = is_anchor(fd, a) && ask_about(fd, request_kind::getsockname) == -ECONNRESET;
  errno = saved;
  return orphan;
}

int accept_any(int fd, sockaddr* address, socklen_t* len, int flags) {
  if (address != nullptr && len == nullptr) return next::accept4(fd, address, len, flags);
  sockaddr_storage from{};
  socklen_t from_len = sizeof from;
  const int got = next::accept4(fd, reinterpret_cast<sockaddr*>(&from), &from_len, flags);
  if (got < 0 && errno == EINVAL && is_orphan(fd)) errno = ECONNRESET;
  if (got < 0) return got;
  socklen_t* const wanted = address != nullptr ? len : nullptr;
  return finish(check_accepted(fd, got, from, from_len, address, wanted));
}

/// Options that the kernel keeps on the anchor because the kernel acts on them.
bool is_kernels_option(int level, int name) {
  if (level != SOL_SOCKET) return false;
  switch (name) {
    case SO_RCVTIMEO_OLD:
    case SO_SNDTIMEO_OLD:
    case SO_RCVTIMEO_NEW:
    case SO_SNDTIMEO_NEW:
    case SO_PEEK_OFF: return true;
    default: return false;
  }
}

/// The value of these options points to a program: the daemon gets its instructions.
int attach_program(int fd, int name, const void* value, socklen_t len) {
  sock_fprog program;
  if (len != sizeof program) return -EINVAL;
  if (!copy_in(program, value)) return -EFAULT;
  const std::size_t bytes = program.len * sizeof(sock_filter);
  if (program.len == 0 || program.len > BPF_MAXINSNS) return -EINVAL;
  if (!readable(program.filter, bytes)) return -EFAULT;
  return ask_about(fd, request_kind::setsockopt, SOL_SOCKET, name, 0, program.filter, bytes);
}

int give_int(int fd, int value, void* to, socklen_t& len) {
  if (len > sizeof value) len = sizeof value;
  return copy_out(fd, to, &value, len) ? 0 : -EFAULT;
}

/// SO_ERROR: the anchor's own error says that there is one, the daemon knows which, and whether
/// another call (a second connect()) has told it before.
int pending_error(int fd, const anchor& a) {
  int error = 0;
  socklen_t len = sizeof error;
  raw::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, len);
  if (error != 0) {
    const int told = ask_about(fd, request_kind::take_error);
    return told >= 0 ? told : ECONNRESET;
  }
  anchor seen = a;
  if (a.stream()) look_at_peer(fd, seen);
  if (seen.linked) return 0;
  const int asked = ask_about(fd, request_kind::take_error);
  return asked > 0 ? asked : 0;
}

int get_option(int fd, const anchor& a, int level, int name, void* value, socklen_t& len) {
  if (level == SOL_SOCKET) {
    switch (name) {
      case SO_DOMAIN: return give_int(fd, a.name.domain, value, len);
      case SO_TYPE: return give_int(fd, a.name.type, value, len);
      case SO_PROTOCOL: return give_int(fd, a.name.protocol, value, len);
      case SO_ERROR: return give_int(fd, pending_error(fd, a), value, len);
      case SO_OOBINLINE:
        if (a.stream()) return raw::getsockopt(fd, level, name, value, len);
        break;
      default: break;
    }
  }
  // No option is longer than a message can be; what the buffer holds beyond stays.
  std::size_t room = len < dropin::max_data ? len : dropin::max_data;
  // Some options read the buffer first; a program may say more room than it has.
  const void* const before = readable(value, room) ? value : nullptr;
  const int result = ask_for(fd, request_kind::getsockopt, level, name, static_cast<s32>(room),
                             before, before != nullptr ? room : 0, value, &room);
  if (result >= 0) len = static_cast<socklen_t>(room);
  return result;
}

/// What the process must look at from now on, when it sets this option of a stream.
void prepare_for_option(int level, int name) {
  if (level == IPPROTO_TCP && name == tcp_inq) return expect_stream_control();
  if (level != SOL_SOCKET) return;
  switch (name) {
    case SO_RCVLOWAT: return expect_lowat();
    case SO_TIMESTAMP_OLD:
    case SO_TIMESTAMPNS_OLD:
    case SO_TIMESTAMPING_OLD:
    case SO_TIMESTAMP_NEW:
    case SO_TIMESTAMPNS_NEW:
    case SO_TIMESTAMPING_NEW: return expect_stream_control();
    default: return;
  }
}

/// Options that let something wait in a stream's error queue.
bool fills_error_queue(int level, int name) {
  if (level == IPPROTO_IP) return name == IP_RECVERR;
  if (level != SOL_SOCKET) return false;
  return name == SO_ZEROCOPY || name == SO_TIMESTAMPING_OLD || name == SO_TIMESTAMPING_NEW;
}

/// The daemon's socket takes the option; and the anchor, when its kernel socket acts on it.
int set_option(int fd, int level, int name, const void* value, socklen_t len) {
  iovec piece{const_cast<void*>(value), len};
  dropin::anchor_option told;
  exchange x;
  x.kind = request_kind::setsockopt;
  x.fd = fd;
  x.arg[0] = level;
  x.arg[1] = name;
  x.data = &piece;
  x.data_pieces = len != 0 ? 1 : 0;
  x.out = &told;
  x.out_room = sizeof told;
  const int result = ask(x);
  const bool whole = x.out_len == sizeof told && told.len <= sizeof told.value;
  if ((x.reply_flags & dropin::reply_set_anchor) != 0 && whole) {
    raw::setsockopt(fd, SOL_SOCKET, told.name, told.value, told.len);
  }
  return result;
}

int shutdown_anchor(int fd, const anchor& a, int how) {
  if (how < SHUT_RD || how > SHUT_RDWR) return -EINVAL;
  exchange x;
  x.kind = request_kind::shutdown;
  x.fd = fd;
  x.arg[0] = how;
  const int result = ask_renewing(x);
  if (a.stream() && how != SHUT_WR) expect_shut_reads();
  // Without a connection Linux says so, and shuts the socket all the same: who reads is woken.
  const bool in_kernel =
      a.stream() ? (x.reply_flags & dropin::reply_shut_anchor) != 0 : result == 0;
  if (in_kernel || result == -ENOTCONN) next::shutdown(fd, how);
  return result;
}

}  // namespace

PH_HOOK(int, socket, int domain, int type, int protocol) {
  if (!config().active || !ours_to_make(domain, protocol)) {
    return next::socket(domain, type, protocol);
  }
  exchange x;
  x.kind = request_kind::socket;
  x.arg[0] = domain;
  x.arg[1] = type;
  x.arg[2] = protocol;
  x.cloexec = (type & SOCK_CLOEXEC) != 0;
  const int result = ask(x);
  if (result < 0) return finish(result);
  return finish(x.reply_fd >= 0 ? x.reply_fd : -EMFILE);
}

PH_HOOK(int, bind, int fd, const sockaddr* address, socklen_t len) {
  anchor a;
  if (!is_anchor(fd, a)) return next::bind(fd, address, len);
  if (len > sizeof(sockaddr_storage)) return finish(-EINVAL);
  if (address == nullptr) return finish(-EFAULT);
  return finish(ask_about(fd, request_kind::bind, 0, 0, 0, address, len));
}

PH_HOOK(int, connect, int fd, const sockaddr* address, socklen_t len) {
  anchor a;
  if (!is_anchor(fd, a)) return next::connect(fd, address, len);
  if (len > sizeof(sockaddr_storage)) return finish(-EINVAL);
  if (address == nullptr) return finish(-EFAULT);
  if (len < sizeof(sa_family_t)) return finish(-EINVAL);
  return finish(connect_anchor(fd, a, address, len));
}

PH_HOOK(int, listen, int fd, int backlog) {
  anchor a;
  if (!is_anchor(fd, a)) return next::listen(fd, backlog);
  exchange x;
  x.kind = request_kind::listen;
  x.fd = fd;
  x.arg[0] = backlog;
  return finish(ask_renewing(x));
}

PH_HOOK(int, accept4, int fd, sockaddr* address, socklen_t* len, int flags) {
  if (!config().active) return next::accept4(fd, address, len, flags);
  return accept_any(fd, address, len, flags);
}

PH_HOOK(int, accept, int fd, sockaddr* address, socklen_t* len) {
  if (!config().active) return next::accept4(fd, address, len, 0);
  return accept_any(fd, address, len, 0);
}

PH_HOOK(int, shutdown, int fd, int how) {
  anchor a;
  if (!is_anchor(fd, a)) return next::shutdown(fd, how);
  return finish(shutdown_anchor(fd, a, how));
}

PH_HOOK(int, getsockname, int fd, sockaddr* address, socklen_t* len) {
  anchor a;
  if (!is_anchor(fd, a)) return next::getsockname(fd, address, len);
  look_at_peer(fd, a);
  if (a.accepted()) {
    return finish(give_address(fd, a.peer.local.bytes, a.peer.local.len, address, len));
  }
  sockaddr_storage found;
  std::size_t room = sizeof found;
  const int result = ask_for(fd, request_kind::getsockname, 0, 0, 0, nullptr, 0, &found, &room);
  if (result < 0) return finish(result);
  return finish(give_address(fd, &found, room, address, len));
}

PH_HOOK(int, getpeername, int fd, sockaddr* address, socklen_t* len) {
  anchor a;
  if (!is_anchor(fd, a)) return next::getpeername(fd, address, len);
  look_at_peer(fd, a);
  if (a.accepted() && !hung_up(fd)) {
    return finish(give_address(fd, a.peer.remote.bytes, a.peer.remote.len, address, len));
  }
  if (a.stream() && !a.linked) return finish(-ENOTCONN);
  sockaddr_storage found;
  std::size_t room = sizeof found;
  const int result = ask_for(fd, request_kind::getpeername, 0, 0, 0, nullptr, 0, &found, &room);
  if (result < 0) return finish(result);
  return finish(give_address(fd, &found, room, address, len));
}

PH_HOOK(int, setsockopt, int fd, int level, int name, const void* value, socklen_t len) {
  anchor a;
  if (!is_anchor(fd, a) || is_kernels_option(level, name)) {
    return next::setsockopt(fd, level, name, value, len);
  }
  if (static_cast<int>(len) < 0) return finish(-EINVAL);
  if (value == nullptr && len != 0) return finish(-EFAULT);
  if (len > dropin::max_data) return finish(-EINVAL);
  if (level == SOL_SOCKET && (name == SO_ATTACH_FILTER || name == SO_ATTACH_REUSEPORT_CBPF)) {
    return finish(attach_program(fd, name, value, len));
  }
  if (a.stream()) prepare_for_option(level, name);
  const int result = set_option(fd, level, name, value, len);
  if (result >= 0 && a.stream() && fills_error_queue(level, name)) want_error_flag(fd);
  return finish(result);
}

PH_HOOK(int, getsockopt, int fd, int level, int name, void* value, socklen_t* len) {
  anchor a;
  if (!is_anchor(fd, a) || is_kernels_option(level, name)) {
    return next::getsockopt(fd, level, name, value, len);
  }
  socklen_t room;
  if (!copy_in(room, len)) return finish(-EFAULT);
  if (static_cast<int>(room) < 0) return finish(-EINVAL);
  const int result = get_option(fd, a, level, name, value, room);
  if (result < 0) return finish(result);
  return finish(copy_out(fd, len, &room, sizeof room) ? 0 : -EFAULT);
}
