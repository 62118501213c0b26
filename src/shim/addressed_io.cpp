// Hooks of send, receive, read and write. A call that the kernel can do on the anchor goes to the
// kernel first and is looked at only when it fails; only addresses, control data and a few flags
// make a call ours from the start. What such a call means is in stream_io.cpp and datagram_io.cpp.
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "shim/anchor.h"
#include "shim/config.h"
#include "shim/datagram_io.h"
#include "shim/lab_files.h"
#include "shim/message.h"
#include "shim/next.h"
#include "shim/program_memory.h"
#include "shim/raw.h"
#include "shim/stream_io.h"

namespace {

using namespace ph;
using namespace ph::shim;

ssize_t finish_io(ssize_t result) {
  if (result >= 0) return result;
  errno = static_cast<int>(-result);
  return -1;
}

/// A receive into `room` gave nothing, or failed in the kernel with errno: puts into `result` what
/// the program must see. False when the call is to be repeated.
bool mend_receive(int fd, const msghdr& room, int flags, ssize_t& result) {
  const int error = result == 0 ? 0 : errno;
  const bool kept = (error == EAGAIN && lowat_expected()) || (error == 0 && shut_reads_expected());
  const bool below = kept && (flags & MSG_OOB) == 0;
  const bool over = error == EAGAIN && hung_up(fd);
  const bool ours_to_mend = error == 0 || error == EINVAL || error == ECONNRESET || below || over;
  anchor a;
  if (!ours_to_mend || !is_anchor(fd, a) || (a.stream() && over && !below)) {
    errno = error;
    return true;
  }
  if (!a.stream()) {
    if (error == 0) {
      if (is_ending(fd)) result = finish_io(-ECONNRESET);
      return true;
    }
    const int seen = datagram_receive_error(fd, error);
    result = finish_io(-seen);
    return seen != 0;
  }
  msghdr bytes{};
  bytes.msg_iov = room.msg_iov;
  bytes.msg_iovlen = room.msg_iovlen;
  ssize_t got = below ? receive_by_daemon(fd, bytes, flags | MSG_DONTWAIT) : 0;
  if (!below || (error == 0 && got <= 0)) got = stream_receive_end(fd, error, flags);
  result = finish_io(got);
  return true;
}

/// How often a receive is repeated after errors of an anchor that were nobody's.
constexpr int most_rounds = 64;

/// Does call(), which receives into `room`, with the result that the program must see.
template <class Call>
ssize_t checked_receive(int fd, const msghdr& room, int flags, Call call) {
  ssize_t got = -1;
  for (int round = 0; round < most_rounds; ++round) {
    got = call();
    if (got > 0 || !config().active || mend_receive(fd, room, flags, got)) return got;
  }
  return got;
}

/// The same, into one piece.
template <class Call>
ssize_t checked_receive(int fd, void* bytes, size_t len, int flags, Call call) {
  iovec piece{bytes, len};
  msghdr room{};
  room.msg_iov = &piece;
  room.msg_iovlen = 1;
  return checked_receive(fd, room, flags, call);
}

/// Does the signal part of a write on a broken connection, where the kernel was told not to. Only
/// streams raise one.
ssize_t broken_pipe(int fd, int flags) {
  int type = 0;
  socklen_t len = sizeof type;
  const bool known = raw::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, len) == 0;
  if (known && type != SOCK_STREAM) return finish_io(-EPIPE);
  anchor a;
  const int error = is_anchor(fd, a) ? stream_broken_error(fd) : EPIPE;
  if (error == EPIPE && (flags & MSG_NOSIGNAL) == 0) {
    raw::call(SYS_tgkill, raw::getpid(), raw::call(SYS_gettid), SIGPIPE);
  }
  return finish_io(-error);
}

/// A stream anchor has no room, and the program does not wait. Small pieces fill an anchor long
/// before they fill a TCP socket, and a peer that is gone shows only when they were sent: once the
/// daemon has taken what is there, the kernel is asked again.
ssize_t send_when_taken(int fd, const msghdr& message, int flags) {
  const ssize_t taken = make_room(fd);
  if (taken == -EPIPE) return broken_pipe(fd, flags);
  // What keeps this process from asking is no error of the connection.
  const bool could_not_ask = taken == -EMFILE || taken == -ENFILE || taken == -ENOMEM ||
                             taken == -ENOBUFS || taken == -EINTR;
  if (taken < 0) return finish_io(could_not_ask ? -EAGAIN : taken);
  const ssize_t sent = next::sendmsg(fd, &message, flags | MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent >= 0 || errno == EAGAIN) return sent;
  if (errno == EPIPE) return broken_pipe(fd, flags);
  return errno == ECONNRESET ? finish_io(stream_send_error(fd, errno)) : sent;
}

