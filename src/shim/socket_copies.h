// Where this process has a socket: in its table of descriptors and in epoll sets.
#pragma once

namespace ph::shim {

/// Puts the socket `with` in the place of every copy of the socket `old`.
void replace_everywhere(int old, int with);

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
