// Slab-backed free lists. Under AddressSanitizer, free blocks are poisoned so that use after
// free inside a pool is found as it would be on the heap.
#include "base/pool.h"

#include <new>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1  // clang says it another way
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define PH_POISON(p, n) __asan_poison_memory_region((p), (n))
#define PH_UNPOISON(p, n) __asan_unpoison_memory_region((p), (n))
#else
#define PH_POISON(p, n) static_cast<void>(0)
#define PH_UNPOISON(p, n) static_cast<void>(0)
#endif

namespace ph {
namespace {

/// What a pool keeps when none of its blocks is in use: steady use never goes back to the heap, but
/// a peak does not stay for ever.
constexpr std::size_t kept_bytes = std::size_t{8} << 20;

}  // namespace

block_pool::block_pool(std::size_t block_bytes, std::size_t per_slab)
    : block_bytes_((block_bytes + 63) / 64 * 64), per_slab_(per_slab) {}

block_pool::~block_pool() {
  for ([[maybe_unused]] auto& slab : slabs_) PH_UNPOISON(slab.get(), block_bytes_ * per_slab_);
}

void block_pool::grow() {
  slabs_.emplace_back(static_cast<std::byte*>(
      ::operator new(block_bytes_ * per_slab_, std::align_val_t{64})));
  ++stats_.slabs;
  std::byte* slab = slabs_.back().get();
  for (std::size_t i = per_slab_; i-- > 0;) {
    auto* block = ::new (slab + i * block_bytes_) free_block{free_};
    free_ = block;
    PH_POISON(reinterpret_cast<std::byte*>(block) + sizeof(free_block),
              block_bytes_ - sizeof(free_block));
  }
}

void* block_pool::allocate() {
  if (free_ == nullptr) grow();
  free_block* block = free_;
  free_ = block->next;
  PH_UNPOISON(block, block_bytes_);
  ++stats_.live;
  ++stats_.allocated;
  return block;
}

void block_pool::release(void* block) {
  ph_debug_check(stats_.live > 0);
  --stats_.live;
  free_ = ::new (block) free_block{free_};
  PH_POISON(static_cast<std::byte*>(block) + sizeof(free_block),
            block_bytes_ - sizeof(free_block));
  if (stats_.live != 0 || slabs_.size() * per_slab_ * block_bytes_ <= kept_bytes) return;
  for ([[maybe_unused]] auto& slab : slabs_) PH_UNPOISON(slab.get(), block_bytes_ * per_slab_);
  slabs_.clear();
  free_ = nullptr;
}

}  // namespace ph
