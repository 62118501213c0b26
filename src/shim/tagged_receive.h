// Receiving a datagram with what lies beside it (calls/datagram_tag.h), into the own program.
#pragma once

#include "calls/datagram_tag.h"
#include "shim/own_caller.h"

namespace ph::shim {

/// As caller::receive_tagged. Works also when the table of descriptors is full.
long tagged_receive(own_caller& c, int fd, const buffers& room, int flags, int& came,
                    received_tag& tag);

}  // namespace ph::shim
