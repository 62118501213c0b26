// What MD5 and SHA-1 share: messages in blocks of 64 bytes, closed by a one bit, zeros and the
// length (RFC 1321 §3.1, RFC 3174 §4).
#pragma once

#include <algorithm>
#include <array>

#include "base/bytes.h"

namespace ph {

/// `Derived` has `void block(const u8 (&)[64])`, which takes one block.
template <class Derived>
class block_hash {
 public:
  void update(byte_view bytes) {
    length_ += bytes.size();
    while (!bytes.empty()) {
      const std::size_t n = std::min(bytes.size(), sizeof(buffer_) - used_);
      std::copy_n(bytes.begin(), n, buffer_ + used_);
      used_ += n;
      bytes = bytes.subspan(n);
      if (used_ == sizeof(buffer_)) flush();
    }
  }

 protected:
  /// Ends the message; `big_endian`: how its length in bits is written.
  void pad(bool big_endian) {
    const u64 bits = length_ * 8;
    buffer_[used_++] = 0x80;
    if (used_ > 56) {
      std::fill(buffer_ + used_, buffer_ + 64, u8{0});
      flush();
    }
    std::fill(buffer_ + used_, buffer_ + 56, u8{0});
    for (unsigned i = 0; i < 8; ++i) {
      buffer_[56 + i] = static_cast<u8>(bits >> (big_endian ? 56 - 8 * i : 8 * i));
    }
    flush();
  }

 private:
  void flush() {
    static_cast<Derived*>(this)->block(buffer_);
    used_ = 0;
  }

  u8 buffer_[64]{};
  std::size_t used_ = 0;
  u64 length_ = 0;
};

}  // namespace ph
