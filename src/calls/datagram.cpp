// Sending and receiving on datagram anchors, where the kernel's own answer is not enough.
#include "calls/datagram.h"

#include <cerrno>
#include <cstring>

#include "calls/by_daemon.h"
#include "calls/datagram_tag.h"
#include "calls/kernel.h"
#include "daemon/received_choice.h"

namespace ph::calls {
namespace {

using dropin::control_item;

/// The end is gone with the daemon.
bool daemon_died(int error) { return error == ECONNREFUSED || error == ENOTCONN; }

/// The error behind an anchor's ECONNRESET; 0 when it stood for a waiting report of the error queue
/// or was told already. When nobody is there to ask, the kernel will wake nobody any more who waits
/// here: the anchor is shut down, so that whoever reads again does not wait.
int pending_error(caller& c, const anchor& a, bool waits) {
  const int error = ask_about(c, a.fd, dropin::request_kind::take_error, waits ? 1 : 0);
  if (error >= 0) return error;
  kernel::shutdown(c, a.fd, SHUT_RDWR);
  return ECONNRESET;
}

/// What options the program has set by now.
u32 choice_at(caller& c, const anchor& a) {
  int value = 1;
  socklen_t len = sizeof value;
  kernel::getsockopt(c, a.fd, SOL_SOCKET, SO_RCVLOWAT, &value, len);
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

void deliver_control(u32 choice, const received_tag& t, control_writer& out) {
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
  return (flags & (MSG_OOB | MSG_MORE | MSG_DONTROUTE | MSG_ZEROCOPY | MSG_PROXY)) != 0;
}

long repeat_datagram(caller& c, const anchor& a, const message& m, int flags, int error) {
  if (daemon_died(error)) return -ECONNRESET;
  if (error != ECONNRESET && error != EPERM) return -error;
  return send_by_daemon(c, a, m, flags);
}

bool is_ending(caller& c, const anchor& a) {
  return hung_up(c, a.fd) && ask_about(c, a.fd, dropin::request_kind::getsockname) == -ECONNRESET;
}

int datagram_receive_error(caller& c, const anchor& a, int error, int flags) {
  if (error == EAGAIN && is_ending(c, a)) return ECONNRESET;
  if (error != ECONNRESET) return error;
  return pending_error(c, a, kernel::may_block(c, a.fd, flags));
}

void show_report_again(caller& c, const anchor& a) {
  ask_about(c, a.fd, dropin::request_kind::show_error);
}

long receive_behind_end(caller& c, const anchor& a, message& m, int flags) {
  // An anchor that is not shut has the next one itself: the stack's would overtake it.
  const bool shut =
      c.expects(habit::shut_reads) && (kernel::poll_now(c, a.fd, POLLRDHUP) & POLLRDHUP) != 0;
  return shut ? receive_by_daemon(c, a, m, flags | MSG_DONTWAIT) : -EAGAIN;
}

long receive_datagram(caller& c, const anchor& a, message& m, int flags) {
  received_tag t;
  int came = 0;
  long got = -EAGAIN;
  bool repeated = false;
  for (int round = 0; round < most_rounds; ++round) {
    got = receive_parsed(c, a.fd, m.bytes, flags, came, t);
    if (got >= 0) break;
    const int error = datagram_receive_error(c, a, static_cast<int>(-got), flags);
    got = -error;
    if (error != 0) break;
    repeated = true;
  }
  if (repeated) show_report_again(c, a);
  const bool nothing = got == -EAGAIN || (got == 0 && t.len == 0);
  const long late = nothing ? receive_behind_end(c, a, m, flags) : -EAGAIN;
  if (late != -EAGAIN) return late;
  if (got < 0) return got;
  if (got == 0 && t.len == 0 && is_ending(c, a)) return -ECONNRESET;
  // The kernel's MSG_CTRUNC would be about our room for control data, not the program's.
  m.flags = came & ~(MSG_CTRUNC | (~flags & MSG_CMSG_CLOEXEC));
  control_writer out(c, m);
  if (m.control != 0 && t.len != 0) deliver_control(choice_at(c, a), t, out);
  out.finish();
  if (m.name == 0) return got;
  const u32 name_len = t.len != 0 ? t.parts.head.name_len : 0;
  if (!c.write(m.name, t.parts.name, m.name_len < name_len ? m.name_len : name_len)) {
    return -EFAULT;
  }
  m.name_len = name_len;
  return got;
}

}  // namespace ph::calls
