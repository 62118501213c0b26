// A program whose daemon has ended. Each of its calls on a socket fails at once, as what it waits
// for is always there; programs that then just try again would take a whole processor.
#pragma once

namespace ph::shim {

/// The daemon has answered.
void daemon_answered();
/// There is no daemon, or none that takes this program. The first times nothing happens; then it is
/// said once, and each call waits for a moment.
void daemon_missing();

}  // namespace ph::shim
