// Hooks of sendfile(2) and splice(2). The kernel moves the bytes; what it says of an anchor when it
// moves none is mended.
#include <fcntl.h>
#include <sys/sendfile.h>

#include <cerrno>

#include "calls/datagram.h"
#include "calls/io.h"
#include "shim/config.h"
#include "shim/connecting.h"
#include "shim/hook.h"
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
    if (moved > 0 || !config().active || (moved < 0 && errno == EAGAIN)) return moved;
    // Nothing came, or the error is that of the socket that was to be read.
    const long meant = mended_transfer_from(c, from, moved == 0 ? 0 : -errno, repeated);
    if (!repeated || round == most_rounds) return finish(meant);
  }
}
