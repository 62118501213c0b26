// How much memory a control group lets the process have. Nothing else tells in time: at the limit
// of a group no allocation fails, its largest process is killed.
#pragma once

#include <optional>
#include <string>

#include "base/byteorder.h"

namespace ph {

/// The least limit of the process's group and those above it, in bytes (cgroup v2: memory.max; v1:
/// memory.limit_in_bytes); nothing when there is none. `root`: what stands before /proc and /sys.
[[nodiscard]] std::optional<u64> group_memory_limit(const std::string& root = {});

/// Lets allocations fail before the group's limit is reached: of it, a quarter is left for what the
/// kernel counts besides (sockets' buffers). Does nothing when more than that is in use, or when a
/// lower limit stands.
void respect_group_memory_limit();

}  // namespace ph
