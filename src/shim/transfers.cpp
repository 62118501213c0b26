// Hooks of sendfile(2) and splice(2). The kernel moves the bytes; what it says of an anchor when it
// moves none is mended.
#include <fcntl.h>
#include <sys/sendfile.h>

#include <cerrno>

#include "calls/datagram.h"
#include "calls/io.h"
#include "calls/kernel.h"
#include "shim/config.h"
#include "shim/connecting.h"
#include "shim/hook.h"
#include "shim/next.h"
#include "shim/own_caller.h"
#include "shim/settling.h"

namespace {

using namespace ph;
using namespace ph::shim;

constinit next_function<ssize_t(int, int, off64_t*, size_t)> next_sendfile{"sendfile64"};
constinit next_function<ssize_t(int, off64_t*, int, off64_t*, size_t, unsigned)> next_splice{
    "splice"};

/// Does call(), which moves bytes to `to`, and once more where that may help.
template <class Call>
ssize_t moved_to(int to, Call call) {
  if (const long early = before_plain_send(to, 0); early != 0) return finish(early);
  const int saved = errno;
  for (bool again = false;; again = true) {
    const ssize_t moved = call();
    if (moved > 0) note_sent(to);
    if (moved >= 0 || !config().active || (again && errno == EAGAIN)) return moved;
    own_caller c(to);
    const long meant = mended_transfer(c, to, errno);
    if (meant != 0 || again) return finish(meant != 0 ? meant : -EAGAIN);
    errno = saved;
  }
}

/// splice(2) said EAGAIN to SPLICE_F_NONBLOCK. For TCP that is about the pipe alone: a socket that
/// waits does so. True when there is something now.
bool waited_for(int from, int to, unsigned flags) {
  own_caller c(from);
  anchor a;
  if ((flags & SPLICE_F_NONBLOCK) == 0 || !find_anchor(c, from, a) || !a.stream()) return false;
  if (!kernel::may_block(c, from, 0) || (kernel::poll_now(c, to, POLLOUT) & POLLOUT) == 0) {
    return false;
  }
  const long limit_us = kernel::timeout_of(c, from, SO_RCVTIMEO);
  const timespec limit{limit_us / 1'000'000, limit_us % 1'000'000 * 1000};
  pollfd readable{from, POLLIN | POLLRDHUP, 0};
  const int ready = next::ppoll(&readable, 1, limit_us != 0 ? &limit : nullptr, nullptr);
  if (ready == 0) errno = EAGAIN;
  return ready > 0;
}

ssize_t send_file(int to, int from, off64_t* offset, size_t len) {
  return moved_to(to, [=] { return next_sendfile(to, from, offset, len); });
}

}  // namespace

static_assert(sizeof(off_t) == sizeof(off64_t));

PH_HOOK(ssize_t, sendfile, int to, int from, off_t* offset, size_t len) {
  return send_file(to, from, offset, len);
}

PH_HOOK(ssize_t, sendfile64, int to, int from, off64_t* offset, size_t len) {
  return send_file(to, from, offset, len);
}

PH_HOOK(ssize_t, splice, int from, off64_t* from_at, int to, off64_t* to_at, size_t len,
        unsigned flags) {
  const auto splice_once = [=] { return next_splice(from, from_at, to, to_at, len, flags); };
  bool repeated = false;
  for (int round = 0;; ++round) {
    const ssize_t moved = moved_to(to, splice_once);
    own_caller c(from);
    anchor a;
    if (repeated && find_anchor(c, from, a)) show_report_again(c, a);
    if (moved > 0 || !config().active) return moved;
    if (moved < 0 && errno == EAGAIN) {
      if (round == most_rounds || !waited_for(from, to, flags)) return moved;
      continue;
    }
    // Nothing came, or the error is that of the socket that was to be read.
    const long meant = mended_transfer_from(c, from, moved == 0 ? 0 : -errno, repeated);
    if (!repeated || round == most_rounds) return finish(meant);
  }
}
