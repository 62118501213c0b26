// SHA-1 (RFC 3174) and HMAC-SHA-1 (RFC 2104), which TCP-AO asks for (RFC 5926).
#pragma once

#include "base/block_hash.h"

namespace ph {

class sha1 : public block_hash<sha1> {
 public:
  static constexpr std::size_t digest_bytes = 20;
  using digest = std::array<u8, digest_bytes>;
  /// The digest of what was given; the object is used up.
  digest finish();

 private:
  friend class block_hash<sha1>;
  void block(const u8 (&bytes)[64]);

  std::array<u32, 5> state_{0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
};

class hmac_sha1 {
 public:
  explicit hmac_sha1(byte_view key);
  void update(byte_view bytes) { inner_.update(bytes); }
  sha1::digest finish();

 private:
  sha1 inner_, outer_;
};

}  // namespace ph
