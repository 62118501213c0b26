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
#include "shim/message.h"
#include "shim/next.h"
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

/// A receive on an anchor failed in the kernel with `error`: what the program must see.
int receive_error(int fd, int error) {
  anchor a;
  if (error != EINVAL && error != ECONNRESET) return error;
  if (!is_anchor(fd, a)) return error;
  return a.stream() ? stream_receive_error(fd, error) : datagram_receive_error(fd, error);
}

ssize_t checked_receive(int fd, ssize_t got) {
  if (got >= 0 || !config().active) return got;
  errno = receive_error(fd, errno);
  return -1;
}

/// A plain send failed in the kernel: repeats it in another way, or gives the error that the
/// program must see.
ssize_t repaired_send(int fd, const msghdr& message, int flags, ssize_t sent) {
  if (sent >= 0 || !config().active) return sent;
  const int error = errno;
  anchor a;
  if ((error != ENOTCONN && error != ECONNRESET && error != EDESTADDRREQ && error != EINVAL) ||
      !is_anchor(fd, a)) {
    errno = error;
    return -1;
  }
  return finish_io(a.stream() ? stream_send_error(fd, error)
                              : repeat_datagram(fd, message, flags, error));
}

/// Does the signal part of a write on a broken connection, where the kernel was told not to.
ssize_t broken_pipe(int fd, int flags) {
  anchor a;
  const int error = is_anchor(fd, a) && a.stream() ? stream_broken_error(fd) : EPIPE;
  if (error == EPIPE && (flags & MSG_NOSIGNAL) == 0) {
    raw::call(SYS_tgkill, raw::getpid(), raw::call(SYS_gettid), SIGPIPE);
  }
  return finish_io(-error);
}

bool has_inet_control(const msghdr& message) {
  if (message.msg_control == nullptr || message.msg_controllen < sizeof(cmsghdr)) return false;
  auto* m = const_cast<msghdr*>(&message);
  for (cmsghdr* c = CMSG_FIRSTHDR(m); c != nullptr; c = CMSG_NXTHDR(m, c)) {
    if (c->cmsg_level != SOL_SOCKET) return true;
  }
  return false;
}

bool foreign_address(const void* name, socklen_t len) {
  if (name == nullptr || len < sizeof(sa_family_t)) return false;
  sa_family_t family;
  std::memcpy(&family, name, sizeof family);
  return family != AF_UNIX;
}

ssize_t send_message(int fd, const msghdr& message, int flags) {
  if (!config().active) return next::sendmsg(fd, &message, flags);
  const bool addressed = foreign_address(message.msg_name, message.msg_namelen);
  anchor a;
  if ((addressed || has_inet_control(message) || (flags & (MSG_OOB | MSG_FASTOPEN)) != 0) &&
      is_anchor(fd, a)) {
    if (!a.stream()) return finish_io(send_datagram(fd, message, flags));
    if (stream_send_is_daemons(flags)) return finish_io(send_by_daemon(fd, message, flags));
    const msghdr plain = plain_stream_message(message);
    return send_message(fd, plain, flags);
  }
  const ssize_t sent = next::sendmsg(fd, &message, flags | MSG_NOSIGNAL);
  if (sent < 0 && errno == EPIPE) return broken_pipe(fd, flags);
  return repaired_send(fd, message, flags, sent);
}

ssize_t send_bytes(int fd, const void* bytes, size_t len, int flags) {
  if (!config().active) return next::send(fd, bytes, len, flags);
  iovec piece{const_cast<void*>(bytes), len};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  if ((flags & (MSG_OOB | MSG_FASTOPEN)) != 0) return send_message(fd, message, flags);
  anchor a;
  if (len > max_datagram && is_anchor(fd, a) && !a.stream()) return finish_io(-EMSGSIZE);
  const ssize_t sent = next::send(fd, bytes, len, flags | MSG_NOSIGNAL);
  if (sent < 0 && errno == EPIPE) return broken_pipe(fd, flags);
  return repaired_send(fd, message, flags, sent);
}

bool wants_daemon(int flags) { return (flags & (MSG_ERRQUEUE | MSG_OOB)) != 0; }

ssize_t receive_message(int fd, msghdr& message, int flags) {
  anchor a;
  if (wants_daemon(flags) && is_anchor(fd, a)) {
    return finish_io(receive_by_daemon(fd, message, flags));
  }
  if (message.msg_name == nullptr && message.msg_control == nullptr) {
    return checked_receive(fd, next::recvmsg(fd, &message, flags));
  }
  address_catcher catcher(message);
  const ssize_t got = checked_receive(fd, next::recvmsg(fd, &message, flags));
  if (got < 0) {
    catcher.give_back();
    return got;
  }
  return catcher.deliver() ? got : finish_io(-ECONNRESET);
}

