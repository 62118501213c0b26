// Copies of the shim that root's `ph run` makes where its own file is not everybody's to read
// (cli/preload.cpp): each lies alone in a folder with a name that nobody can foresee.
#pragma once

namespace ph {

inline constexpr const char* shim_copy_parents[] = {"/tmp", "/var/tmp", "/dev/shm"};
inline constexpr char shim_copy_prefix[] = "posthaste-shim-";
inline constexpr char shim_name[] = "libph_preload.so";

/// Says that the copy in this folder is about to be used.
void touch_shim_copy(const char* folder);
/// Removes those of this user that nobody began to use for a day, and that no process has loaded.
void sweep_shim_copies();

}  // namespace ph
