// What a host's programs and the daemon know of bytes that the host sends to itself and that are
// still on their way: numbers at the beginning of a file in memory, which all of them map.
//
// Everybody who holds the file can write anything there. What that does: programs of this host ask
// the daemon needlessly, or do not ask, and then find what they would have found without the page.
#pragma once

#include <sys/socket.h>

#include <atomic>
#include <cstddef>

#include "base/byteorder.h"

namespace ph::dropin {

struct settling_page {
  /// Connected sockets of the host whose peer is the host itself.
  std::atomic<u32> local{0};
  /// While there are some, goes up with each plain send on one of them, and with each end of one of
  /// them or of a socket that has no peer.
  std::atomic<u32> sent{0};
  /// The value of `sent` of which the daemon knows that all that belongs to it has arrived.
  std::atomic<u32> settled{0};
};
static_assert(std::atomic<u32>::is_always_lock_free);

inline constexpr std::size_t settling_page_len = 4096;

/// The anchor of such a socket has this option of SOL_SOCKET on, which means nothing to AF_UNIX:
/// so every copy of it is known in every process. The shim sets it when the daemon says so of what
/// it connects (reply_goes_home) or accepts (anchor_name::home).
inline constexpr int goes_home_option = SO_NO_CHECK;

/// True when counter `value` stands behind `other`; they wrap.
constexpr bool is_behind(u32 value, u32 other) { return static_cast<s32>(value - other) < 0; }

}  // namespace ph::dropin
