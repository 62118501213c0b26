// Replaces the global allocation functions by ones that count; malloc_usable_size(3) tells how
// much a block really takes.
#include "tests/kernel/heap_meter.h"

#include <malloc.h>

#include <atomic>
#include <cstdlib>
#include <new>

namespace {

std::atomic<std::size_t> live_bytes{0};
std::atomic<std::size_t> allocation_count{0};

void* counted_block(void* block) {
  if (block == nullptr) std::abort();
  live_bytes += malloc_usable_size(block);
  ++allocation_count;
  return block;
}

void uncounted_free(void* block) noexcept {
  if (block == nullptr) return;
  live_bytes -= malloc_usable_size(block);
  std::free(block);
}

}  // namespace

void* operator new(std::size_t size) { return counted_block(std::malloc(size)); }
void* operator new(std::size_t size, std::align_val_t align) {
  const std::size_t a = static_cast<std::size_t>(align);
  return counted_block(std::aligned_alloc(a, (size + a - 1) / a * a));
}
void operator delete(void* block) noexcept { uncounted_free(block); }
void operator delete(void* block, std::size_t) noexcept { uncounted_free(block); }
void operator delete(void* block, std::align_val_t) noexcept { uncounted_free(block); }
void operator delete(void* block, std::size_t, std::align_val_t) noexcept {
  uncounted_free(block);
}

namespace ph {

heap_meter::heap_meter()
    : bytes_at_start_(live_bytes.load()), allocations_at_start_(allocation_count.load()) {}

std::size_t heap_meter::bytes() const { return live_bytes.load() - bytes_at_start_; }

std::size_t heap_meter::allocations() const {
  return allocation_count.load() - allocations_at_start_;
}

}  // namespace ph