/// A plain send failed in the kernel: repeats it in another way, or gives the error that the
/// program must see.
ssize_t repaired_send(int fd, const msghdr& message, int flags, ssize_t sent) {
  if (sent >= 0 || !config().active) return sent;
  const int error = errno;
  anchor a;
  if (error == EAGAIN && !may_block(fd, flags) && is_anchor(fd, a) && a.stream()) {
    return send_when_taken(fd, message, flags);
  }
  const bool ours_to_mend = error == ENOTCONN || error == ECONNRESET || error == EDESTADDRREQ ||
                            error == EINVAL || error == EPERM || error == ECONNREFUSED;
  if (!ours_to_mend || !is_anchor(fd, a)) {
    errno = error;
    return -1;
  }
  if (!a.stream()) return finish_io(repeat_datagram(fd, message, flags, error));
  const ssize_t seen = stream_send_error(fd, error);
  return seen == -EPIPE ? broken_pipe(fd, flags) : finish_io(seen);
}

/// More than a datagram can be, on a datagram anchor, which would take it.
bool too_long(int fd, std::size_t len) {
  anchor a;
  return len > max_datagram && is_anchor(fd, a) && !a.stream();
}

/// The kernel took a plain send: its result, but for datagrams that are too long. The daemon knows
/// that by now, too: what is left of it is the error that is given here.
ssize_t taken(int fd, ssize_t sent) {
  if (sent < 0 || !too_long(fd, static_cast<std::size_t>(sent))) return sent;
  true_error(fd);
  return finish_io(-EMSGSIZE);
}

/// The same for a plain write, which may have gone to a file of the host's.
ssize_t written(int fd, ssize_t sent) {
  const int error = sent >= 0 && lab_files_written() ? lab_file_error(fd) : 0;
  return error == 0 ? sent : finish_io(error);
}

/// The kernel does it, on any socket.
ssize_t send_plainly(int fd, const msghdr& message, int flags) {
  const ssize_t sent = next::sendmsg(fd, &message, flags | MSG_NOSIGNAL);
  if (sent >= 0) return taken(fd, sent);
  if (errno == EPIPE) return broken_pipe(fd, flags);
  return repaired_send(fd, message, flags, sent);
}

ssize_t send_on_stream(int fd, const msghdr& message, int flags) {
  stream_control control;
  const long told = pack_stream_control(message, control);
  if (told < 0) return finish_io(told);
  if (told == 0 && (flags & stream_special_flags) == 0) {
    if (const int error = unused_name_error(message); error != 0) return finish_io(-error);
    return send_plainly(fd, plain_stream_message(message), flags);
  }
  const ssize_t sent = send_stream(fd, message, flags);
  return sent == -EPIPE ? broken_pipe(fd, flags) : finish_io(sent);
}

ssize_t send_message(int fd, const msghdr& message, int flags) {
  if (!config().active) return next::sendmsg(fd, &message, flags);
  const bool special = message.msg_name != nullptr || message.msg_controllen != 0 ||
                       datagram_send_is_daemons(flags) || (flags & stream_special_flags) != 0;
  anchor a;
  if (special && is_anchor(fd, a)) {
    if (a.stream()) return send_on_stream(fd, message, flags);
    return finish_io(send_datagram(fd, message, flags));
  }
  return send_plainly(fd, message, flags);
}

ssize_t send_bytes(int fd, const void* bytes, size_t len, int flags) {
  if (!config().active) return next::send(fd, bytes, len, flags);
  iovec piece{const_cast<void*>(bytes), len};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  if (datagram_send_is_daemons(flags) || (flags & stream_special_flags) != 0) {
    return send_message(fd, message, flags);
  }
  if (too_long(fd, len)) return finish_io(-EMSGSIZE);
  const ssize_t sent = next::send(fd, bytes, len, flags | MSG_NOSIGNAL);
  if (sent < 0 && errno == EPIPE) return broken_pipe(fd, flags);
  return repaired_send(fd, message, flags, sent);
}

