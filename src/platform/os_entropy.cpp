// getrandom(2) in a loop: more than 256 bytes may come in pieces. Without it there is no safe
// key, so failure is fatal.
#include "platform/os_entropy.h"

#include <sys/random.h>

#include <cerrno>

#include "base/check.h"

namespace ph {

void os_entropy::fill(byte_span out) {
  while (!out.empty()) {
    const ssize_t got = ::getrandom(out.data(), out.size(), 0);
    if (got < 0) {
      ph_check(errno == EINTR);
      continue;
    }
    out = out.subspan(static_cast<std::size_t>(got));
  }
}

}  // namespace ph
