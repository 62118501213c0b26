// How much memory the process may have. Of a control group nothing else tells in time: at its limit
// no allocation fails, its largest process is killed.
#pragma once

#include <optional>
#include <string>

#include "base/byteorder.h"

namespace ph {

/// The least limit of the process's group and those above it, in bytes (cgroup v2: memory.max; v1:
/// memory.limit_in_bytes); nothing when there is none. `root`: what stands before /proc and /sys.
[[nodiscard]] std::optional<u64> group_memory_limit(const std::string& root = {});

/// The least of the machine's memory, the group's limit, RLIMIT_AS and RLIMIT_DATA, in bytes;
/// nothing when none of them is known.
[[nodiscard]] std::optional<u64> process_memory(const std::string& root = {});

/// Lets allocations fail before the group's limit is reached: of it, a quarter is left for what the
/// kernel counts besides (sockets' buffers). Does nothing when more than that is in use, or when a
/// lower limit stands.
void respect_group_memory_limit();

}  // namespace ph
