// The end of a broken invariant: say where, then leave it to the composition, or abort (the crash
// handler of the composition, which knows its CPUs, adds the journey of the current packet).
#include "base/check.h"

#include <cstdio>
#include <cstdlib>

#include "base/check_hook.h"

namespace ph {

void check_failed(const char* expression, const char* file, int line) {
  std::fprintf(stderr, "posthaste: check failed: %s (%s:%d)\n", expression, file, line);
  if (on_check_failed != nullptr) on_check_failed(expression, file, line);
  std::abort();
}

}  // namespace ph
