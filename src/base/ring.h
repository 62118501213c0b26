// A bounded queue between exactly one producing and one consuming thread. Never blocks, never
// allocates after construction.
#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <memory>
#include <optional>
#include <utility>

#include "base/byteorder.h"
#include "base/check.h"

namespace ph {

/// T is default-constructible and movable. push() belongs to one thread, pop() to another one;
/// size() and empty() may be asked by either and are exact only when the other side rests.
template <class T>
class spsc_ring {
 public:
  /// Room for at least `capacity` elements (rounded up to a power of two).
  explicit spsc_ring(std::size_t capacity)
      : mask_(std::bit_ceil(capacity) - 1), slots_(std::make_unique<T[]>(mask_ + 1)) {
    ph_check(capacity > 0);
  }
  spsc_ring(const spsc_ring&) = delete;
  spsc_ring& operator=(const spsc_ring&) = delete;

  /// Producer: appends `value`; when the ring is full, returns false and leaves `value` alone.
  [[nodiscard]] bool push(T&& value) {
    const u64 at = written_.load(std::memory_order_relaxed);
    if (at - read_seen_ > mask_) {
      read_seen_ = read_.load(std::memory_order_acquire);  // its slot is free to write again
      if (at - read_seen_ > mask_) return false;
    }
    slots_[at & mask_] = std::move(value);
    written_.store(at + 1, std::memory_order_release);  // the consumer may see the slot now
    return true;
  }
  [[nodiscard]] bool push(const T& value) { return push(T(value)); }

  /// Consumer: takes the oldest element; nullopt when there is none.
  [[nodiscard]] std::optional<T> pop() {
    const u64 at = read_.load(std::memory_order_relaxed);
    if (at == written_seen_) {
      written_seen_ = written_.load(std::memory_order_acquire);
      if (at == written_seen_) return std::nullopt;
    }
    std::optional<T> out(std::move(slots_[at & mask_]));
    slots_[at & mask_] = T();  // keeps nothing alive that was taken
    read_.store(at + 1, std::memory_order_release);
    return out;
  }

  [[nodiscard]] std::size_t capacity() const { return mask_ + 1; }
  [[nodiscard]] std::size_t size() const {
    const u64 read = read_.load(std::memory_order_acquire);
    return static_cast<std::size_t>(written_.load(std::memory_order_acquire) - read);
  }
  [[nodiscard]] bool empty() const { return size() == 0; }

 private:
  static constexpr std::size_t cache_line = 64;
  const std::size_t mask_;
  const std::unique_ptr<T[]> slots_;
  // Each side's line: its own position, and the other's as it last saw it.
  alignas(cache_line) std::atomic<u64> written_{0};
  u64 read_seen_ = 0;
  alignas(cache_line) std::atomic<u64> read_{0};
  u64 written_seen_ = 0;
};

}  // namespace ph
