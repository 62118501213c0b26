// Memory for one call of a hook, where the stack has no room for it.
#pragma once

#include <sys/mman.h>

#include <cstddef>

#include "base/byteorder.h"

namespace ph::shim {

/// From the kernel: malloc would not be safe in a signal handler.
class scratch {
 public:
  explicit scratch(std::size_t size) : size_(size) {
    void* const p = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bytes_ = p == MAP_FAILED ? nullptr : static_cast<u8*>(p);
  }
  scratch(const scratch&) = delete;
  scratch& operator=(const scratch&) = delete;
  ~scratch() {
    if (bytes_ != nullptr) munmap(bytes_, size_);
  }
  [[nodiscard]] u8* bytes() const { return bytes_; }

 private:
  u8* bytes_ = nullptr;
  std::size_t size_;
};

}  // namespace ph::shim
