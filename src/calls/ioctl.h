// ioctl(2) about the network, by its arguments.
#pragma once

#include "calls/caller.h"

namespace ph::calls {

/// Interface requests are answered by the daemon on any socket, because programs ask them on
/// whatever socket they have. The result, or `not_ours`.
long do_ioctl(caller& c, int number, unsigned long request, u64 argument);

/// True for requests that may be ours: others need no look at the descriptor.
bool ioctl_may_be_ours(unsigned long request);

}  // namespace ph::calls
