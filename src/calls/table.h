// Which system calls have a meaning of ours, by their numbers.
#pragma once

#include <cstddef>

#include "calls/caller.h"

namespace ph::calls {

/// The registers of a call.
using arguments = s64[6];

/// What does it: the result, or `not_ours`.
using meaning = long (*)(caller& c, const arguments& a);

/// The meaning of a system call, or null: the kernel's alone. read, write and their like are not
/// here, as the kernel does them on anchors; what it answers is mended where it can be
/// (calls/io.h).
meaning meaning_of(long call);

}  // namespace ph::calls
