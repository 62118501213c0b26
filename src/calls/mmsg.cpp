// sendmmsg and recvmmsg: one message after the other, as the kernel does it.
#include <sys/socket.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstddef>

#include "calls/deadline.h"
#include "calls/io.h"

namespace ph::calls {
namespace {

/// Tells how many bytes one of several messages had. False: EFAULT.
bool give_length(caller& c, u64 message, long bytes) {
  const auto len = static_cast<unsigned>(bytes);
  return c.write(message + offsetof(mmsghdr, msg_len), &len, sizeof len);
}

}  // namespace

long do_sendmmsg(caller& c, int number, u64 at, unsigned count, int flags) {
  anchor a;
  if (!find_anchor(c, number, a)) return not_ours;
  const unsigned n = count < UIO_MAXIOV ? count : UIO_MAXIOV;
  for (unsigned i = 0; i < n; ++i) {
    const u64 one = at + i * sizeof(mmsghdr);
    long sent = do_sendmsg(c, number, one, flags);
    if (sent >= 0 && !give_length(c, one, sent)) sent = -EFAULT;
    if (sent < 0) return i > 0 ? static_cast<long>(i) : sent;
  }
  return static_cast<long>(n);
}

/// recvmmsg(2): the time-out is looked at after each message only, and what is left of it is told
/// when there was one.
long do_recvmmsg(caller& c, int number, u64 at, unsigned count, int flags, u64 timeout) {
  anchor a;
  if (!find_anchor(c, number, a)) return not_ours;
  timespec limit{};
  if (timeout != 0 && !c.read(timeout, &limit, sizeof limit)) return -EFAULT;
  if (limit.tv_sec < 0 || limit.tv_nsec < 0 || limit.tv_nsec >= one_second) return -EINVAL;
  const timespec begin = clock_now();
  int one_flags = flags & ~MSG_WAITFORONE;
  long done = 0;
  while (done < static_cast<long>(count)) {
    const u64 one = at + static_cast<u64>(done) * sizeof(mmsghdr);
    long got = do_recvmsg(c, number, one, one_flags);
    if (got >= 0 && !give_length(c, one, got)) got = -EFAULT;
    if (got < 0) return done != 0 ? done : got;
    ++done;
    if ((flags & MSG_WAITFORONE) != 0) one_flags |= MSG_DONTWAIT;
    if (timeout == 0) continue;
    const timespec left = left_of(limit, begin);
    if (!c.write(timeout, &left, sizeof left)) return -EFAULT;
    if (left.tv_sec == 0 && left.tv_nsec == 0) break;
  }
  return done;
}

}  // namespace ph::calls
