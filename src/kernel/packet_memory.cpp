// Size classes of data blocks over slab pools.
#include "kernel/packet_memory.h"

#include <new>

namespace ph {
namespace {

constexpr u32 heap_class = ~u32{0};

}  // namespace

packet_memory::packet_memory()
    : descriptors_(descriptor_bytes, 64),
      classes_{block_pool(class_bytes[0] + sizeof(data_block), 32),
               block_pool(class_bytes[1] + sizeof(data_block), 32),
               block_pool(class_bytes[2] + sizeof(data_block), 4),
               block_pool(class_bytes[3] + sizeof(data_block), 2)} {}

packet_memory::~packet_memory() {
  ph_check(live_packets() == 0);
  ph_check(live_blocks_ == 0);
}

block_ref packet_memory::allocate_block(std::size_t bytes) {
  ++live_blocks_;
  for (u32 c = 0; c < class_bytes.size(); ++c) {
    if (bytes > class_bytes[c]) continue;
    return block_ref(::new (classes_[c].allocate()) data_block{this, 1, class_bytes[c], c, 0});
  }
  ++big_blocks_;
  ph_check(bytes < (u64{1} << 31));
  void* raw = ::operator new(sizeof(data_block) + bytes);
  return block_ref(::new (raw) data_block{this, 1, static_cast<u32>(bytes), heap_class, 0});
}

void packet_memory::release_block(data_block* block) {
  --live_blocks_;
  if (block->size_class == heap_class) {
    ::operator delete(block);
  } else {
    classes_[block->size_class].release(block);
  }
}

std::size_t packet_memory::trim() {
  std::size_t out = descriptors_.trim();
  for (block_pool& pool : classes_) out += pool.trim();
  return out;
}

u64 packet_memory::heap_trips() const {
  u64 out = descriptors_.stats().slabs + big_blocks_;
  for (const auto& pool : classes_) out += pool.stats().slabs;
  return out;
}

}  // namespace ph
