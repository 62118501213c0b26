// The environment with which a program of ours must start: its parent may pass another one, or may
// have emptied its own.
#pragma once

#include <alloca.h>

#include <cstddef>

#include "calls/scratch.h"
#include "shim/channel.h"
#include "shim/program_memory.h"

namespace ph::shim {

/// True when this process's children are to be kept in the lab.
bool keeps_children();

/// Entries of an environment, at most this many, that this file adds to a program's own.
inline constexpr std::size_t most_kept = 4;
inline constexpr std::size_t longest_kept = 192;

/// Entries that are a program's own with ours before it, at most this many.
inline constexpr std::size_t most_joined = 2;

/// Room for the entries that are added, but for the joined ones.
struct kept_entries {
  char text[most_kept][longest_kept];
};

/// The elements of a list that ends with a null pointer.
std::size_t count_of(char* const* list);

/// The value in an environment, or nullptr.
const char* value_in(char* const* environment, const char* name);

/// Room for the joined entries that must be written (LD_PRELOAD, so that it has the shim in it); 0
/// when the environment's are as they must be.
std::size_t joined_room(char* const* environment);

/// True when another entry than those is missing.
bool misses_entries(char* const* environment);

/// Fills `out` (room for the old entries, most_kept + most_joined more and the end) with the
/// environment, with what is missing, written to `room`, and with the joined entries, written to
/// `joined`. `room` is not looked at when misses_entries() says that nothing is.
void keep_entries(char* const* environment, char* joined, kept_entries* room, char** out);

/// On its own, so that the bytes lie on the stack only when this is called.
template <class Run>
[[gnu::noinline]] int with_stack(std::size_t size, Run run) {
  return run(alloca(size));
}

/// Calls run(room), with `size` bytes that last until it returns: of the stack when they are few,
/// as it may be small. A vfork child has its parent's memory, where what it takes would stay when
/// it becomes another program: its room is of the stack always.
template <class Run>
int with_room(std::size_t size, Run run) {
  constexpr std::size_t few = 1024;
  calls::scratch memory;
  void* const room = size > few && owns_memory() ? memory.take(size) : nullptr;
  return room != nullptr ? run(room) : with_stack(size, run);
}

/// Calls run(environment with all that a program of ours needs).
template <class Run>
int with_environment(char* const* environment, Run run) {
  const bool can_look = environment == nullptr || readable(environment, sizeof *environment);
  if (!keeps_children() || !can_look) return run(environment);
  const std::size_t joined_size = joined_room(environment);
  const std::size_t kept_size = misses_entries(environment) ? sizeof(kept_entries) : 0;
  if (joined_size + kept_size == 0) return run(environment);
  const std::size_t most_added = most_kept + most_joined;
  const std::size_t list_size = (count_of(environment) + most_added + 1) * sizeof(char*);
  return with_room(list_size + kept_size + joined_size, [&](void* room) {
    auto** const all = static_cast<char**>(room);
    char* const texts = static_cast<char*>(room) + list_size;
    auto* const kept = reinterpret_cast<kept_entries*>(texts);
    keep_entries(environment, texts + kept_size, kept, all);
    return run(all);
  });
}

/// Puts what is missing into this process's own environment (setenv(3)).
void restore_own_environment();

}  // namespace ph::shim
