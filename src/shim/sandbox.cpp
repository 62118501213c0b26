// The ways into a sandbox: prctl(2) and, by syscall(2), seccomp(2).
#include "shim/sandbox.h"

#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <cstdarg>

#include "shim/hook.h"

namespace ph::shim {

constinit std::atomic<bool> own_sandbox{false};

void note_sandbox(long call, long first_argument) {
  const bool by_prctl = call == SYS_prctl && first_argument == PR_SET_SECCOMP;
  const bool by_seccomp = call == SYS_seccomp && (first_argument == SECCOMP_SET_MODE_FILTER ||
                                                  first_argument == SECCOMP_SET_MODE_STRICT);
  if (by_prctl || by_seccomp) own_sandbox.store(true, std::memory_order_relaxed);
}

namespace {

constinit next_function<int(int, long, long, long, long)> next_prctl{"prctl"};

/// Under the filter libc's lookup of a symbol might not be allowed any more.
[[gnu::constructor]] void look_up_early() { next_prctl.look_up(); }

}  // namespace
}  // namespace ph::shim

PH_HOOK(int, prctl, int option, ...) {
  va_list list;
  va_start(list, option);
  long a[4];
  for (long& value : a) value = va_arg(list, long);
  va_end(list);
  const int result = ph::shim::next_prctl(option, a[0], a[1], a[2], a[3]);
  if (result >= 0) ph::shim::note_sandbox(SYS_prctl, option);
  return result;
}
