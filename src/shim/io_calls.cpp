// Hooks of send, receive, read and write. A plain call goes to the kernel at once, and is looked at
// only when it fails or gives nothing; only addresses, control data and a few flags make a call
// ours from the start. What such a call means is in calls/io.h.
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "calls/datagram.h"
#include "calls/io.h"
#include "shim/config.h"
#include "shim/connecting.h"
#include "shim/lab_files.h"
#include "shim/next.h"
#include "shim/own_caller.h"
#include "shim/program_memory.h"
#include "shim/settling.h"

namespace {

using namespace ph;
using namespace ph::shim;

/// A plain receive gave `got`, or failed with errno: what the program must see.
ssize_t received(int fd, const buffers& room, int flags, ssize_t got) {
  if (!config().active) return got;
  if (got > 0) return with_rest(fd, room, flags, got);
  own_caller c(fd);
  int came = 0;
  long result = got == 0 ? 0 : -errno;
  if (result == -EAGAIN && settled_for(fd, flags)) result = c.receive(fd, room, flags, came);
  return finish(result > 0 ? result : mended_receive(c, fd, room, flags, came, result));
}

ssize_t received(int fd, void* bytes, size_t len, int flags, ssize_t got) {
  const piece all = piece_of(address_of(bytes), len);
  return received(fd, {&all, 0, 1}, flags, got);
}

/// A plain send, without a signal, failed with errno.
ssize_t repaired(int fd, const buffers& bytes, int flags) {
  own_caller c(fd);
  return finish(mended_send(c, fd, bytes, flags, errno));
}

/// The same of a write.
ssize_t repaired_write(int fd, const buffers& bytes) {
  if (!config().active) return -1;
  own_caller c(fd);
  return finish(mended_write(c, fd, bytes, errno));
}

/// The same was taken, perhaps in part.
ssize_t continued(int fd, const buffers& bytes, int flags, ssize_t sent) {
  if (!config().active || sent <= 0) return sent;
  own_caller c(fd);
  return completed(c, fd, bytes, flags, sent);
}

/// A plain write went well, perhaps to a file of the host's.
ssize_t written(int fd, ssize_t sent) {
  note_sent(fd);
  const int error = lab_files_written() ? lab_file_error(fd) : 0;
  return error == 0 ? sent : finish<ssize_t>(error);
}

ssize_t send_plainly(int fd, const void* bytes, size_t len, int flags) {
  if (const long early = before_plain_send(fd, flags); early != 0) return finish(early);
  const ssize_t sent = next::send(fd, bytes, len, flags | MSG_NOSIGNAL);
  const piece all = piece_of(address_of(bytes), len);
  if (sent < 0) return repaired(fd, {&all, 0, 1}, flags);
  note_sent(fd);
  return continued(fd, {&all, 0, 1}, flags, sent);
}

ssize_t send_to(int fd, const void* bytes, size_t len, int flags, const sockaddr* address,
                socklen_t address_len) {
  const bool plain = address == nullptr && !send_is_special(flags);
  if (plain && config().active && len <= max_datagram) return send_plainly(fd, bytes, len, flags);
  own_caller c(fd);
  return finish_or(
      do_sendto(c, fd, address_of(bytes), len, flags, address_of(address), address_len),
      [=] { return next::sendto(fd, bytes, len, flags, address, address_len); });
}

ssize_t receive_from(int fd, void* bytes, size_t len, int flags, sockaddr* address,
                     socklen_t* address_len) {
  if (address == nullptr && !receive_is_special(flags)) {
    return received(fd, bytes, len, flags, next::recv(fd, bytes, len, flags));
  }
  own_caller c(fd);
  return finish_or(do_recvfrom(c, fd, address_of(bytes), len, flags, address_of(address),
                               address_of(address_len)),
                   [=] { return next::recvfrom(fd, bytes, len, flags, address, address_len); });
}

ssize_t read_plainly(int fd, void* bytes, size_t len) {
  return received(fd, bytes, len, 0, next::read(fd, bytes, len));
}

buffers array_of(const iovec* pieces, int count) {
  return {nullptr, address_of(pieces), count > 0 ? static_cast<size_t>(count) : 0};
}

/// call(), which writes the pieces.
template <class Call>
ssize_t write_pieces(int fd, const iovec* pieces, int count, Call call) {
  if (const long early = before_plain_send(fd, 0); early != 0) return finish(early);
  const ssize_t sent = call();
  if (sent < 0) return count > 0 ? repaired_write(fd, array_of(pieces, count)) : sent;
  own_caller c(fd);
  const long meant = taken(c, fd, sent);
  if (meant < 0) return finish<ssize_t>(meant);
  return continued(fd, array_of(pieces, count), 0, written(fd, meant));
}

/// preadv2(2): at -1 it reads on like readv(2), the only place that a socket has.
ssize_t read_at(int fd, const iovec* pieces, int count, off_t at, int flags) {
  const ssize_t got = next::preadv2(fd, pieces, count, at, flags);
  if (at != -1) return got;
  return received(fd, array_of(pieces, count), (flags & RWF_NOWAIT) != 0 ? MSG_DONTWAIT : 0, got);
}

/// pwritev2(2), likewise.
ssize_t write_at(int fd, const iovec* pieces, int count, off_t at, int flags) {
  const auto write = [=] { return next::pwritev2(fd, pieces, count, at, flags); };
  return at != -1 ? write() : write_pieces(fd, pieces, count, write);
}

}  // namespace

