// Hooks of sendfile(2) and splice(2). The kernel moves the bytes; what it says of an anchor when it
// moves none is mended.
#include <fcntl.h>
#include <sys/sendfile.h>

#include <cerrno>

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
  const ssize_t moved = call();
  if (moved > 0) note_sent(to);
  if (moved >= 0 || !config().active) return moved;
  own_caller c(to);
  const long meant = mended_transfer(c, to, errno);
  if (meant != 0) return finish(meant);
  errno = saved;
  return call();
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
  const ssize_t moved =
      moved_to(to, [=] { return next_splice(from, from_at, to, to_at, len, flags); });
  if (moved > 0 || !config().active || (moved < 0 && errno == EAGAIN)) return moved;
  // Nothing came, or the error is that of the socket that was to be read.
  own_caller c(from);
  int came = 0;
  return finish(mended_receive(c, from, {}, 0, came, moved == 0 ? 0 : -errno));
}
