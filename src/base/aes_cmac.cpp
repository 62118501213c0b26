// FIPS 197 §5.1 and §5.2, RFC 4493 §2.3 and §2.4.
#include "base/aes_cmac.h"

#include <algorithm>
#include <bit>

namespace ph {
namespace {

/// Multiplication by x in GF(2^8), FIPS 197 §4.2.1.
constexpr u8 xtime(u8 a) { return static_cast<u8>((a << 1) ^ ((a & 0x80) != 0 ? 0x1b : 0)); }

constexpr u8 multiply(u8 a, u8 b) {
  u8 out = 0;
  for (; b != 0; b = static_cast<u8>(b >> 1)) {
    if ((b & 1) != 0) out ^= a;
    a = xtime(a);
  }
  return out;
}

/// FIPS 197 §5.1.1: the inverse, then an affine map.
constexpr std::array<u8, 256> make_sbox() {
  std::array<u8, 256> out{};
  for (unsigned i = 0; i < 256; ++i) {
    u8 inverse = 1;  // i^254
    for (int bit = 7; bit >= 0; --bit) {
      inverse = multiply(inverse, inverse);
      if (bit != 0) inverse = multiply(inverse, static_cast<u8>(i));
    }
    u8 s = 0x63;
    for (int turn = 0; turn < 5; ++turn) s ^= std::rotl(inverse, turn);
    out[i] = s;
  }
  return out;
}
constexpr std::array<u8, 256> sbox = make_sbox();
static_assert(sbox[0] == 0x63 && sbox[0x53] == 0xed);

void substitute_and_shift(aes128::block& state) {
  const aes128::block old = state;
  for (std::size_t column = 0; column < 4; ++column) {
    for (std::size_t row = 0; row < 4; ++row) {
      state[4 * column + row] = sbox[old[(4 * (column + row) + row) % 16]];
    }
  }
}

void mix_columns(aes128::block& state) {
  for (std::size_t c = 0; c < 16; c += 4) {
    const u8 all = state[c] ^ state[c + 1] ^ state[c + 2] ^ state[c + 3];
    const u8 first = state[c];
    for (std::size_t r = 0; r < 4; ++r) {
      const u8 next = r == 3 ? first : state[c + r + 1];
      state[c + r] = static_cast<u8>(state[c + r] ^ all ^ xtime(state[c + r] ^ next));
    }
  }
}

void add(aes128::block& to, const aes128::block& what) {
  for (std::size_t i = 0; i < to.size(); ++i) to[i] ^= what[i];
}

/// RFC 4493 §2.3: doubling in GF(2^128).
aes128::block doubled(const aes128::block& in) {
  aes128::block out{};
  for (std::size_t i = 0; i < 16; ++i) {
    out[i] = static_cast<u8>((in[i] << 1) | (i < 15 ? in[i + 1] >> 7 : 0));
  }
  if ((in[0] & 0x80) != 0) out[15] ^= 0x87;
  return out;
}

}  // namespace

aes128::aes128(const block& key) {
  round_keys_[0] = key;
  u8 constant = 1;
  for (std::size_t round = 1; round < round_keys_.size(); ++round) {
    const block& before = round_keys_[round - 1];
    block& out = round_keys_[round];
    for (std::size_t i = 0; i < 16; ++i) {
      const u8 turned = sbox[before[12 + (i + 1) % 4]];
      const u8 more = i < 4 ? turned : out[i - 4];
      out[i] = before[i] ^ more;
    }
    out[0] ^= constant;
    // The constant belongs to the first word, from which the others follow.
    for (std::size_t i = 4; i < 16; i += 4) out[i] ^= constant;
    constant = xtime(constant);
  }
}

aes128::block aes128::encrypt(block state) const {
  add(state, round_keys_[0]);
  for (std::size_t round = 1; round < round_keys_.size(); ++round) {
    substitute_and_shift(state);
    if (round + 1 < round_keys_.size()) mix_columns(state);
    add(state, round_keys_[round]);
  }
  return state;
}

void aes_cmac::update(byte_view bytes) {
  while (!bytes.empty()) {
    // The last block is kept back: it is treated differently.
    if (used_ == last_.size()) {
      add(chain_, last_);
      chain_ = cipher_.encrypt(chain_);
      used_ = 0;
    }
    const std::size_t n = std::min(bytes.size(), last_.size() - used_);
    std::copy_n(bytes.begin(), n, last_.begin() + static_cast<std::ptrdiff_t>(used_));
    used_ += n;
    bytes = bytes.subspan(n);
  }
}

aes128::block aes_cmac::finish() {
  aes128::block subkey = doubled(cipher_.encrypt({}));
  if (used_ != last_.size()) {
    subkey = doubled(subkey);
    last_[used_] = 0x80;
    std::fill(last_.begin() + static_cast<std::ptrdiff_t>(used_) + 1, last_.end(), u8{0});
  }
  add(last_, subkey);
  add(chain_, last_);
  return cipher_.encrypt(chain_);
}

}  // namespace ph
