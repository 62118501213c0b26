// Hooks of what closes a descriptor: with SO_LINGER and a time, the last close of a TCP socket
// returns when the peer has acknowledged everything or the time is over, as socket(7) says. The
// kernel closes the anchor; waiting is asked of the daemon, afterwards. The daemon keeps SO_LINGER
// on the anchor as well, where it means nothing to AF_UNIX, so this costs every other close() one
// look at the descriptor.
//
// What closes in another way lingers in the background: exit(2), as on Linux, close_range(),
// fclose(), and exec of what is marked close-on-exec.
#include <sys/socket.h>

#include "calls/anchor.h"
#include "shim/channel.h"
#include "shim/config.h"
#include "shim/connecting.h"
#include "shim/error_flags.h"
#include "shim/hook.h"
#include "shim/next.h"
#include "shim/own_caller.h"
#include "shim/raw.h"
#include "shim/settling.h"

namespace {

using namespace ph;
using namespace ph::shim;

/// A socket whose close() may have to wait.
struct lingering {
  u64 id = 0;
  int seconds = 0;
};

bool lingers(int fd, lingering& out) {
  linger value{};
  socklen_t len = sizeof value;
  if (raw::getsockopt(fd, SOL_SOCKET, SO_LINGER, &value, len) != 0) return false;
  own_caller c(fd);
  anchor a;
  if (value.l_onoff == 0 || value.l_linger <= 0) return false;
  if (!find_anchor(c, fd, a) || !a.stream()) return false;
  look_at_peer(c, a);
  out.id = a.accepted() ? a.peer.id : a.name.id;
  out.seconds = value.l_linger;
  return true;
}

/// Any signal ends it, as on Linux; close() has succeeded by then.
void await_end(const lingering& closed) {
  u64 id = closed.id;
  iovec piece{&id, sizeof id};
  exchange x;
  x.kind = dropin::request_kind::await_end;
  x.flags = dropin::flag_wait;
  x.data = &piece;
  x.data_pieces = 1;
  x.timeout_us = long{closed.seconds} * 1000000;
  ask(x);
}

/// Does call(), which closes `fd` unless it gives -1.
template <class Call>
int closing(int fd, Call call) {
  if (!config().active) return call();
  lingering before;
  const bool waits = lingers(fd, before);
  closing_flag flag(fd);
  const closing_end end(fd);
  const int result = call();
  if (result < 0) return result;
  flag.closed();
  end.closed();
  if (waits) await_end(before);
  return result;
}

}  // namespace

PH_HOOK(int, close, int fd) {
  return closing(fd, [fd] { return next::close(fd); });
}

PH_HOOK(int, dup2, int from, int to) {
  if (from == to) return next::dup2(from, to);
  const int copy = closing(to, [=] { return next::dup2(from, to); });
  note_copied(from, copy);
  return copy;
}

PH_HOOK(int, dup3, int from, int to, int flags) {
  const int copy = closing(to, [=] { return next::dup3(from, to, flags); });
  note_copied(from, copy);
  return copy;
}
