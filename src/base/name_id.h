// A number for a name, at compile time: identity that two subsystems can choose without a list that
// both would have to edit. FNV-1a; that two names of ours meet is a mistake that set() would find.
#pragma once

#include <string_view>

#include "base/byteorder.h"

namespace ph {

constexpr u64 name_id(std::string_view name) {
  u64 hash = 0xcbf29ce484222325;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

}  // namespace ph
