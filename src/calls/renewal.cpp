// The new anchor gets what the kernel keeps on the old one; where the program has the old one, only
// the caller knows.
#include "calls/renewal.h"

#include <cerrno>

#include "calls/kernel.h"

namespace ph::calls {
namespace {

/// What the kernel keeps of an anchor, for all its copies.
void copy_state(caller& c, int from, int to) {
  const int status = kernel::fcntl(c, from, F_GETFL);
  const int owner = kernel::fcntl(c, from, F_GETOWN);
  if (owner != 0) kernel::fcntl(c, to, F_SETOWN, owner);
  const int signal = kernel::fcntl(c, from, F_GETSIG);
  if (signal > 0) kernel::fcntl(c, to, F_SETSIG, signal);
  if (status >= 0) kernel::fcntl(c, to, F_SETFL, status);
  // The daemon knows the other options; this one is the anchor's alone while it is linked.
  int in_line = 0;
  socklen_t in_line_len = sizeof in_line;
  kernel::getsockopt(c, from, SOL_SOCKET, SO_OOBINLINE, &in_line, in_line_len);
  if (in_line != 0) {
    kernel::setsockopt(c, to, SOL_SOCKET, SO_OOBINLINE, &in_line, sizeof in_line);
  }
  for (const int option : {SO_RCVTIMEO, SO_SNDTIMEO}) {
    timeval limit{};
    socklen_t len = sizeof limit;
    if (kernel::getsockopt(c, from, SOL_SOCKET, option, &limit, len) == 0) {
      kernel::setsockopt(c, to, SOL_SOCKET, option, &limit, sizeof limit);
    }
  }
}

/// False when the socket needs none, or has none.
bool renew(caller& c, int held) {
  exchange x;
  x.kind = dropin::request_kind::renew;
  x.fd = held;
  const int result = c.ask(x);
  if (x.reply_fd < 0) return result == -EALREADY;
  copy_state(c, held, x.reply_fd);
  c.replace(held, x.reply_fd);
  kernel::close(c, x.reply_fd);
  return true;
}

}  // namespace

int ask_renewing(caller& c, exchange& x) {
  const int result = c.ask(x);
  if ((x.reply_flags & dropin::reply_renew) == 0) return result;
  const bool done = result != -EAGAIN;
  if (!renew(c, x.fd) || done) return result;
  return c.ask(x);
}

}  // namespace ph::calls
