// The end of a broken invariant: say where, then abort (the crash handler of the composition,
// which knows its CPUs, adds the journey of the current packet).
#include "base/check.h"

#include <cstdio>
#include <cstdlib>

namespace ph {

void check_failed(const char* expression, const char* file, int line) {
  std::fprintf(stderr, "posthaste: check failed: %s (%s:%d)\n", expression, file, line);
  std::abort();
}

}  // namespace ph
