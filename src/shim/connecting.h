// Streams whose connect() did not wait, by their numbers in this process. The kernel would take
// bytes on their anchors, which poll as not writable but have room; so before a plain send on one
// of them the daemon is asked. What is kept here is a hint: copies in other processes and numbers
// beyond the table are not known, and a number that is used again costs one question.
#pragma once

#include <atomic>

namespace ph::shim {

extern std::atomic<bool> some_connecting;

bool may_be_connecting(int fd);
void note_connecting(int fd, bool connecting);
/// `copy` has become another number of what `fd` is.
void note_copied(int fd, int copy);

/// The question; see calls/stream.h, connected_by_now.
long ask_whether_connected(int fd, int flags);

/// Before a plain send with these flags on any descriptor: 0, or what it fails with.
inline long before_plain_send(int fd, int flags) {
  return some_connecting.load(std::memory_order_relaxed) ? ask_whether_connected(fd, flags) : 0;
}

}  // namespace ph::shim
