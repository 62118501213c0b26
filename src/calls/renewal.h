// Putting a new anchor in the place of one that is used up: an AF_UNIX stream connects once; a TCP
// socket may connect, fail and connect again.
#pragma once

#include "calls/exchange.h"

namespace ph::calls {

/// As caller::ask(), for requests that may find the anchor x.fd used up: it is then renewed, and if
/// nothing was done on the old one, the request is repeated.
int ask_renewing(caller& c, exchange& x);

}  // namespace ph::calls
