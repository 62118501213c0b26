// Sending and receiving on datagram anchors, where the kernel's own answer is not enough.
#include "shim/datagram_io.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/time.h>

#include <cerrno>
#include <cstring>

#include "daemon/received_choice.h"
#include "shim/anchor.h"
#include "shim/channel.h"
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

/// What the kernel says beside a datagram: the descriptor of its tag, to be closed (-1: none), and
/// when it came to the anchor.
struct beside {
  int tag = -1;
  timespec given{};
};

beside read_beside(msghdr& message) {
  beside out;
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level != SOL_SOCKET) continue;
    if (c->cmsg_type == SCM_RIGHTS) std::memcpy(&out.tag, CMSG_DATA(c), sizeof out.tag);
    const bool time = c->cmsg_type == SCM_TIMESTAMPNS && c->cmsg_len >= CMSG_LEN(sizeof out.given);
    if (time) std::memcpy(&out.given, CMSG_DATA(c), sizeof out.given);
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

/// Receives where the table has no room for a tag: a channel makes room, and is opened again when
/// it is needed.
ssize_t receive_in_full_table(int fd, msghdr& message, int flags) {
  for (;;) {
    if (table_is_full(fd) && !give_up_channel()) {
      errno = EMFILE;
      return -1;
    }
    const ssize_t got = next::recvmsg(fd, &message, flags | MSG_DONTWAIT);
    if (got >= 0 || errno != EAGAIN || !wait_for_datagram(fd, flags)) return got;
  }
}

/// What options the program has set by now.
u32 choice_at(int fd) {
  int value = 1;
  socklen_t len = sizeof value;
  raw::getsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &value, len);
  return dropin::choice_of(value);
}

/// Calls f(item, value) for each of a tag.
template <class F>
void for_each_item(const tag& t, F&& f) {
  dropin::control_walk walk{t.parts.control, t.parts.head.control_len};
  control_item item;
  const u8* value = nullptr;
  while (walk.next(item, value)) f(item, value);
}

/// Tells when a datagram came, in the forms that are chosen.
void deliver_stamp(u32 choice, const s64 (&came)[2], control_writer& out) {
  const u32 form = choice >> dropin::stamp_form_shift & dropin::stamp_form_mask;
  if (form >= 1 && form <= std::size(dropin::stamp_forms)) {
    const int type = dropin::stamp_forms[form - 1];
    const s64 told[2] = {came[0], dropin::in_nanoseconds(type) ? came[1] : came[1] / 1000};
    out.append(SOL_SOCKET, type, told, sizeof told);
  }
  if ((choice & dropin::stamp_timestamping) == 0) return;
  // By software, by a scheme of old, by hardware.
  const s64 told[6] = {came[0], came[1]};
  out.append(SOL_SOCKET, uapi::scm_timestamping, told, sizeof told);
}

void deliver_control(int fd, const tag& t, const timespec& given, control_writer& out) {
  if (!t.good) return;
  const u32 choice = choice_at(fd);
  s64 came[2] = {given.tv_sec, given.tv_nsec};
  for_each_item(t, [&](const control_item& item, const u8* value) {
    const bool stamp = item.level == dropin::own_level && item.type == dropin::own_stamp;
    if (stamp && item.len == sizeof came) std::memcpy(came, value, sizeof came);
  });
  deliver_stamp(choice, came, out);
  for_each_item(t, [&](const control_item& item, const u8* value) {
    if (item.level == dropin::own_level) return;
    if (!dropin::chosen(choice, item.level, item.type)) return;
    out.append(static_cast<int>(item.level), static_cast<int>(item.type), value, item.len);
  });
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

next_tag peek_tag(int fd, void* to, std::size_t room) {
  alignas(cmsghdr) char control[256];
  msghdr message{};
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const long got = raw::recvmsg(fd, message, MSG_PEEK | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (got < 0) return {0, got == -ECONNRESET};
  const int file = read_beside(message).tag;
  if (file < 0) return {};
  const long len = raw::call(SYS_pread64, file, raw::arg(to), static_cast<long>(room), 0);
  raw::close(file);
  return {len > 0 ? static_cast<std::size_t>(len) : 0, false};
}

ssize_t receive_datagram(int fd, msghdr& message, int flags) {
  alignas(cmsghdr) char control[256];
  msghdr own = message;
  own.msg_name = nullptr;
  own.msg_namelen = 0;
  ssize_t got;
  for (;;) {
    own.msg_control = control;
    own.msg_controllen = sizeof control;
    const int all_flags = flags | MSG_CMSG_CLOEXEC;
    got = table_is_full(fd) ? receive_in_full_table(fd, own, all_flags)
                            : next::recvmsg(fd, &own, all_flags);
    if (got >= 0) break;
    const int error = datagram_receive_error(fd, errno);
    if (error != 0) return -error;
  }
  const beside came = read_beside(own);
  const tag t(came.tag);
  if (got == 0 && !t.good && is_ending(fd)) return -ECONNRESET;
  // The kernel's MSG_CTRUNC would be about our room for control data, not the program's.
  message.msg_flags = own.msg_flags & ~(MSG_CTRUNC | (~flags & MSG_CMSG_CLOEXEC));
  control_writer out(fd, message);
  if (message.msg_control != nullptr) deliver_control(fd, t, came.given, out);
  if (!out.finish()) return -EFAULT;
  const std::size_t name_len = t.good ? t.parts.head.name_len : 0;
  if (message.msg_name == nullptr) return got;
  const std::size_t room = message.msg_namelen < name_len ? message.msg_namelen : name_len;
  if (!copy_out(fd, message.msg_name, t.parts.name, room)) return -EFAULT;
  message.msg_namelen = static_cast<socklen_t>(name_len);
  return got;
}

}  // namespace ph::shim
