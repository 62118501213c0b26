// A few failures are told as fast as any: a program may close many sockets in an orderly way.
#include "shim/orphaned.h"

#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <atomic>

#include "shim/raw.h"
#include "shim/sandbox.h"

namespace ph::shim {
namespace {

constexpr unsigned patience = 64;
constexpr timespec moment{0, 50'000'000};

constinit std::atomic<unsigned> failures{0};  // since an answer

/// On the standard error, unless that is a peer of the program.
void say_so() {
  constexpr char line[] =
      "ph: this program's lab has ended, so it has no network any more; start it again in a lab\n";
  struct stat st {};
  if (raw::fstat(STDERR_FILENO, st) != 0 || S_ISSOCK(st.st_mode)) return;
  raw::call(SYS_write, STDERR_FILENO, raw::arg(&line[0]), sizeof line - 1);
}

}  // namespace

void daemon_answered() {
  if (failures.load(std::memory_order_relaxed) != 0) failures.store(0, std::memory_order_relaxed);
}

void daemon_missing() {
  const unsigned before = failures.fetch_add(1, std::memory_order_relaxed);
  if (before < patience || in_own_sandbox()) return;
  if (before == patience) say_so();
  raw::call(SYS_nanosleep, raw::arg(&moment), 0);
}

}  // namespace ph::shim