/// The error queue is the daemon's; urgent data the anchor carries, where the kernel can do that.
bool wants_daemon(int flags, const anchor& a) {
  return (flags & MSG_ERRQUEUE) != 0 || ((flags & MSG_OOB) != 0 && !a.stream());
}

/// TCP gives no address; AF_UNIX would give that of the daemon's end.
ssize_t receive_stream(int fd, msghdr& message, int flags) {
  msghdr nameless = message;
  nameless.msg_name = nullptr;
  nameless.msg_namelen = 0;
  const bool discards = (flags & MSG_TRUNC) != 0;
  const ssize_t got = checked_receive(fd, message, flags, [&] {
    return discards ? discard_stream(fd, nameless, flags) : next::recvmsg(fd, &nameless, flags);
  });
  if (got < 0) return got;
  if ((flags & (MSG_OOB | MSG_PEEK)) == MSG_OOB) forget_urgent(fd);
  message.msg_flags = nameless.msg_flags;
  if (message.msg_name != nullptr) message.msg_namelen = 0;
  if (message.msg_control != nullptr && stream_control_expected()) {
    add_stream_control(fd, message, got, flags);
    return got;
  }
  message.msg_controllen = 0;
  return got;
}

/// Without address and control data, of whatever socket. What lies beside a datagram is ours: the
/// program did not ask for it, so nothing of it was cut off.
ssize_t receive_nameless(int fd, msghdr& message, int flags) {
  const ssize_t got =
      checked_receive(fd, message, flags, [&] { return next::recvmsg(fd, &message, flags); });
  anchor a;
  const bool cut = got >= 0 && (message.msg_flags & MSG_CTRUNC) != 0;
  if (cut && is_anchor(fd, a) && !a.stream()) message.msg_flags &= ~MSG_CTRUNC;
  return got;
}

ssize_t receive_message(int fd, msghdr& message, int flags) {
  anchor a;
  const bool plain = message.msg_name == nullptr && message.msg_control == nullptr;
  if (plain && (flags & (MSG_ERRQUEUE | MSG_OOB | MSG_TRUNC)) == 0) {
    return receive_nameless(fd, message, flags);
  }
  if (!is_anchor(fd, a)) return next::recvmsg(fd, &message, flags);
  if (wants_daemon(flags, a)) return finish_io(receive_by_daemon(fd, message, flags));
  if (a.stream()) return receive_stream(fd, message, flags);
  if (!plain) return finish_io(receive_datagram(fd, message, flags));
  return receive_nameless(fd, message, flags);
}

ssize_t receive_bytes(int fd, void* bytes, size_t len, int flags, sockaddr* address,
                      socklen_t* address_len) {
  iovec piece{bytes, len};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  // A bad length is found when there is an address to give: what was received is gone.
  const bool known = address == nullptr || copy_in(message.msg_namelen, address_len);
  const int bad = !known ? EFAULT : static_cast<int>(message.msg_namelen) < 0 ? EINVAL : 0;
  message.msg_name = bad == 0 ? address : nullptr;
  if (bad != 0) message.msg_namelen = 0;
  const ssize_t got = receive_message(fd, message, flags);
  if (got < 0 || address == nullptr) return got;
  if (bad != 0) return finish_io(-bad);
  return copy_out(fd, address_len, &message.msg_namelen, sizeof(socklen_t)) ? got
                                                                            : finish_io(-EFAULT);
}

/// What recvmsg(2) changes in the program's own message. False: EFAULT.
bool give_lengths(int fd, const msghdr& from, msghdr* to) {
  return copy_out(fd, &to->msg_namelen, &from.msg_namelen, sizeof from.msg_namelen) &&
         copy_out(fd, &to->msg_controllen, &from.msg_controllen, sizeof from.msg_controllen) &&
         copy_out(fd, &to->msg_flags, &from.msg_flags, sizeof from.msg_flags);
}

ssize_t receive_plain(int fd, void* bytes, size_t len, int flags) {
  if (!config().active) return next::recv(fd, bytes, len, flags);
  if ((flags & (MSG_ERRQUEUE | MSG_OOB | MSG_TRUNC)) != 0) {
    return receive_bytes(fd, bytes, len, flags, nullptr, nullptr);
  }
  return checked_receive(fd, bytes, len, flags, [&] { return next::recv(fd, bytes, len, flags); });
}

