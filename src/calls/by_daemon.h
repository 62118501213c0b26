// Messages that go through the daemon whole, because the anchor cannot carry what is with them.
#pragma once

#include "calls/anchor.h"
#include "calls/message.h"

namespace ph::calls {

/// Sends an addressed or otherwise special message. Returns the bytes sent, or -errno. Waits for
/// room unless MSG_DONTWAIT or O_NONBLOCK says not to.
long send_by_daemon(caller& c, const anchor& a, const message& m, int flags);

/// Receives what only the stack has (MSG_ERRQUEUE, MSG_OOB, bytes below SO_RCVLOWAT): fills the
/// message; bytes or -errno.
long receive_by_daemon(caller& c, const anchor& a, message& m, int flags);

}  // namespace ph::calls
