// Slab-backed free lists.
#include "base/pool.h"

#include <algorithm>
#include <functional>
#include <new>

#include "base/poison.h"

namespace ph {
namespace {

/// What a pool keeps when none of its blocks is in use: steady use never goes back to the heap, but
/// a peak does not stay for ever.
constexpr std::size_t kept_bytes = std::size_t{8} << 20;

}  // namespace

block_pool::block_pool(std::size_t block_bytes, std::size_t per_slab)
    : block_bytes_((block_bytes + 63) / 64 * 64), per_slab_(per_slab) {}

block_pool::~block_pool() {
  for ([[maybe_unused]] slab& s : slabs_) PH_UNPOISON(s.memory.get(), block_bytes_ * per_slab_);
}

void block_pool::grow() {
  auto* const memory =
      static_cast<std::byte*>(::operator new(block_bytes_ * per_slab_, std::align_val_t{64}));
  slabs_.push_back({std::unique_ptr<std::byte, slab_delete>(memory)});
  ++stats_.slabs;
  for (std::size_t i = per_slab_; i-- > 0;) {
    auto* block = ::new (memory + i * block_bytes_) free_block{free_};
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
  for ([[maybe_unused]] slab& s : slabs_) PH_UNPOISON(s.memory.get(), block_bytes_ * per_slab_);
  slabs_.clear();
  free_ = nullptr;
}

/// The slabs are in the order of their addresses.
block_pool::slab& block_pool::slab_of(const void* block) {
  const auto behind =
      std::upper_bound(slabs_.begin(), slabs_.end(), block, [](const void* address, const slab& s) {
        return std::less<>()(address, static_cast<const void*>(s.memory.get()));
      });
  return *std::prev(behind);
}

std::size_t block_pool::trim() {
  std::sort(slabs_.begin(), slabs_.end(), [](const slab& a, const slab& b) {
    return std::less<>()(a.memory.get(), b.memory.get());
  });
  for (slab& s : slabs_) s.free = 0;
  for (free_block* block = free_; block != nullptr; block = block->next) ++slab_of(block).free;
  free_block** last = &free_;
  for (free_block* block = free_; block != nullptr; block = block->next) {
    if (slab_of(block).free == per_slab_) continue;
    *last = block;
    last = &block->next;
  }
  *last = nullptr;
  const std::size_t before = slabs_.size();
  std::erase_if(slabs_, [this](slab& s) {
    if (s.free != per_slab_) return false;
    PH_UNPOISON(s.memory.get(), block_bytes_ * per_slab_);
    return true;
  });
  return (before - slabs_.size()) * per_slab_ * block_bytes_;
}

}  // namespace ph