ssize_t receive_from(int fd, void* bytes, size_t len, int flags, sockaddr* address,
                     socklen_t* address_len) {
  if (address == nullptr) return receive_plain(fd, bytes, len, flags);
  anchor a;
  if (!is_anchor(fd, a)) return next::recvfrom(fd, bytes, len, flags, address, address_len);
  return receive_bytes(fd, bytes, len, flags, address, address_len);
}

}  // namespace

PH_HOOK(ssize_t, send, int fd, const void* bytes, size_t len, int flags) {
  return send_bytes(fd, bytes, len, flags);
}

PH_HOOK(ssize_t, sendto, int fd, const void* bytes, size_t len, int flags, const sockaddr* address,
        socklen_t address_len) {
  if (!config().active) return next::sendto(fd, bytes, len, flags, address, address_len);
  if (address == nullptr) return send_bytes(fd, bytes, len, flags);
  iovec piece{const_cast<void*>(bytes), len};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_name = const_cast<sockaddr*>(address);
  message.msg_namelen = address_len;
  return send_message(fd, message, flags);
}

PH_HOOK(ssize_t, sendmsg, int fd, const msghdr* message, int flags) {
  msghdr own;
  if (!config().active || !copy_in(own, message)) return next::sendmsg(fd, message, flags);
  if (const int error = check_lengths(own, true); error != 0) return finish_io(error);
  return send_message(fd, own, flags);
}

PH_HOOK(ssize_t, recv, int fd, void* bytes, size_t len, int flags) {
  return receive_plain(fd, bytes, len, flags);
}

PH_HOOK(ssize_t, __recv_chk, int fd, void* bytes, size_t len, size_t room, int flags) {
  if (len > room) __builtin_trap();
  return receive_plain(fd, bytes, len, flags);
}

PH_HOOK(ssize_t, recvfrom, int fd, void* bytes, size_t len, int flags, sockaddr* address,
        socklen_t* address_len) {
  return receive_from(fd, bytes, len, flags, address, address_len);
}

PH_HOOK(ssize_t, __recvfrom_chk, int fd, void* bytes, size_t len, size_t room, int flags,
        sockaddr* address, socklen_t* address_len) {
  if (len > room) __builtin_trap();
  return receive_from(fd, bytes, len, flags, address, address_len);
}

PH_HOOK(ssize_t, recvmsg, int fd, msghdr* message, int flags) {
  msghdr own;
  anchor a;
  if (!config().active || !copy_in(own, message) || !is_anchor(fd, a)) {
    return next::recvmsg(fd, message, flags);
  }
  if (const int error = check_lengths(own, false); error != 0) return finish_io(error);
  const ssize_t got = receive_message(fd, own, flags);
  if (got >= 0 && !give_lengths(fd, own, message)) return finish_io(-EFAULT);
  return got;
}

PH_HOOK(ssize_t, read, int fd, void* bytes, size_t len) {
  return checked_receive(fd, bytes, len, 0, [&] { return next::read(fd, bytes, len); });
}

PH_HOOK(ssize_t, __read_chk, int fd, void* bytes, size_t len, size_t room) {
  if (len > room) __builtin_trap();
  return checked_receive(fd, bytes, len, 0, [&] { return next::read(fd, bytes, len); });
}

PH_HOOK(ssize_t, readv, int fd, const iovec* pieces, int count) {
  msghdr room{};
  room.msg_iov = const_cast<iovec*>(pieces);
  room.msg_iovlen = count > 0 ? static_cast<size_t>(count) : 0;
  return checked_receive(fd, room, 0, [&] { return next::readv(fd, pieces, count); });
}

PH_HOOK(ssize_t, write, int fd, const void* bytes, size_t len) {
  if (too_long(fd, len)) return finish_io(-EMSGSIZE);
  const ssize_t sent = next::write(fd, bytes, len);
  if (sent >= 0) return written(fd, sent);
  iovec piece{const_cast<void*>(bytes), len};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  return repaired_send(fd, message, 0, sent);
}

PH_HOOK(ssize_t, writev, int fd, const iovec* pieces, int count) {
  const ssize_t sent = next::writev(fd, pieces, count);
  if (sent >= 0) return written(fd, taken(fd, sent));
  if (count <= 0) return sent;
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(pieces);
  message.msg_iovlen = static_cast<size_t>(count);
  return repaired_send(fd, message, 0, sent);
}
