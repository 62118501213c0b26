// MD5, RFC 1321: for TCP-MD5 (RFC 2385), which other hosts still ask for. Broken as a hash against
// an attacker who chooses messages: use it for nothing new.
#pragma once

#include "base/block_hash.h"

namespace ph {

class md5 : public block_hash<md5> {
 public:
  /// The digest of what was given; the object is used up.
  std::array<u8, 16> finish();

 private:
  friend class block_hash<md5>;
  void block(const u8 (&bytes)[64]);

  std::array<u32, 4> state_{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
};

}  // namespace ph
