// Asking the daemon: one request, one reply, from any thread, signal handler or fork child.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include "calls/exchange.h"

namespace ph::shim {

using namespace ph::calls;

/// False in a vfork child, whose memory is another process's and whose descriptors are not.
bool owns_memory();

/// Moves fd away from the low numbers, which programs count on and sweep through: a descriptor of
/// the shim's own. Returns its new number.
int move_high(int fd);

/// Returns the daemon's result (>= 0, or -errno). -ECONNRESET when there is no daemon. With
/// flag_wait also -EINTR (a handler without SA_RESTART ran, or any with a timeout) and -EAGAIN
/// (timeout); such a call is a cancellation point. Leaves errno alone.
int ask(exchange& x);

/// The same on a channel of its own, which the daemon does not answer on any more after a result
/// >= 0: returns it then, a descriptor like any that open(2) gives.
int ask_for_channel(exchange& x);
/// True for such a descriptor, from whatever process; fills in the address of the program's end.
bool is_asked_channel(int fd, sockaddr_un& own, socklen_t& len);

}  // namespace ph::shim
