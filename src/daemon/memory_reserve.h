// Memory that is kept for the moment when there is none.
//
// operator new asks here before it fails, and gets the reserve piece by piece. So nothing of what
// is under way fails; but as long as a piece is missing, and for one look more, memory is low(),
// and whoever can refuses new work: socket() says ENOBUFS, what programs send waits. When half of
// it is gone memory is nearly_out(): wires and TAP devices drop frames. What a machine of the world
// asks for beyond that ends this machine (sim/recovery.h), and the last pieces pay for what must be
// done about it. Only outside of all machines, and when the last piece is gone, is it a
// std::bad_alloc.
//
// The pieces are of the allocator, not of the system: what was freed anywhere in the heap makes a
// piece again. They are touched nowhere but at their heads.
#pragma once

#include <atomic>
#include <cstddef>
#include <vector>

namespace ph {

class memory_reserve {
 public:
  /// Of all pieces, the last `for_the_end` are not given to machines.
  struct sizes {
    std::size_t pieces = 128;
    std::size_t for_the_end = 16;
  };
  static constexpr std::size_t piece_bytes = std::size_t{120} << 10;

  /// Takes the reserve. One object at a time serves a process; others are never low.
  memory_reserve() : memory_reserve(sizes{}) {}
  explicit memory_reserve(sizes wanted);
  memory_reserve(const memory_reserve&) = delete;
  memory_reserve& operator=(const memory_reserve&) = delete;
  ~memory_reserve();

  /// Memory ran out, and the reserve is not complete since, or has been for a moment only.
  [[nodiscard]] bool low() const {
    return serves_ && (was_low_.load(std::memory_order_relaxed) ||
                       left_.load(std::memory_order_relaxed) < sizes_.pieces);
  }
  /// Less than half of it is left. The reference holds as long as the reserve.
  [[nodiscard]] const std::atomic<bool>& nearly_out() const { return nearly_out_; }
  /// Takes again what was given up, as far as it goes. True when memory is no longer low: the
  /// reserve is complete, and was when this was called.
  bool refill();

 private:
  static void on_no_memory();
  bool give_up_one();
  void note_level();

  sizes sizes_;
  // Atomic because threads that close descriptors allocate, too.
  std::vector<std::atomic<void*>> pieces_;
  std::atomic<std::size_t> left_{0};
  std::size_t not_for_machines_;  ///< halves with each that ended, so that not all end at once
  std::atomic<bool> nearly_out_{false};
  std::atomic<bool> was_low_{false};  ///< since it was found complete twice
  bool serves_ = false;
};

}  // namespace ph
