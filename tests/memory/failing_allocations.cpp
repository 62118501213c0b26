// operator new and delete of the test's process, over malloc.
#include "tests/memory/failing_allocations.h"

#include <malloc.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "daemon/memory_reserve.h"
#include "sim/recovery.h"

namespace ph::failing {
namespace {

thread_local bool afflicted = false;
std::atomic<how> way{how::never};
std::atomic<std::size_t> first{0}, count{0}, failures{0};
std::atomic<std::size_t> free_bytes{0};  ///< of the full heap

bool succeeds(std::size_t bytes) {
  if (!afflicted || way == how::never) return true;
  const std::size_t number = ++count;
  if (number < first) return true;
  if (way == how::all) {
    if (free_bytes < bytes) {
      ++failures;
      return false;
    }
    free_bytes -= bytes;
    return true;
  }
  if (failures != 0) return true;
  ++failures;
  if (way == how::at_once && !sim::in_a_machine()) throw std::bad_alloc();
  return false;
}

void* allocate(std::size_t bytes, std::size_t alignment) {
  const std::size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  for (;;) {
    if (succeeds(rounded)) {
      void* const out = alignment <= alignof(std::max_align_t)
                            ? std::malloc(bytes)
                            : std::aligned_alloc(alignment, rounded);
      if (out != nullptr) return out;
    }
    const std::new_handler handler = std::get_new_handler();
    if (handler == nullptr) throw std::bad_alloc();
    handler();
    free_bytes += memory_reserve::piece_bytes;
  }
}

void release(void* memory) {
  if (afflicted && way == how::all && memory != nullptr) free_bytes += ::malloc_usable_size(memory);
  std::free(memory);
}

}  // namespace

void afflict_this_thread() { afflicted = true; }

void begin(how chosen, std::size_t number) {
  first = number;
  count = failures = free_bytes = 0;
  way = chosen;
}

std::size_t end() {
  way = how::never;
  return count;
}

bool has_failed() { return failures != 0; }

}  // namespace ph::failing

void* operator new(std::size_t bytes) {
  return ph::failing::allocate(bytes, alignof(std::max_align_t));
}
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return ph::failing::allocate(bytes, static_cast<std::size_t>(alignment));
}
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  try {
    return ph::failing::allocate(bytes, alignof(std::max_align_t));
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void operator delete(void* memory) noexcept { ph::failing::release(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { ph::failing::release(memory); }
void operator delete(void* memory, std::size_t) noexcept { ph::failing::release(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { ph::failing::release(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  ph::failing::release(memory);
}
