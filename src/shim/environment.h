// The environment with which a program of ours must start: its parent may pass another one, or may
// have emptied its own.
#pragma once

#include <alloca.h>

#include <cstddef>

#include "shim/program_memory.h"

namespace ph::shim {

/// True when this process's children are to be kept in the lab.
bool keeps_children();

/// Entries of an environment, at most this many, that this file adds to a program's own.
inline constexpr std::size_t most_kept = 8;
inline constexpr std::size_t longest_kept = 192;

/// Room for the entries that are added, but for LD_PRELOAD.
struct kept_entries {
  char text[most_kept][longest_kept];
};

/// The elements of a list that ends with a null pointer.
std::size_t count_of(char* const* list);

/// The value in an environment, or nullptr.
const char* value_in(char* const* environment, const char* name);

/// Room for "LD_PRELOAD=" and a value that has the shim in it; 0 when the environment's has.
std::size_t preload_room(char* const* environment);
void write_preload(char* const* environment, char* out, std::size_t room);

/// Fills `out` (room for the old entries, most_kept + 1 more and the end) with the environment,
/// with `preload` as LD_PRELOAD unless that is null, and with what is missing.
void keep_entries(char* const* environment, char* preload, kept_entries& room, char** out);

/// Calls run(environment with all that a program of ours needs). Everything lies on the stack: the
/// caller may be a vfork child.
template <class Run>
int with_environment(char* const* environment, Run run) {
  const bool can_look = environment == nullptr || readable(environment, sizeof *environment);
  if (!keeps_children() || !can_look) return run(environment);
  const std::size_t room = preload_room(environment);
  char* preload = nullptr;
  if (room != 0) {
    preload = static_cast<char*>(alloca(room));
    write_preload(environment, preload, room);
  }
  kept_entries kept;
  auto** all = static_cast<char**>(alloca((count_of(environment) + most_kept + 2) * sizeof(char*)));
  keep_entries(environment, preload, kept, all);
  return run(all);
}

/// Puts what is missing into this process's own environment (setenv(3)).
void restore_own_environment();

}  // namespace ph::shim
