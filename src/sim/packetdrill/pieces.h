// What a call that waits has still to send: it goes on where it stopped.
#pragma once

#include <algorithm>
#include <span>
#include <vector>

#include "base/bytes.h"

namespace ph::packetdrill {

/// The list without its first `done` bytes.
inline std::vector<byte_view> rest_of(std::span<const byte_view> iov, std::size_t done) {
  std::vector<byte_view> out;
  for (const byte_view piece : iov) {
    const std::size_t gone = std::min(done, piece.size());
    done -= gone;
    if (gone < piece.size()) out.push_back(piece.subspan(gone));
  }
  return out;
}

}  // namespace ph::packetdrill
