// The new-handler of the process, and pieces of its heap.
#include "daemon/memory_reserve.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <new>

#include "sim/recovery.h"

namespace ph {
namespace {

memory_reserve* serving = nullptr;  // the handler of operator new has no argument

/// A piece may have been other things before: its pages go back to the system.
void give_pages_back(void* piece, std::size_t bytes) {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = reinterpret_cast<std::uintptr_t>(piece);
  const std::uintptr_t first = (begin + page - 1) / page * page;
  const std::uintptr_t last = (begin + bytes) / page * page;
  if (first < last) ::madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

}  // namespace

memory_reserve::memory_reserve(sizes wanted)
    : sizes_(wanted), pieces_(wanted.pieces), not_for_machines_(wanted.for_the_end) {
  if (serving != nullptr) return;
  serves_ = true;
  refill();
  serving = this;
  std::set_new_handler(&memory_reserve::on_no_memory);
}

memory_reserve::~memory_reserve() {
  if (!serves_) return;
  std::set_new_handler(nullptr);
  serving = nullptr;
  for (std::atomic<void*>& piece : pieces_) std::free(piece.load());
}

bool memory_reserve::refill() {
  if (!serves_) return true;
  for (std::atomic<void*>& piece : pieces_) {
    if (piece.load() != nullptr) continue;
    void* const taken = std::malloc(piece_bytes);
    if (taken == nullptr) break;
    give_pages_back(taken, piece_bytes);
    piece = taken;
    ++left_;
  }
  note_level();
  if (!low()) not_for_machines_ = sizes_.for_the_end;
  return !low();
}

void memory_reserve::note_level() {
  low_ = left_ < sizes_.pieces;
  nearly_out_ = left_ < sizes_.pieces / 2;
}

/// False when the caller must do without.
bool memory_reserve::give_up_one() {
  const bool machine = sim::in_a_machine();
  if (left_ <= (machine ? not_for_machines_ : 0)) {
    if (machine) not_for_machines_ /= 2;
    return false;
  }
  for (auto piece = pieces_.rbegin(); piece != pieces_.rend(); ++piece) {
    void* const taken = piece->exchange(nullptr);
    if (taken == nullptr) continue;
    --left_;
    note_level();
    std::free(taken);
    return true;
  }
  return false;
}

/// operator new tries again when this returns.
void memory_reserve::on_no_memory() {
  if (serving->give_up_one()) return;
  sim::leave_machine("out of memory");
  throw std::bad_alloc();
}

}  // namespace ph
