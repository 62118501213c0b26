// Two harmless system calls that the kernel begins by reading, or ends by writing, memory of the
// caller. They are allowed wherever a sandbox allows anything, unlike process_vm_readv.
#include "shim/program_memory.h"

#include <cerrno>

#include "shim/raw.h"

namespace ph::shim {
namespace {

/// The smallest that a page is; larger ones are looked at more often than needed.
constexpr std::uintptr_t page = 4096;
/// Bytes of the kernel's signal set.
constexpr std::uintptr_t word = 8;

std::uintptr_t next_page(std::uintptr_t at) { return (at | (page - 1)) + 1; }

}  // namespace

bool readable(const void* at, std::size_t len) {
  const auto begin = reinterpret_cast<std::uintptr_t>(at);
  const std::uintptr_t end = begin + len;
  if (end < begin) return false;
  if (len != 0 && begin < word) return false;  // a null pointer is no set, and no fault
  for (std::uintptr_t p = begin; p < end; p = next_page(p)) {
    // The set is read first; then `how` is refused (EINVAL), so that nothing happens.
    constexpr long no_such_how = -1;
    const auto aligned = static_cast<long>(p & ~(word - 1));
    if (aligned == 0) return false;  // which would mean that there is no set, and be no error
    if (raw::call(SYS_rt_sigprocmask, no_such_how, aligned, 0, word) == -EFAULT) return false;
    if (next_page(p) == 0) return true;
  }
  return true;
}

bool writable(int socket, void* at, std::size_t len) {
  const auto begin = reinterpret_cast<std::uintptr_t>(at);
  const std::uintptr_t end = begin + len;
  if (end < begin) return false;
  for (std::uintptr_t p = begin; p < end; p = next_page(p)) {
    socklen_t n = end - p < sizeof(int) ? static_cast<socklen_t>(end - p) : sizeof(int);
    const std::uintptr_t rest = next_page(p) - p;
    if (rest < n) n = static_cast<socklen_t>(rest);
    if (raw::call(SYS_getsockopt, socket, SOL_SOCKET, SO_TYPE, static_cast<long>(p),
                  raw::arg(&n)) == -EFAULT) {
      return false;
    }
    if (next_page(p) == 0) return true;
  }
  return true;
}

}  // namespace ph::shim
