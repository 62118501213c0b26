// Object pools: fixed-size blocks recycled last in, first out, with counters that prove that
// the steady state allocates nothing.
#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <vector>

#include "base/byteorder.h"
#include "base/check.h"

namespace ph {

struct pool_stats {
  u64 live = 0;        ///< blocks handed out and not returned
  u64 allocated = 0;   ///< hand-outs so far
  u64 slabs = 0;       ///< times the pool went to the heap
};

/// Blocks of one size, taken from slabs. Memory returns to the heap with the pool, by trim(), and
/// after a peak when no block is handed out any more.
class block_pool {
 public:
  /// block_bytes: size of each block (rounded up to 64); per_slab: blocks fetched at a time.
  block_pool(std::size_t block_bytes, std::size_t per_slab);
  block_pool(const block_pool&) = delete;
  block_pool& operator=(const block_pool&) = delete;
  ~block_pool();
  /// A block of block_bytes(), aligned to 64; its contents are unspecified.
  [[nodiscard]] void* allocate();
  void release(void* block);
  /// Returns slabs of which no block is handed out to the heap; how many bytes. Looks at every free
  /// block and allocates nothing.
  std::size_t trim();
  [[nodiscard]] std::size_t block_bytes() const { return block_bytes_; }
  [[nodiscard]] const pool_stats& stats() const { return stats_; }

 private:
  struct free_block {
    free_block* next;
  };
  struct slab_delete {
    void operator()(std::byte* slab) const { ::operator delete(slab, std::align_val_t{64}); }
  };
  struct slab {
    std::unique_ptr<std::byte, slab_delete> memory;
    std::size_t free = 0;  ///< counted by trim() only
  };
  void grow();
  slab& slab_of(const void* block);
  std::size_t block_bytes_;
  std::size_t per_slab_;
  free_block* free_ = nullptr;
  std::vector<slab> slabs_;
  pool_stats stats_;
};

}  // namespace ph
