// RFC 3174 §6.1 (method 1) and RFC 2104 §2.
#include "base/sha1.h"

#include <bit>

namespace ph {

void sha1::block(const u8 (&bytes)[64]) {
  std::array<u32, 80> w{};
  for (std::size_t i = 0; i < 64; ++i) w[i / 4] |= u32{bytes[i]} << (24 - 8 * (i % 4));
  for (std::size_t t = 16; t < 80; ++t) {
    w[t] = std::rotl(w[t - 3] ^ w[t - 8] ^ w[t - 14] ^ w[t - 16], 1);
  }
  auto [a, b, c, d, e] = state_;
  for (std::size_t t = 0; t < 80; ++t) {
    u32 f = b ^ c ^ d;
    u32 k = t < 40 ? 0x6ed9eba1 : 0xca62c1d6;
    if (t < 20) {
      f = (b & c) | (~b & d);
      k = 0x5a827999;
    } else if (t >= 40 && t < 60) {
      f = (b & c) | (b & d) | (c & d);
      k = 0x8f1bbcdc;
    }
    const u32 sum = std::rotl(a, 5) + f + e + w[t] + k;
    e = d;
    d = c;
    c = std::rotl(b, 30);
    b = a;
    a = sum;
  }
  state_[0] += a;
  state_[1] += b;
  state_[2] += c;
  state_[3] += d;
  state_[4] += e;
}

sha1::digest sha1::finish() {
  pad(true);
  digest out{};
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = static_cast<u8>(state_[i / 4] >> (24 - 8 * (i % 4)));
  }
  return out;
}

hmac_sha1::hmac_sha1(byte_view key) {
  std::array<u8, 64> block{};
  if (key.size() > block.size()) {
    sha1 shortened;
    shortened.update(key);
    const sha1::digest digest = shortened.finish();
    copy_bytes(block, digest);
  } else {
    copy_bytes(block, key);
  }
  for (u8& byte : block) byte ^= 0x36;
  inner_.update(block);
  for (u8& byte : block) byte ^= 0x36 ^ 0x5c;
  outer_.update(block);
}

sha1::digest hmac_sha1::finish() {
  const sha1::digest inner = inner_.finish();
  outer_.update(inner);
  return outer_.finish();
}

}  // namespace ph
