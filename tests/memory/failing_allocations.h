// An allocator that runs dry when a test wants it to, for the thread that the test names.
#pragma once

#include <cstddef>

namespace ph::failing {

/// How allocations fail from the chosen one on.
enum class how {
  never,
  once,     ///< one of them, at its first try
  all,      ///< the heap is full: what is freed, or given up by the new-handler, can be had again
  at_once,  ///< one of them, outside of machines with bad_alloc, whatever the new-handler has
};

/// This thread's allocations are counted, and may fail.
void afflict_this_thread();
/// From the `first` allocation from now on (1: the next).
void begin(how way, std::size_t first);
/// They succeed again. How many there were.
std::size_t end();
/// One has failed since begin().
bool has_failed();

}  // namespace ph::failing
