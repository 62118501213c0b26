// A program whose daemon has ended. Each of its calls on a socket fails at once, as what it waits
// for is always there; programs that then just try again would take a whole processor. What ends a
// socket is no such call: a program may close many in an orderly way.
#pragma once

#include "calls/exchange.h"

namespace ph::shim {

/// The daemon has answered.
void daemon_answered();
/// There is no daemon, or none that takes this program, to ask `x`. The first times nothing
/// happens; then it is said once, and each call that may be tried again waits for a moment.
void daemon_missing(const calls::exchange& x);

}  // namespace ph::shim
