// What a program built with AddressSanitizer needs in its environment when a library is preloaded:
// its shared runtime refuses to start unless it is the first of all, but works behind a library
// that hands calls on to it.
#pragma once

#include <cstring>

namespace ph {

inline constexpr char asan_variable[] = "ASAN_OPTIONS";
inline constexpr char asan_any_order[] = "verify_asan_link_order=0";

/// Does the variable's value say already whether the order matters?
inline bool says_asan_order(const char* value) {
  return value != nullptr && std::strstr(value, "verify_asan_link_order") != nullptr;
}

}  // namespace ph
