// xoshiro256** 1.0 by Blackman and Vigna (public domain algorithm), seeded through splitmix64.
#include "base/rng.h"

namespace ph {
namespace {

u64 splitmix(u64& state) {
  state += 0x9e3779b97f4a7c15;
  u64 z = state;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

}  // namespace

rng::rng(u64 seed) : state_{} {
  for (u64& word : state_) word = splitmix(seed);
}

u64 rng::next() {
  const u64 out = std::rotl(state_[1] * 5, 7) * 9;
  const u64 shifted = state_[1] << 17;
  state_[2] ^= state_[0];
  state_[3] ^= state_[1];
  state_[1] ^= state_[2];
  state_[0] ^= state_[3];
  state_[2] ^= shifted;
  state_[3] = std::rotl(state_[3], 45);
  return out;
}

u64 rng::below(u64 bound) {
  if (bound == 0) return 0;
  const u64 limit = ~u64{0} - (~u64{0} % bound);  // reject the last, partial, range
  u64 draw = next();
  while (draw >= limit) draw = next();
  return draw % bound;
}

double rng::uniform() { return static_cast<double>(next() >> 11) * 0x1.0p-53; }

bool rng::chance(double probability) {
  if (probability <= 0) return false;
  return uniform() < probability;
}

rng rng::fork(std::string_view label) const {
  u64 hash = 0xcbf29ce484222325;  // FNV-1a over the label, mixed with the parent's state
  for (const char c : label) hash = (hash ^ static_cast<u8>(c)) * 0x100000001b3;
  return rng(hash ^ std::rotl(state_[0], 23) ^ state_[3]);
}

}  // namespace ph
