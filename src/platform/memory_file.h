// Files that lie in memory only (memfd_create(2)), which can be sealed.
#pragma once

#include <sys/mman.h>

#include <cerrno>

#include "platform/unique_fd.h"

namespace ph {

/// A new one, empty; none, and errno, when there is no descriptor or no memory. `name` is shown in
/// /proc only.
inline unique_fd memory_file(const char* name) {
  constexpr unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  constexpr unsigned not_executable = 8;  // MFD_NOEXEC_SEAL, from Linux 6.3
  const int fd = ::memfd_create(name, flags | not_executable);
  return unique_fd(fd < 0 && errno == EINVAL ? ::memfd_create(name, flags) : fd);
}

}  // namespace ph