PH_HOOK(ssize_t, send, int fd, const void* bytes, size_t len, int flags) {
  return send_to(fd, bytes, len, flags, nullptr, 0);
}

PH_HOOK(ssize_t, sendto, int fd, const void* bytes, size_t len, int flags, const sockaddr* address,
        socklen_t address_len) {
  return send_to(fd, bytes, len, flags, address, address_len);
}

PH_HOOK(ssize_t, sendmsg, int fd, const msghdr* message, int flags) {
  msghdr own;
  if (!config().active || !copy_in(own, message)) return next::sendmsg(fd, message, flags);
  const bool plain = own.msg_name == nullptr && own.msg_controllen == 0 && !send_is_special(flags);
  own_caller c(fd);
  if (!plain) {
    return finish_or(do_sendmsg(c, fd, address_of(message), flags),
                     [=] { return next::sendmsg(fd, message, flags); });
  }
  if (const long early = before_plain_send(fd, flags); early != 0) return finish(early);
  const ssize_t sent = next::sendmsg(fd, &own, flags | MSG_NOSIGNAL);
  const buffers bytes{nullptr, address_of(own.msg_iov), own.msg_iovlen};
  if (sent < 0) return repaired(fd, bytes, flags);
  note_sent(fd);
  const long meant = taken(c, fd, sent);
  return meant >= 0 ? continued(fd, bytes, flags, meant) : finish(meant);
}

PH_HOOK(int, sendmmsg, int fd, mmsghdr* messages, unsigned count, int flags) {
  own_caller c(fd);
  return finish_or(do_sendmmsg(c, fd, address_of(messages), count, flags),
                   [=] { return next::sendmmsg(fd, messages, count, flags); });
}

PH_HOOK(ssize_t, recv, int fd, void* bytes, size_t len, int flags) {
  return receive_from(fd, bytes, len, flags, nullptr, nullptr);
}

PH_HOOK(ssize_t, __recv_chk, int fd, void* bytes, size_t len, size_t room, int flags) {
  if (len > room) __builtin_trap();
  return receive_from(fd, bytes, len, flags, nullptr, nullptr);
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
  if (!config().active || !copy_in(own, message)) return next::recvmsg(fd, message, flags);
  own_caller c(fd);
  if (own.msg_name != nullptr || own.msg_control != nullptr || receive_is_special(flags)) {
    return finish_or(do_recvmsg(c, fd, address_of(message), flags),
                     [=] { return next::recvmsg(fd, message, flags); });
  }
  ssize_t got = next::recvmsg(fd, message, flags);
  if (got < 0 && errno == EAGAIN && settled_for(fd, flags)) {
    got = next::recvmsg(fd, message, flags);
  }
  const buffers room{nullptr, address_of(own.msg_iov), own.msg_iovlen};
  int came = 0;
  const bool whole = got > 0 && copy_in(came, &message->msg_flags) && (came & MSG_CTRUNC) == 0;
  if (whole) return with_rest(fd, room, flags, got);
  return finish(mended_recvmsg(c, fd, address_of(message), room, flags, got < 0 ? -errno : got));
}

PH_HOOK(int, recvmmsg, int fd, mmsghdr* messages, unsigned count, int flags, timespec* timeout) {
  own_caller c(fd);
  return finish_or(do_recvmmsg(c, fd, address_of(messages), count, flags, address_of(timeout)),
                   [=] { return next::recvmmsg(fd, messages, count, flags, timeout); });
}

PH_HOOK(ssize_t, read, int fd, void* bytes, size_t len) { return read_plainly(fd, bytes, len); }

PH_HOOK(ssize_t, __read_chk, int fd, void* bytes, size_t len, size_t room) {
  if (len > room) __builtin_trap();
  return read_plainly(fd, bytes, len);
}

PH_HOOK(ssize_t, readv, int fd, const iovec* pieces, int count) {
  return received(fd, array_of(pieces, count), 0, next::readv(fd, pieces, count));
}

PH_HOOK(ssize_t, preadv2, int fd, const iovec* pieces, int count, off_t at, int flags) {
  return read_at(fd, pieces, count, at, flags);
}

PH_HOOK(ssize_t, preadv64v2, int fd, const iovec* pieces, int count, off64_t at, int flags) {
  return read_at(fd, pieces, count, at, flags);
}

PH_HOOK(ssize_t, write, int fd, const void* bytes, size_t len) {
  own_caller c(fd);
  if (too_long(c, fd, len)) return finish<ssize_t>(-EMSGSIZE);
  if (const long early = before_plain_send(fd, 0); early != 0) return finish(early);
  const ssize_t sent = next::write(fd, bytes, len);
  const piece all = piece_of(address_of(bytes), len);
  if (sent >= 0) return continued(fd, {&all, 0, 1}, 0, written(fd, sent));
  return repaired_write(fd, {&all, 0, 1});
}

PH_HOOK(ssize_t, writev, int fd, const iovec* pieces, int count) {
  return write_pieces(fd, pieces, count, [=] { return next::writev(fd, pieces, count); });
}

PH_HOOK(ssize_t, pwritev2, int fd, const iovec* pieces, int count, off_t at, int flags) {
  return write_at(fd, pieces, count, at, flags);
}

PH_HOOK(ssize_t, pwritev64v2, int fd, const iovec* pieces, int count, off64_t at, int flags) {
  return write_at(fd, pieces, count, at, flags);
}
