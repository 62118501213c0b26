// The rare branches of the stack that carry a cpu::sometimes mark, so that a run over many seeds
// can tell which it never reached. tools/tidy.py holds this list against the marks in src/net.
#pragma once

#include <array>
#include <string_view>

namespace ph::sim {

inline constexpr std::array<std::string_view, 0> rare_branches{};

}  // namespace ph::sim