ssize_t receive_bytes(int fd, void* bytes, size_t len, int flags, sockaddr* address,
                      socklen_t* address_len) {
  iovec piece{bytes, len};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_name = address;
  message.msg_namelen = address != nullptr && address_len != nullptr ? *address_len : 0;
  const ssize_t got = receive_message(fd, message, flags);
  if (got >= 0 && address != nullptr && address_len != nullptr) *address_len = message.msg_namelen;
  return got;
}

ssize_t receive_plain(int fd, void* bytes, size_t len, int flags) {
  if (!config().active) return next::recv(fd, bytes, len, flags);
  anchor a;
  if (wants_daemon(flags)) return receive_bytes(fd, bytes, len, flags, nullptr, nullptr);
  if ((flags & MSG_TRUNC) != 0 && is_anchor(fd, a) && a.stream()) {
    return checked_receive(fd, discard_stream(fd, len, flags));
  }
  return checked_receive(fd, next::recv(fd, bytes, len, flags));
}

ssize_t receive_from(int fd, void* bytes, size_t len, int flags, sockaddr* address,
                     socklen_t* address_len) {
  if (address == nullptr || address_len == nullptr) return receive_plain(fd, bytes, len, flags);
  if (!config().active) return next::recvfrom(fd, bytes, len, flags, address, address_len);
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
  if (message == nullptr) return finish_io(-EFAULT);
  return send_message(fd, *message, flags);
}

PH_HOOK(int, sendmmsg, int fd, mmsghdr* messages, unsigned count, int flags) {
  if (!config().active) return next::sendmmsg(fd, messages, count, flags);
  const unsigned n = count < UIO_MAXIOV ? count : UIO_MAXIOV;
  for (unsigned i = 0; i < n; ++i) {
    const ssize_t sent = send_message(fd, messages[i].msg_hdr, flags);
    if (sent < 0) return i > 0 ? static_cast<int>(i) : -1;
    messages[i].msg_len = static_cast<unsigned>(sent);
  }
  return static_cast<int>(n);
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
  if (message == nullptr) return finish_io(-EFAULT);
  if (!config().active) return next::recvmsg(fd, message, flags);
  return receive_message(fd, *message, flags);
}

PH_HOOK(int, recvmmsg, int fd, mmsghdr* messages, unsigned count, int flags, timespec* timeout) {
  anchor a;
  if (!config().active || !is_anchor(fd, a)) {
    return next::recvmmsg(fd, messages, count, flags, timeout);
  }
  // The time-out is looked at after each message, as recvmmsg(2) has it.
  timespec begin{};
  clock_gettime(CLOCK_MONOTONIC, &begin);
  int one = flags & ~MSG_WAITFORONE;
  for (unsigned i = 0; i < count; ++i) {
    const ssize_t got = receive_message(fd, messages[i].msg_hdr, one);
    if (got < 0) return i > 0 ? static_cast<int>(i) : -1;
    messages[i].msg_len = static_cast<unsigned>(got);
    if ((flags & MSG_WAITFORONE) != 0) one |= MSG_DONTWAIT;
    if (timeout == nullptr) continue;
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    const long long spent =
        (now.tv_sec - begin.tv_sec) * 1000000000LL + (now.tv_nsec - begin.tv_nsec);
    if (spent >= timeout->tv_sec * 1000000000LL + timeout->tv_nsec) return static_cast<int>(i + 1);
  }
  return static_cast<int>(count);
}

PH_HOOK(ssize_t, read, int fd, void* bytes, size_t len) {
  return checked_receive(fd, next::read(fd, bytes, len));
}

PH_HOOK(ssize_t, __read_chk, int fd, void* bytes, size_t len, size_t room) {
  if (len > room) __builtin_trap();
  return checked_receive(fd, next::read(fd, bytes, len));
}

PH_HOOK(ssize_t, readv, int fd, const iovec* pieces, int count) {
  return checked_receive(fd, next::readv(fd, pieces, count));
}

PH_HOOK(ssize_t, write, int fd, const void* bytes, size_t len) {
  const ssize_t sent = next::write(fd, bytes, len);
  if (sent >= 0) return sent;
  iovec piece{const_cast<void*>(bytes), len};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  return repaired_send(fd, message, 0, sent);
}

PH_HOOK(ssize_t, writev, int fd, const iovec* pieces, int count) {
  const ssize_t sent = next::writev(fd, pieces, count);
  if (sent >= 0 || count <= 0) return sent;
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(pieces);
  message.msg_iovlen = static_cast<size_t>(count);
  return repaired_send(fd, message, 0, sent);
}
