// Putting a new anchor in the place of one that is used up.
#pragma once

#include "shim/channel.h"

namespace ph::shim {

/// As ask(), for requests that may find the anchor x.fd used up: it is then renewed, and if nothing
/// was done on the old one, the request is repeated.
int ask_renewing(exchange& x);

}  // namespace ph::shim
