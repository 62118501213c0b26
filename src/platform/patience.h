// Asks what may never be answered, without waiting for ever. What /proc/PID/environ shows lies in
// that process's memory, which may be a mapped file of a dead FUSE or NFS server: whoever reads it
// waits for the page.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <vector>

namespace ph {

/// What `ask` says of each number below `count`. They are asked in turn by another thread, which
/// may be left behind: `ask` must own what it needs. One that is not answered within a moment has
/// no answer; after some such, neither has what comes behind.
std::vector<std::optional<bool>> ask_patiently(std::size_t count,
                                               const std::function<bool(std::size_t)>& ask);

}  // namespace ph
