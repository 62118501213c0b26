// A fuzzer's bytes as a stream of decisions: reading past the end gives zeros.
#pragma once

#include "base/bytes.h"

namespace ph::fuzz {

class input {
 public:
  explicit input(byte_view bytes) : rest_(bytes) {}
  [[nodiscard]] bool empty() const { return rest_.empty(); }
  u8 byte() {
    const byte_view one = take(1);
    return one.empty() ? u8{0} : one[0];
  }
  u16 word() { return static_cast<u16>(byte() | byte() << 8); }
  u32 dword() { return word() | static_cast<u32>(word()) << 16; }
  /// The next n bytes, or as many as there are.
  byte_view take(std::size_t n) {
    const byte_view out = rest_.first(std::min(n, rest_.size()));
    rest_ = rest_.subspan(out.size());
    return out;
  }

 private:
  byte_view rest_;
};

}  // namespace ph::fuzz
