// Sending and receiving on datagram anchors, where the kernel's own answer is not enough.
#include "shim/datagram_io.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/time.h>

#include <cerrno>
#include <cstring>

#include "shim/anchor.h"
#include "shim/message.h"
#include "shim/next.h"
#include "shim/program_memory.h"
#include "shim/raw.h"

namespace ph::shim {
namespace {

using dropin::control_item;

/// The end is gone with the daemon.
bool daemon_died(int error) { return error == ECONNREFUSED || error == ENOTCONN; }

/// The error behind an anchor's ECONNRESET; 0 when it stood for a waiting report of the error queue
/// or was told already. When nobody is there to ask, the kernel will wake nobody any more who waits
/// here: the anchor is shut down, so that whoever reads again does not wait.
int pending_error(int fd) {
  const int error = ask_about(fd, dropin::request_kind::take_error);
  if (error >= 0) return error;
  raw::call(SYS_shutdown, fd, SHUT_RDWR);
  return ECONNRESET;
}

/// The descriptor of the tag that came with a datagram, to be closed; -1: none.
int tag_of(msghdr& message) {
  int out = -1;
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    const bool rights = c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS;
    if (rights) std::memcpy(&out, CMSG_DATA(c), sizeof out);
  }
  return out;
}

/// The bytes of a tag (daemon/datagram_tags.h); closes its descriptor.
struct tag {
  u8 bytes[dropin::max_tag];
  dropin::message_parts parts;
  bool good = false;
  explicit tag(int fd) {
    if (fd < 0) return;
    const long got = raw::call(SYS_pread64, fd, raw::arg(&bytes[0]), sizeof bytes, 0);
    raw::close(fd);
    good = got > 0 && dropin::parse_message(bytes, static_cast<std::size_t>(got), parts);
  }
};

bool table_is_full(int fd) {
  const int spare = raw::fcntl(fd, F_DUPFD_CLOEXEC);
  if (spare >= 0) raw::close(spare);
  return spare == -EMFILE;
}

/// Waits until there is something to receive. False and errno: it is not to be waited for.
bool wait_for_datagram(int fd, int flags) {
  const int status = raw::fcntl(fd, F_GETFL);
  if ((flags & MSG_DONTWAIT) != 0 || (status & O_NONBLOCK) != 0) return false;
  timeval limit{};
  socklen_t len = sizeof limit;
  raw::getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, len);
  const long ms = limit.tv_sec * 1000 + (limit.tv_usec + 999) / 1000;
  pollfd ready{fd, POLLIN, 0};
  const int n = poll(&ready, 1, ms > 0 && ms < 0x7fffffff ? static_cast<int>(ms) : -1);
  if (n == 0) errno = EAGAIN;
  return n > 0;
}

/// Receives where the table has no room for a tag: the daemon reads it.
ssize_t receive_without_descriptor(int fd, msghdr& message, int flags) {
  for (;;) {
    const ssize_t got = receive_by_daemon(fd, message, flags | MSG_DONTWAIT);
    if (got != -EAGAIN) return got;
    errno = EAGAIN;
    if (!wait_for_datagram(fd, flags)) return -errno;
  }
}

void deliver_control(const tag& t, control_writer& out) {
  if (!t.good) return;
  dropin::control_walk walk{t.parts.control, t.parts.head.control_len};
  control_item item;
  const u8* value = nullptr;
  for (unsigned i = 0; walk.next(item, value); ++i) {
    if ((t.parts.head.flags >> i & 1) == 0) continue;
    out.append(static_cast<int>(item.level), static_cast<int>(item.type), value, item.len);
  }
}

}  // namespace

bool datagram_send_is_daemons(int flags) {
  constexpr int probe = 0x10;  // MSG_PROBE of the kernel
  return (flags & (MSG_OOB | MSG_MORE | MSG_DONTROUTE | MSG_ZEROCOPY | probe)) != 0;
}

ssize_t send_datagram(int fd, const msghdr& message, int flags) {
  return send_by_daemon(fd, message, flags);
}

ssize_t repeat_datagram(int fd, const msghdr& message, int flags, int error) {
  if (daemon_died(error)) return -ECONNRESET;
  if (error != ECONNRESET && error != EPERM) return -error;
  return send_by_daemon(fd, message, flags);
}

bool is_ending(int fd) {
  pollfd now{fd, 0, 0};
  if (poll(&now, 1, 0) != 1 || (now.revents & POLLHUP) == 0) return false;
  return ask_about(fd, dropin::request_kind::getsockname) == -ECONNRESET;
}

int datagram_receive_error(int fd, int error) {
  if (error == EAGAIN && is_ending(fd)) return ECONNRESET;
  return error == ECONNRESET ? pending_error(fd) : error;
}

ssize_t receive_datagram(int fd, msghdr& message, int flags) {
  if (table_is_full(fd)) return receive_without_descriptor(fd, message, flags);
  alignas(cmsghdr) char control[256];
  msghdr own = message;
  own.msg_name = nullptr;
  own.msg_namelen = 0;
  ssize_t got;
  for (;;) {
    own.msg_control = control;
    own.msg_controllen = sizeof control;
    got = next::recvmsg(fd, &own, flags | MSG_CMSG_CLOEXEC);
    if (got >= 0) break;
    const int error = datagram_receive_error(fd, errno);
    if (error != 0) return -error;
  }
  const tag t(tag_of(own));
  if (got == 0 && !t.good && is_ending(fd)) return -ECONNRESET;
  // The kernel's MSG_CTRUNC would be about our room for control data, not the program's.
  message.msg_flags = own.msg_flags & ~(MSG_CTRUNC | (~flags & MSG_CMSG_CLOEXEC));
  control_writer out(fd, message);
  deliver_control(t, out);
  out.finish();
  const std::size_t name_len = t.good ? t.parts.head.name_len : 0;
  if (message.msg_name == nullptr) return got;
  const std::size_t room = message.msg_namelen < name_len ? message.msg_namelen : name_len;
  if (!copy_out(fd, message.msg_name, t.parts.name, room)) return -EFAULT;
  message.msg_namelen = static_cast<socklen_t>(name_len);
  return got;
}

}  // namespace ph::shim
