// Hashes: siphash-2-4 for tables an attacker may aim at, Toeplitz for receive-side scaling.
#pragma once

#include "base/bytes.h"

namespace ph {

struct siphash_key {
  u64 k0 = 0, k1 = 0;
};

/// SipHash-2-4 (Aumasson, Bernstein) of the bytes.
u64 siphash(const siphash_key& key, byte_view bytes);

/// The Toeplitz hash used by RSS: `key` must be at least bytes.size() + 4 long.
u32 toeplitz(byte_view key, byte_view bytes);

/// The 40-byte RSS key published by Microsoft, with which test vectors exist.
extern const std::array<u8, 40> rss_default_key;

/// A quick mix of a 64-bit value, for tables that hold only our own keys.
constexpr u64 mix64(u64 x) {
  x = (x ^ (x >> 33)) * 0xff51afd7ed558ccd;
  x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53;
  return x ^ (x >> 33);
}

}  // namespace ph
