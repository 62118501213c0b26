// The bytes of a file whose size nobody says before it is read, as those of procfs.
#pragma once

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cstddef>
#include <string>

#include "platform/unique_fd.h"

namespace ph {

/// Cut where it has `most` bytes or more; empty when it cannot be read. A file of procfs that lies
/// in another process's memory, or is read under its mmap_lock, may take for ever.
inline std::string whole_file(const std::string& path, std::size_t most) {
  const unique_fd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  std::string out;
  std::array<char, 16384> buffer;
  while (file && out.size() < most) {
    const ssize_t got = ::read(file.get(), buffer.data(), buffer.size());
    if (got <= 0) break;
    out.append(buffer.data(), static_cast<std::size_t>(got));
  }
  return out;
}

}  // namespace ph
