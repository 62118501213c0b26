// Putting a new anchor in the place of one that is used up.
#pragma once

#include "shim/channel.h"

namespace ph::shim {

/// As ask(), for requests that may find the anchor x.fd used up: it is then renewed, and if nothing
/// was done on the old one, the request is repeated.
int ask_renewing(exchange& x);

/// Registers `flag` (shim/error_flags.h) in every epoll set of this process that knows the socket
/// `fd`, to be told of errors under the same data.
void follow_into_epoll_sets(int fd, int flag);

/// Takes a flag out of every epoll set of this process. The daemon has it open, too, so closing it
/// does not.
void leave_epoll_sets(int flag);

/// True when this process has a descriptor of the socket with this inode.
bool process_holds(unsigned long inode);

/// The same for many, by one look at all descriptors: sets held[i] for each inodes[i] that it has.
void note_held(const unsigned long* inodes, bool* held, unsigned count);

}  // namespace ph::shim
