// A program that has put itself under a system-call filter of its own (sshd's child before a user
// is known) may make only the calls that it makes itself. What the shim adds to plain calls that go
// well, it leaves out from then on; calls that fail and those that are wholly ours it still makes,
// as they were not promised to the filter either.
#pragma once

#include <atomic>

namespace ph::shim {

extern std::atomic<bool> own_sandbox;

inline bool in_own_sandbox() { return own_sandbox.load(std::memory_order_relaxed); }

/// A system call of the program has gone well: perhaps it was the one that installs a filter.
void note_sandbox(long call, long first_argument);

}  // namespace ph::shim
