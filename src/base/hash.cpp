// SipHash-2-4 after the authors' paper; Toeplitz after the RSS specification.
#include "base/hash.h"

#include <bit>

namespace ph {

const std::array<u8, 40> rss_default_key = {
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3,
    0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3,
    0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};

namespace {

struct sip_state {
  u64 v0, v1, v2, v3;
  void round() {
    v0 += v1; v1 = std::rotl(v1, 13); v1 ^= v0; v0 = std::rotl(v0, 32);
    v2 += v3; v3 = std::rotl(v3, 16); v3 ^= v2;
    v0 += v3; v3 = std::rotl(v3, 21); v3 ^= v0;
    v2 += v1; v1 = std::rotl(v1, 17); v1 ^= v2; v2 = std::rotl(v2, 32);
  }
  void absorb(u64 word) {
    v3 ^= word;
    round();
    round();
    v0 ^= word;
  }
};

}  // namespace

u64 siphash(const siphash_key& key, byte_view bytes) {
  sip_state s{key.k0 ^ 0x736f6d6570736575, key.k1 ^ 0x646f72616e646f6d,
              key.k0 ^ 0x6c7967656e657261, key.k1 ^ 0x7465646279746573};
  const u64 length = bytes.size();
  while (bytes.size() >= 8) {
    s.absorb(view_as<le64>(bytes)->value());
    bytes = bytes.subspan(8);
  }
  u64 last = length << 56;
  for (std::size_t i = 0; i < bytes.size(); ++i) last |= u64{bytes[i]} << (8 * i);
  s.absorb(last);
  s.v2 ^= 0xff;
  for (int i = 0; i < 4; ++i) s.round();
  return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

u32 toeplitz(byte_view key, byte_view bytes) {
  ph_check(key.size() >= bytes.size() + 4);
  u32 window = view_as<be32>(key)->value();
  u32 hash = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const u8 next = key.size() > i + 4 ? key[i + 4] : u8{0};
    for (int bit = 7; bit >= 0; --bit) {
      if ((bytes[i] >> bit) & 1) hash ^= window;
      window = (window << 1) | ((next >> bit) & 1u);
    }
  }
  return hash;
}

}  // namespace ph
