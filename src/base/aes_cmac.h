// AES-128 in one direction (FIPS 197) and AES-CMAC (RFC 4493), which TCP-AO asks for (RFC 5926).
//
// Does not: decrypt; hide from an observer of caches (the tables are indexed by secrets).
#pragma once

#include <array>

#include "base/bytes.h"

namespace ph {

class aes128 {
 public:
  using block = std::array<u8, 16>;
  explicit aes128(const block& key);
  [[nodiscard]] block encrypt(block in) const;

 private:
  std::array<block, 11> round_keys_{};
};

class aes_cmac {
 public:
  explicit aes_cmac(const aes128::block& key) : cipher_(key) {}
  void update(byte_view bytes);
  /// The code of what was given; the object is used up.
  aes128::block finish();

 private:
  aes128 cipher_;
  aes128::block chain_{}, last_{};
  std::size_t used_ = 0;  ///< bytes in last_
};

}  // namespace ph
