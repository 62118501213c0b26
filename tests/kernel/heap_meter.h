// Counts what goes through operator new in this test program.
#pragma once

#include <cstddef>

namespace ph {

/// The heap since it was made.
class heap_meter {
 public:
  heap_meter();
  /// Bytes allocated minus bytes freed.
  [[nodiscard]] std::size_t bytes() const;
  /// How many allocations there were.
  [[nodiscard]] std::size_t allocations() const;

 private:
  std::size_t bytes_at_start_;
  std::size_t allocations_at_start_;
};

}  // namespace ph
