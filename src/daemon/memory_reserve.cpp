// The new-handler of the process, and pieces of its heap.
#include "daemon/memory_reserve.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <new>
#include <utility>

#include "sim/recovery.h"

namespace ph {
namespace {

/// The handler of operator new has no argument; threads that close descriptors may outlive the
/// reserve, and run into it while that ends.
std::atomic<memory_reserve*> serving{nullptr};

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
  if (serving.load() != nullptr) return;
  serves_ = true;
  refill();
  serving = this;
  std::set_new_handler(&memory_reserve::on_no_memory);
}

memory_reserve::~memory_reserve() {
  if (!serves_) return;
  std::set_new_handler(nullptr);
  serving.store(nullptr);
  for (std::atomic<void*>& piece : pieces_) std::free(piece.load());
}

bool memory_reserve::refill() {
  if (!serves_) return true;
  if (left_ == sizes_.pieces) was_low_ = false;
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

/// Two threads may be here: what stays is what the last one of them has seen.
void memory_reserve::note_level() {
  std::size_t seen = left_;
  do {
    nearly_out_ = seen < sizes_.pieces / 2;
  } while (std::exchange(seen, left_.load()) != seen);
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
    was_low_ = true;
    --left_;
    note_level();
    std::free(taken);
    return true;
  }
  return false;
}

/// operator new tries again when this returns.
void memory_reserve::on_no_memory() {
  memory_reserve* const reserve = serving;
  if (reserve != nullptr && reserve->give_up_one()) return;
  sim::leave_machine("out of memory");
  throw std::bad_alloc();
}

}  // namespace ph
