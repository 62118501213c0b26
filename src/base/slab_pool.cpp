// Slabs that count their blocks: a block knows its slab by the header before it.
#include "base/slab_pool.h"

#include <array>

#include "base/poison.h"

namespace ph {
namespace {

constexpr std::size_t slab_bytes = 16384 - 128;  // with what malloc and the slab itself add

}  // namespace

/// Before each block, as large as keeps the block aligned.
struct alignas(std::max_align_t) slab_pool::header {
  slab* home = nullptr;
  header* next = nullptr;  ///< while the block is free
};

struct slab_pool::slab : list_hook<> {
  header* free = nullptr;
  std::size_t used = 0;
  alignas(std::max_align_t) std::array<std::byte, slab_bytes> memory;
};

slab_pool::slab_pool(std::size_t block_bytes)
    : stride_(sizeof(header) +
              (block_bytes + alignof(header) - 1) / alignof(header) * alignof(header)) {
  ph_check(block_bytes <= 1024);
}

slab_pool::~slab_pool() {
  ph_debug_check(live_ == 0);
  while (!room_.empty()) destroy(room_.front());
}

std::size_t slab_pool::block_bytes() const { return stride_ - sizeof(header); }

void slab_pool::destroy(slab& s) {
  PH_UNPOISON(s.memory.data(), s.memory.size());
  s.unlink();
  --slabs_;
  std::unique_ptr<slab>(&s).reset();
}

slab_pool::slab& slab_pool::with_room() {
  if (!room_.empty()) return room_.front();
  auto made = std::make_unique_for_overwrite<slab>();
  ++slabs_;
  for (std::size_t at = 0; at + stride_ <= slab_bytes; at += stride_) {
    made->free = ::new (made->memory.data() + at) header{made.get(), made->free};
    PH_POISON(made->memory.data() + at + sizeof(header), stride_ - sizeof(header));
  }
  room_.push_back(*made);
  return *made.release();
}

void* slab_pool::allocate() {
  slab& from = with_room();
  header* const taken = from.free;
  from.free = taken->next;
  ++from.used;
  ++live_;
  if (from.free == nullptr) from.unlink();
  PH_UNPOISON(taken + 1, block_bytes());
  return taken + 1;
}

void slab_pool::release(void* block) {
  header* const back = static_cast<header*>(block) - 1;
  slab& home = *back->home;
  PH_POISON(block, block_bytes());
  back->next = home.free;
  home.free = back;
  --home.used;
  --live_;
  if (!home.is_linked()) room_.push_back(home);
  const bool only_one = &room_.front() == &room_.back();
  if (home.used == 0 && !only_one) destroy(home);
}

}  // namespace ph
