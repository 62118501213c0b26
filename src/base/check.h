// Assertions that stay on. check() guards memory safety and state machines in every build;
// debug_check() is for what costs too much on the hot path.
#pragma once

namespace ph {

/// Prints place and expression, then aborts. Never returns.
[[noreturn]] void check_failed(const char* expression, const char* file, int line);

}  // namespace ph

#define check(expression) \
  ((expression) ? static_cast<void>(0) : ::ph::check_failed(#expression, __FILE__, __LINE__))
#ifdef PH_DEBUG
#define debug_check(expression) check(expression)
#else
#define debug_check(expression) static_cast<void>(0)
#endif
#define unreachable(why) ::ph::check_failed("unreachable: " why, __FILE__, __LINE__)
