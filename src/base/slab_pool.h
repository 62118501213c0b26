// Small objects that live longer than what is made and freed around them, in memory of their own:
// on the heap each of them would hold a page that is else free. What packets take, at every rate,
// is in base/pool.h.
#pragma once

#include <cstddef>
#include <new>

#include "base/intrusive.h"

namespace ph {

/// Blocks of one size. A slab of them goes back to the heap with its last block, except for one
/// that waits for the next block.
class slab_pool {
 public:
  /// block_bytes: at most 1 KiB; blocks are aligned as operator new aligns.
  explicit slab_pool(std::size_t block_bytes);
  slab_pool(const slab_pool&) = delete;
  slab_pool& operator=(const slab_pool&) = delete;
  /// All blocks must be back.
  ~slab_pool();
  [[nodiscard]] void* allocate();
  void release(void* block);
  [[nodiscard]] std::size_t block_bytes() const;
  [[nodiscard]] std::size_t live() const { return live_; }
  [[nodiscard]] std::size_t slabs() const { return slabs_; }

 private:
  struct slab;
  struct header;
  slab& with_room();
  void destroy(slab& s);
  std::size_t stride_;  ///< of a block and the header before it
  intrusive_list<slab> room_;
  std::size_t live_ = 0, slabs_ = 0;
};

/// For containers whose nodes live as long as the objects of a slab_pool, whose blocks have
/// `block_bytes` at least.
template <class T, std::size_t block_bytes>
struct slab_allocator {
  using value_type = T;
  template <class U>
  struct rebind {
    using other = slab_allocator<U, block_bytes>;
  };
  explicit slab_allocator(slab_pool& from) : pool(&from) {
    ph_check(pool->block_bytes() >= block_bytes);
  }
  template <class U>
  slab_allocator(const slab_allocator<U, block_bytes>& other) : pool(other.pool) {}
  T* allocate(std::size_t n) {
    static_assert(sizeof(T) <= block_bytes);
    ph_check(n == 1);
    return static_cast<T*>(pool->allocate());
  }
  void deallocate(T* node, std::size_t) { pool->release(node); }
  friend bool operator==(const slab_allocator&, const slab_allocator&) = default;
  slab_pool* pool;
};

}  // namespace ph
