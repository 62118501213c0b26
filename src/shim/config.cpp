// Reads the environment once. A program may change or clear its environment later. libc knows it
// only when it has started: what comes earlier (a sanitizer's start) finds no lab.
#include "shim/config.h"

#include <dlfcn.h>
#include <errno.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>

#include "daemon/protocol.h"

namespace ph::shim {
namespace {

// Written by whoever comes first; a second thread (there is hardly ever one so early) waits.
constinit settings kept;
constinit std::atomic<int> state{0};  // 0 unread, 1 being read, 2 read

template <std::size_t N>
bool copy_text(char (&to)[N], const char* from) {
  if (from == nullptr) return false;
  const std::size_t len = std::strlen(from);
  if (len == 0 || len >= N) return false;
  std::memcpy(to, from, len + 1);
  return true;
}

void read_environment() {
  copy_text(kept.host, std::getenv(dropin::env_host));
  copy_text(kept.token, std::getenv(dropin::env_token));
  Dl_info self{};
  if (dladdr(&kept, &self) != 0) copy_text(kept.library, self.dli_fname);
  kept.active = copy_text(kept.socket, std::getenv(dropin::env_socket));
}

/// A program that was started by its loader (platform/program_file.h) has the loader's name in
/// ps(1) and for killall(1) otherwise.
void take_own_name() {
  char name[16] = {};
  prctl(PR_GET_NAME, name, 0, 0, 0);
  if (std::strncmp(name, "ld-linux", 8) == 0) {
    prctl(PR_SET_NAME, program_invocation_short_name, 0, 0, 0);
  }
}

[[gnu::constructor]] void read_at_start() {
  if (config().active) take_own_name();
}

}  // namespace

const settings& config() {
  if (state.load(std::memory_order_acquire) != 2) {
    if (environ == nullptr) return kept;
    int expected = 0;
    if (state.compare_exchange_strong(expected, 1)) {
      read_environment();
      state.store(2, std::memory_order_release);
    } else {
      while (state.load(std::memory_order_acquire) != 2) {}
    }
  }
  return kept;
}

}  // namespace ph::shim
