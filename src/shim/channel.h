// Asking the daemon: one request, one reply, from any thread, signal handler or fork child.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>

#include "daemon/protocol.h"

namespace ph::shim {

/// Most pieces of a request's data; kept small because a signal handler's stack may be.
inline constexpr std::size_t max_pieces = 16;

/// False in a vfork child, whose memory is another process's and whose descriptors are not.
bool owns_memory();

/// Moves fd away from the low numbers, which programs count on and sweep through: a descriptor of
/// the shim's own. Returns its new number.
int move_high(int fd);

/// A request and what comes back.
struct exchange {
  dropin::request_kind kind{};
  int fd = -1;  ///< anchor to pass, or -1
  u32 flags = 0;
  s32 arg[3] = {};
  const iovec* data = nullptr;  ///< request data, at most max_pieces
  std::size_t data_pieces = 0;
  bool cloexec = true;  ///< of the descriptor that comes back
  long timeout_us = 0;  ///< with flag_wait: give up after so long; 0 = never

  void* out = nullptr;  ///< room for reply data; what does not fit is cut off
  std::size_t out_room = 0;

  std::size_t out_len = 0;  ///< reply data present, at most out_room
  u32 reply_flags = 0;
  int reply_fd = -1;  ///< descriptor that came back, or -1; the caller's to close
};

/// Returns the daemon's result (>= 0, or -errno). -ECONNRESET when there is no daemon. With
/// flag_wait also -EINTR (a handler without SA_RESTART ran, or any with a timeout) and -EAGAIN
/// (timeout); such a call is a cancellation point. Leaves errno alone.
int ask(exchange& x);

/// The same on a channel of its own, which the daemon does not answer on any more after a result
/// >= 0: returns it then, a descriptor like any that open(2) gives.
int ask_for_channel(exchange& x);
/// True for such a descriptor, from whatever process; fills in the address of the program's end.
bool is_asked_channel(int fd, sockaddr_un& own, socklen_t& len);

}  // namespace ph::shim
