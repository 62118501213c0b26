// Hooks of sendmmsg and recvmmsg: on anchors one message after the other, as the kernel does it.
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

#include <cerrno>

#include "shim/anchor.h"
#include "shim/config.h"
#include "shim/next.h"
#include "shim/program_memory.h"

namespace {

using namespace ph::shim;

constexpr long second = 1'000'000'000;

timespec now() {
  timespec out{};
  clock_gettime(CLOCK_MONOTONIC, &out);
  return out;
}

/// What is left of `limit` since `begin`; zero when it is over.
timespec left_of(const timespec& limit, const timespec& begin) {
  const timespec t = now();
  timespec out{limit.tv_sec - (t.tv_sec - begin.tv_sec),
               limit.tv_nsec - (t.tv_nsec - begin.tv_nsec)};
  while (out.tv_nsec < 0) {
    out.tv_nsec += second;
    --out.tv_sec;
  }
  while (out.tv_nsec >= second) {
    out.tv_nsec -= second;
    ++out.tv_sec;
  }
  return out.tv_sec < 0 ? timespec{} : out;
}

/// Receives one of several messages; -1 and errno.
ssize_t receive_one(int fd, mmsghdr* message, int flags) {
  const ssize_t got = recvmsg(fd, &message->msg_hdr, flags);
  if (got < 0) return got;
  const auto len = static_cast<unsigned>(got);
  if (!copy_out(fd, &message->msg_len, &len, sizeof len)) return finish(-EFAULT);
  return got;
}

}  // namespace

PH_HOOK(int, sendmmsg, int fd, mmsghdr* messages, unsigned count, int flags) {
  anchor a;
  if (!is_anchor(fd, a)) return next::sendmmsg(fd, messages, count, flags);
  const unsigned n = count < UIO_MAXIOV ? count : UIO_MAXIOV;
  for (unsigned i = 0; i < n; ++i) {
    const ssize_t sent = sendmsg(fd, &messages[i].msg_hdr, flags);
    if (sent < 0) return i > 0 ? static_cast<int>(i) : -1;
    const auto len = static_cast<unsigned>(sent);
    if (!copy_out(fd, &messages[i].msg_len, &len, sizeof len)) {
      return i > 0 ? static_cast<int>(i) : finish(-EFAULT);
    }
  }
  return static_cast<int>(n);
}

/// recvmmsg(2): the time-out is looked at after each message only, and what is left of it is told
/// when there was one.
PH_HOOK(int, recvmmsg, int fd, mmsghdr* messages, unsigned count, int flags, timespec* timeout) {
  anchor a;
  if (!is_anchor(fd, a)) return next::recvmmsg(fd, messages, count, flags, timeout);
  timespec limit{};
  if (timeout != nullptr && !copy_in(limit, timeout)) return finish(-EFAULT);
  if (limit.tv_sec < 0 || limit.tv_nsec < 0 || limit.tv_nsec >= second) return finish(-EINVAL);
  const timespec begin = now();
  int one = flags & ~MSG_WAITFORONE;
  unsigned done = 0;
  while (done < count) {
    if (receive_one(fd, &messages[done], one) < 0) break;
    ++done;
    if ((flags & MSG_WAITFORONE) != 0) one |= MSG_DONTWAIT;
    if (timeout == nullptr) continue;
    const timespec left = left_of(limit, begin);
    if (!copy_out(fd, timeout, &left, sizeof left)) return finish(-EFAULT);
    if (left.tv_sec == 0 && left.tv_nsec == 0) break;
  }
  return done != 0 || count == 0 ? static_cast<int>(done) : -1;
}
