// Where packets live: pools of data blocks in a few sizes, reference-counted, and of fixed-size
// packet descriptors. One per worker thread, shared by all kernels that run on it, so that
// a packet can cross from host to host without a copy. It must outlive those kernels.
#pragma once

#include <array>
#include <utility>

#include "base/bytes.h"
#include "base/pool.h"

namespace ph {

class packet_memory;

/// Head of a data block; the bytes follow.
struct data_block {
  packet_memory* home;
  u32 refs;
  u32 capacity;
  u32 size_class;
  u32 pad;
  [[nodiscard]] u8* bytes() { return reinterpret_cast<u8*>(this + 1); }
  [[nodiscard]] const u8* bytes() const { return reinterpret_cast<const u8*>(this + 1); }
};

/// A counted reference to a data block.
class block_ref {
 public:
  block_ref() = default;
  explicit block_ref(data_block* adopted) : block_(adopted) {}
  block_ref(const block_ref& o) : block_(o.block_) {
    if (block_ != nullptr) ++block_->refs;
  }
  block_ref(block_ref&& o) noexcept : block_(std::exchange(o.block_, nullptr)) {}
  block_ref& operator=(block_ref o) noexcept {
    std::swap(block_, o.block_);
    return *this;
  }
  ~block_ref() { reset(); }
  void reset();
  [[nodiscard]] data_block* get() const { return block_; }
  data_block* operator->() const { return block_; }
  explicit operator bool() const { return block_ != nullptr; }
  [[nodiscard]] bool unique() const { return block_ != nullptr && block_->refs == 1; }

 private:
  data_block* block_ = nullptr;
};

class packet_memory {
 public:
  packet_memory();
  packet_memory(const packet_memory&) = delete;
  packet_memory& operator=(const packet_memory&) = delete;
  /// Checks that nothing is left alive.
  ~packet_memory();
  /// A block with at least `bytes` of room (any size; large ones come from the heap).
  [[nodiscard]] block_ref allocate_block(std::size_t bytes);
  /// Raw storage for one packet descriptor of `descriptor_bytes`.
  static constexpr std::size_t descriptor_bytes = 640;
  [[nodiscard]] void* allocate_descriptor() { return descriptors_.allocate(); }
  void release_descriptor(void* p) { descriptors_.release(p); }
  /// Live descriptors: zero when every packet met its end.
  [[nodiscard]] u64 live_packets() const { return descriptors_.stats().live; }
  [[nodiscard]] u64 live_blocks() const { return live_blocks_; }
  /// Packets freed without consume() or drop(): a bug of the stack each.
  [[nodiscard]] u64 unreasoned() const { return unreasoned_; }
  void count_unreasoned() { ++unreasoned_; }
  /// Returns what no packet uses to the heap; how many bytes.
  std::size_t trim();
  /// Heap trips so far: constant in the steady state.
  [[nodiscard]] u64 heap_trips() const;

 private:
  friend class block_ref;
  void release_block(data_block* block);
  static constexpr std::array<u32, 4> class_bytes = {512, 2048 + 256, 16 * 1024, 68 * 1024};
  block_pool descriptors_;
  std::array<block_pool, 4> classes_;
  u64 live_blocks_ = 0;
  u64 big_blocks_ = 0;
  u64 unreasoned_ = 0;
};

inline void block_ref::reset() {
  data_block* block = std::exchange(block_, nullptr);
  if (block != nullptr && --block->refs == 0) block->home->release_block(block);
}

}  // namespace ph
