// Assertions that stay on. ph_check() guards memory safety and state machines in every build;
// ph_debug_check() is for what costs too much on the hot path.
#pragma once

namespace ph {

/// Prints place and expression, then aborts. Never returns.
[[noreturn]] void check_failed(const char* expression, const char* file, int line);

}  // namespace ph

#define ph_check(expression) \
  ((expression) ? static_cast<void>(0) : ::ph::check_failed(#expression, __FILE__, __LINE__))
#ifdef PH_DEBUG
#define ph_debug_check(expression) ph_check(expression)
#else
#define ph_debug_check(expression) static_cast<void>(0)
#endif
#define ph_unreachable(why) ::ph::check_failed("unreachable: " why, __FILE__, __LINE__)
