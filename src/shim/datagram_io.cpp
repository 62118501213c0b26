// Sending and receiving on datagram anchors, where the kernel's own answer is not enough.
#include "shim/datagram_io.h"

#include <poll.h>

#include <cerrno>
#include <cstring>

#include "daemon/received_choice.h"
#include "shim/anchor.h"
#include "shim/datagram_tag.h"
#include "shim/message.h"
#include "shim/program_memory.h"
#include "shim/raw.h"

namespace ph::shim {
namespace {

using dropin::control_item;

/// How often a receive is repeated after errors of an anchor that were nobody's.
constexpr int most_rounds = 64;

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

/// What options the program has set by now.
u32 choice_at(int fd) {
  int value = 1;
  socklen_t len = sizeof value;
  raw::getsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &value, len);
  return dropin::choice_of(value);
}

/// Calls f(item, value) for each of a tag.
template <class F>
void for_each_item(const received_tag& t, F&& f) {
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

void deliver_control(int fd, const received_tag& t, control_writer& out) {
  if (t.len == 0) return;
  const u32 choice = choice_at(fd);
  s64 came[2] = {t.given.tv_sec, t.given.tv_nsec};
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

ssize_t receive_datagram(int fd, msghdr& message, int flags) {
  msghdr own = message;
  own.msg_name = nullptr;
  own.msg_namelen = 0;
  received_tag t;
  ssize_t got = -EAGAIN;
  // Whoever else reads here may take what an error announced, but not without end.
  for (int round = 0; round < most_rounds; ++round) {
    got = receive_tagged(fd, own, flags, t);
    if (got >= 0) break;
    const int error = datagram_receive_error(fd, static_cast<int>(-got));
    if (error != 0) return -error;
  }
  if (got < 0) return got;
  if (got == 0 && t.len == 0 && is_ending(fd)) return -ECONNRESET;
  // The kernel's MSG_CTRUNC would be about our room for control data, not the program's.
  message.msg_flags = own.msg_flags & ~(MSG_CTRUNC | (~flags & MSG_CMSG_CLOEXEC));
  control_writer out(fd, message);
  if (message.msg_control != nullptr) deliver_control(fd, t, out);
  out.finish();
  const std::size_t name_len = t.len != 0 ? t.parts.head.name_len : 0;
  if (message.msg_name == nullptr) return got;
  const std::size_t room = message.msg_namelen < name_len ? message.msg_namelen : name_len;
  if (!copy_out(fd, message.msg_name, t.parts.name, room)) return -EFAULT;
  message.msg_namelen = static_cast<socklen_t>(name_len);
  return got;
}

}  // namespace ph::shim
