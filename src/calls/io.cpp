// Sending and receiving. A call that the kernel can do on the anchor goes to the kernel first and
// is looked at only when it fails; only addresses, control data and a few flags make a call ours
// from the start. What such a call means is in stream.cpp and datagram.cpp.
#include "calls/io.h"

#include <signal.h>

#include <cerrno>
#include <cstddef>

#include "calls/by_daemon.h"
#include "calls/datagram.h"
#include "calls/kernel.h"
#include "calls/stream.h"

namespace ph::calls {
namespace {

/// A write on a broken connection, where the kernel was told not to raise the signal.
long broken_pipe(caller& c, const anchor& a, int flags) {
  if (!a.stream()) return -EPIPE;
  const int error = stream_broken_error(c, a);
  if (error == EPIPE && (flags & MSG_NOSIGNAL) == 0) c.raise(SIGPIPE);
  return -error;
}

/// The same on a descriptor that is none of ours. Only streams raise one.
long foreign_broken_pipe(caller& c, int held, int flags) {
  int type = SOCK_STREAM;
  socklen_t len = sizeof type;
  kernel::getsockopt(c, held, SOL_SOCKET, SO_TYPE, &type, len);
  if (type == SOCK_STREAM && (flags & MSG_NOSIGNAL) == 0) c.raise(SIGPIPE);
  return -EPIPE;
}

/// A stream anchor has no room, and the program does not wait. Small pieces fill an anchor long
/// before they fill a TCP socket, and a peer that is gone shows only when they were sent: once the
/// daemon has taken what is there, the kernel is asked again.
long send_when_taken(caller& c, anchor& a, const buffers& bytes, int flags) {
  const long made = make_room(c, a);
  if (made == -EPIPE) return broken_pipe(c, a, flags);
  if (made < 0) return could_not_ask(made) ? -EAGAIN : made;
  const long sent = c.send(a.fd, bytes, flags | MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent == -EPIPE) return broken_pipe(c, a, flags);
  return sent == -ECONNRESET ? stream_send_error(c, a, ECONNRESET) : sent;
}

/// Errors of a plain send that may stand for something else. EAGAIN and EPIPE are of their own.
bool is_anchors_error(int error) {
  return error == ENOTCONN || error == ECONNRESET || error == EDESTADDRREQ || error == EINVAL ||
         error == EPERM || error == ECONNREFUSED;
}

/// A plain send on an anchor failed in the kernel.
long mended_send_on(caller& c, anchor& a, const buffers& bytes, int flags, int error) {
  message m;
  m.bytes = bytes;
  // To shut a datagram socket does not stop all packets, nor hides other errors: the stack knows.
  if (error == EPIPE && !a.stream()) return send_by_daemon(c, a, m, flags);
  if (error == EPIPE) return broken_pipe(c, a, flags);
  if (error == EAGAIN && a.stream() && !kernel::may_block(c, a.fd, flags)) {
    return send_when_taken(c, a, bytes, flags);
  }
  if (!is_anchors_error(error)) return -error;
  if (a.stream()) {
    const long seen = stream_send_error(c, a, error);
    return seen == -EPIPE ? broken_pipe(c, a, flags) : seen;
  }
  return repeat_datagram(c, a, m, flags, error);
}

long taken_on(caller& c, const anchor& a, long sent) {
  if (sent <= static_cast<long>(max_datagram) || !a.udp()) return sent;
  true_error(c, a.fd);
  return -EMSGSIZE;
}

/// True when what was sent may be less than was given. Where the lengths are not at hand, only much
/// is looked at: a smaller part was taken by an anchor that was nearly full.
bool is_perhaps_a_part(const buffers& bytes, long sent) {
  constexpr long much = 32768;
  if (sent <= 0 || bytes.own == nullptr) return sent >= much;
  u64 given = 0;
  for (std::size_t i = 0; i < bytes.count; ++i) given += bytes.own[i].len;
  return static_cast<u64>(sent) < given;
}

long completed_on(caller& c, const anchor& a, const buffers& bytes, int flags, long sent) {
  const bool part = is_perhaps_a_part(bytes, sent) && !kernel::may_block(c, a.fd, flags);
  return part ? send_what_is_left(c, a, bytes, flags, sent) : sent;
}

long send_plainly(caller& c, anchor& a, const buffers& bytes, int flags) {
  const long early = a.stream() ? connected_by_now(c, a, flags) : 0;
  if (early != 0) return early;
  const long sent = c.send(a.fd, bytes, flags | MSG_NOSIGNAL);
  if (sent >= 0 && a.stream()) return completed_on(c, a, bytes, flags, sent);
  if (sent >= 0) return taken_on(c, a, sent);
  return mended_send_on(c, a, bytes, flags, static_cast<int>(-sent));
}

long send_on_stream(caller& c, anchor& a, const message& m, int flags) {
  stream_control control;
  if (const int error = pack_stream_control(c, m, control); error != 0) return error;
  if (control.len == 0 && (flags & stream_special_flags) == 0) {
    const int error = unused_name_error(c, m);
    return error != 0 ? error : send_plainly(c, a, m.bytes, flags);
  }
  const long sent = send_stream(c, a, m, control, flags);
  return sent == -EPIPE ? broken_pipe(c, a, flags) : sent;
}

/// Bytes below SO_RCVLOWAT, or behind the end of a stream that was shut, which the stack keeps.
bool may_be_kept(caller& c, int flags, int error) {
  if ((flags & MSG_OOB) != 0) return false;
  return (error == EAGAIN && c.expects(habit::lowat)) ||
         (error == 0 && c.expects(habit::shut_reads));
}

/// A receive on a stream gave nothing, or failed.
long mended_on_stream(caller& c, anchor& a, const buffers& room, int flags, int error) {
  const bool below = may_be_kept(c, flags, error);
  if (error == EAGAIN && !below) return -EAGAIN;
  message m;
  m.bytes = room;
  const long got = below ? receive_by_daemon(c, a, m, flags | MSG_DONTWAIT) : 0;
  return !below || (error == 0 && got <= 0) ? stream_receive_end(c, a, error, flags) : got;
}

/// A receive on an anchor gave nothing, or failed in the kernel: puts into `result` what the
/// program must see. False when the call is to be repeated.
bool mend_receive(caller& c, anchor& a, const buffers& room, int flags, long& result) {
  const int error = static_cast<int>(-result);
  if (a.stream()) {
    result = mended_on_stream(c, a, room, flags, error);
    return true;
  }
  if (error == 0 || error == EAGAIN) {
    message m;
    m.bytes = room;
    const long late = receive_behind_end(c, a, m, flags);
    if (late != -EAGAIN) result = late;
    if (result == 0 || result == -EAGAIN) result = is_ending(c, a) ? -ECONNRESET : result;
    return true;
  }
  const int seen = datagram_receive_error(c, a, error, flags);
  result = -seen;
  return seen != 0;
}

long mended_receive_on(caller& c, anchor& a, const buffers& room, int flags, int& came,
                       long result) {
  int round = 0;
  for (; round < most_rounds; ++round) {
    if (result > 0 || mend_receive(c, a, room, flags, result)) break;
    result = c.receive(a.fd, room, flags, came);
  }
  if (round > 0) show_report_again(c, a);  // only a datagram socket's receive is repeated
  return round == most_rounds && result <= 0 ? -EAGAIN : result;
}

/// The error queue is the daemon's; urgent data the anchor carries, see receive_stream().
bool wants_daemon(int flags, const anchor& a) {
  return (flags & MSG_ERRQUEUE) != 0 || ((flags & MSG_OOB) != 0 && !a.stream());
}

/// TCP gives no address; AF_UNIX would give that of the daemon's end.
long receive_stream(caller& c, anchor& a, message& m, int flags) {
  m.flags = 0;
  long got = (flags & MSG_TRUNC) != 0 ? discard_stream(c, a, m.bytes, flags, m.flags)
                                      : c.receive(a.fd, m.bytes, flags, m.flags);
  if (got == -EOPNOTSUPP && (flags & MSG_OOB) != 0) {  // AF_UNIX of this kernel has no urgent data
    m.name = m.control = m.control_len = 0;
    return receive_by_daemon(c, a, m, flags);
  }
  if (got <= 0) got = mended_receive_on(c, a, m.bytes, flags, m.flags, got);
  if (got < 0) return got;
  if ((flags & (MSG_OOB | MSG_PEEK)) == MSG_OOB) forget_urgent(c, a);
  m.name_len = 0;
  if (m.control != 0 && c.expects(habit::stream_control)) {
    add_stream_control(c, a, m, got, flags);
  } else {
    m.control_len = 0;
  }
  return got;
}

/// Without address and control data. What lies beside a datagram is ours: the program did not ask
/// for it, so nothing of it was cut off.
long receive_nameless(caller& c, anchor& a, message& m, int flags) {
  long got = c.receive(a.fd, m.bytes, flags, m.flags);
  if (got <= 0) got = mended_receive_on(c, a, m.bytes, flags, m.flags, got);
  if (!a.stream()) m.flags &= ~MSG_CTRUNC;
  m.control_len = 0;
  return got;
}

}  // namespace

bool send_is_special(int flags) {
  return datagram_send_is_daemons(flags) || (flags & stream_special_flags) != 0;
}

long mended_send(caller& c, int number, const buffers& bytes, int flags, int error) {
  if (error != EPIPE && error != EAGAIN && !is_anchors_error(error)) return -error;
  anchor a;
  if (find_anchor(c, number, a)) return mended_send_on(c, a, bytes, flags, error);
  return error == EPIPE ? foreign_broken_pipe(c, a.fd, flags) : -error;
}

long mended_write(caller& c, int number, const buffers& bytes, int error) {
  if (error != EPIPE) return mended_send(c, number, bytes, 0, error);
  anchor a;
  if (!find_anchor(c, number, a)) return -EPIPE;
  return a.stream() ? -stream_broken_error(c, a) : mended_send_on(c, a, bytes, 0, error);
}

long mended_transfer(caller& c, int number, int error) {
  anchor a;
  const bool mendable = error == EAGAIN || error == EPIPE || is_anchors_error(error);
  if (!mendable || !find_anchor(c, number, a)) return -error;
  if (error == EPIPE) return a.stream() ? -stream_broken_error(c, a) : -EPIPE;
  if (error == EAGAIN) {
    if (!a.stream() || kernel::may_block(c, a.fd, 0)) return -EAGAIN;
    // Where there is room, the other side had nothing to give; or room has come since.
    const bool room = (kernel::poll_now(c, a.fd, POLLOUT) & POLLOUT) != 0;
    return room || make_room(c, a) == 0 ? 0 : -EAGAIN;
  }
  if (!a.stream()) {
    return error == EPERM ? -EDESTADDRREQ : -datagram_receive_error(c, a, error, 0);
  }
  const long seen = stream_send_error(c, a, error);
  return seen == -EPIPE ? broken_pipe(c, a, 0) : seen;
}

long mended_transfer_from(caller& c, int number, long result, bool& again) {
  anchor a;
  again = false;
  if (!find_anchor(c, number, a)) return result;
  int came = 0;
  if (a.stream()) return mended_receive_on(c, a, {}, 0, came, result);
  if (result == 0) return is_ending(c, a) ? -ECONNRESET : 0;
  const int seen = datagram_receive_error(c, a, static_cast<int>(-result), 0);
  again = seen == 0;
  return -seen;
}

bool too_long(caller& c, int number, u64 len) {
  anchor a;
  return len > max_datagram && find_anchor(c, number, a) && a.udp();
}

long completed(caller& c, int number, const buffers& bytes, int flags, long sent) {
  anchor a;
  const bool looked = is_perhaps_a_part(bytes, sent) && find_anchor(c, number, a) && a.stream();
  return looked ? completed_on(c, a, bytes, flags, sent) : sent;
}

long taken(caller& c, int number, long sent) {
  anchor a;
  const bool looked = sent > static_cast<long>(max_datagram) && find_anchor(c, number, a);
  return looked ? taken_on(c, a, sent) : sent;
}

long mended_receive(caller& c, int number, const buffers& room, int flags, int& came, long result) {
  const int error = static_cast<int>(-result);
  const bool worth_a_look = error == 0 || error == EINVAL || error == ECONNRESET ||
                            may_be_kept(c, flags, error) ||
                            (error == EAGAIN && c.expects(habit::shut_reads)) ||
                            (error == EAGAIN && hung_up(c, c.hold(number)));
  anchor a;
  if (!worth_a_look || !find_anchor(c, number, a)) return result;
  return mended_receive_on(c, a, room, flags, came, result);
}

long mended_recvmsg(caller& c, int number, u64 at, const buffers& room, int flags, long result) {
  const u64 flags_at = at + offsetof(msghdr, msg_flags);
  int came = 0;
  if (result >= 0 && !c.read(flags_at, &came, sizeof came)) return -EFAULT;
  const int seen = came;
  const long got = result > 0 ? result : mended_receive(c, number, room, flags, came, result);
  // What lies beside a datagram is ours: nothing of the program's was cut off.
  anchor a;
  const bool cut = (came & MSG_CTRUNC) != 0 && find_anchor(c, number, a) && !a.stream();
  if (cut) came &= ~MSG_CTRUNC;
  const bool differs = got >= 0 && came != seen;
  return !differs || c.write(flags_at, &came, sizeof came) ? got : -EFAULT;
}

long send_on(caller& c, anchor& a, const message& m, int flags) {
  const bool special = m.name != 0 || m.control_len != 0 || send_is_special(flags);
  if (!special) return send_plainly(c, a, m.bytes, flags);
  return a.stream() ? send_on_stream(c, a, m, flags) : send_by_daemon(c, a, m, flags);
}

long receive_on(caller& c, anchor& a, message& m, int flags) {
  const bool plain = m.name == 0 && m.control == 0;
  if (plain && !receive_is_special(flags)) return receive_nameless(c, a, m, flags);
  if (wants_daemon(flags, a)) return receive_by_daemon(c, a, m, flags);
  if (a.stream()) return receive_stream(c, a, m, flags);
  return plain ? receive_nameless(c, a, m, flags) : receive_datagram(c, a, m, flags);
}

long do_sendto(caller& c, int number, u64 bytes, u64 len, int flags, u64 address, u32 address_len) {
  anchor a;
  if (!find_anchor(c, number, a)) return not_ours;
  const piece all = piece_of(bytes, len);
  message m;
  m.bytes = {&all, 0, 1};
  m.name = address;
  m.name_len = address != 0 ? address_len : 0;
  if (m.name_len > sizeof(sockaddr_storage)) return -EINVAL;
  if (m.name == 0 && len > max_datagram && a.udp()) return -EMSGSIZE;
  return send_on(c, a, m, flags);
}

long do_sendmsg(caller& c, int number, u64 at, int flags) {
  anchor a;
  if (!find_anchor(c, number, a)) return not_ours;
  message m;
  const int error = read_message(c, at, true, m);
  return error != 0 ? error : send_on(c, a, m, flags);
}

long do_recvfrom(caller& c, int number, u64 bytes, u64 len, int flags, u64 address, u64 len_at) {
  anchor a;
  if (!find_anchor(c, number, a)) return not_ours;
  const piece all = piece_of(bytes, len);
  message m;
  m.bytes = {&all, 0, 1};
  // A bad length is found when there is an address to give: what was received is gone.
  int bad = 0;
  if (address != 0 && !c.read(len_at, &m.name_len, sizeof m.name_len)) bad = -EFAULT;
  if (static_cast<int>(m.name_len) < 0) bad = -EINVAL;
  m.name = bad == 0 ? address : 0;
  const long got = receive_on(c, a, m, flags);
  if (got < 0 || address == 0) return got;
  if (bad != 0) return bad;
  return c.write(len_at, &m.name_len, sizeof m.name_len) ? got : -EFAULT;
}

long do_recvmsg(caller& c, int number, u64 at, int flags) {
  anchor a;
  if (!find_anchor(c, number, a)) return not_ours;
  message m;
  if (const int error = read_message(c, at, false, m); error != 0) return error;
  const long got = receive_on(c, a, m, flags);
  if (got < 0) return got;
  const int error = give_message(c, m, at);
  return error != 0 ? error : got;
}

}  // namespace ph::calls
