// Memory for one call, where the stack has no room for it.
#pragma once

#include <sys/mman.h>

#include <cstddef>

#include "base/byteorder.h"

namespace ph::calls {

/// From the kernel: malloc would not be safe in a signal handler.
class scratch {
 public:
  scratch() = default;
  explicit scratch(std::size_t size) { take(size); }
  scratch(const scratch&) = delete;
  scratch& operator=(const scratch&) = delete;
  ~scratch() {
    if (bytes_ != nullptr) munmap(bytes_, size_);
  }
  /// Gets the memory, once. Null: there is none.
  u8* take(std::size_t size) {
    size_ = size;
    void* const p = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bytes_ = p == MAP_FAILED ? nullptr : static_cast<u8*>(p);
    return bytes_;
  }
  [[nodiscard]] u8* bytes() const { return bytes_; }

 private:
  u8* bytes_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace ph::calls
