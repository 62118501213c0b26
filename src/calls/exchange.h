// One request to the daemon and its reply, as the caller's business and as messages on a channel.
// Which channel, and how one waits for the reply, is decided elsewhere (shim/channel.cpp).
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include "calls/caller.h"
#include "daemon/protocol.h"
#include "platform/passed_fd.h"

namespace ph::calls {

/// Most pieces of a request's data; kept small because a signal handler's stack may be.
inline constexpr std::size_t max_pieces = 16;

/// A request and what comes back. The reply's data land in memory of ours: a program's that cannot
/// be written to would cost the channel.
struct exchange {
  dropin::request_kind kind{};
  int fd = -1;  ///< anchor to pass, or -1
  u32 flags = 0;
  s32 arg[3] = {};
  const iovec* data = nullptr;  ///< request data, in our memory
  std::size_t data_pieces = 0;
  const piece* payload = nullptr;  ///< and behind it, in the program's
  std::size_t payload_pieces = 0;
  bool cloexec = true;  ///< of the descriptor that comes back
  long timeout_us = 0;  ///< with flag_wait: give up after so long; 0 = never

  void* out = nullptr;  ///< room for reply data; what does not fit is cut off
  std::size_t out_room = 0;

  std::size_t out_len = 0;  ///< reply data present, at most out_room
  u32 reply_flags = 0;
  int reply_fd = -1;  ///< descriptor that came back, or -1; the caller's to close
};

/// A request as a message. Its payload goes as it is: for whoever's memory is the program's.
class request_frame {
 public:
  /// 0, or -EMSGSIZE.
  int build(const exchange& x);
  [[nodiscard]] const msghdr& message() const { return message_; }

 private:
  bool add(const void* at, std::size_t len);

  dropin::request_head head_;
  iovec pieces_[max_pieces + 1];
  std::size_t data_len_ = 0;
  passed_fd_room room_;
  msghdr message_{};
};

/// Room for the reply to such a request.
class reply_frame {
 public:
  explicit reply_frame(exchange& x);
  reply_frame(const reply_frame&) = delete;
  reply_frame& operator=(const reply_frame&) = delete;
  [[nodiscard]] msghdr& message() { return message_; }
  /// To receive it with.
  [[nodiscard]] int flags() const { return MSG_TRUNC | (x_.cloexec ? MSG_CMSG_CLOEXEC : 0); }
  /// `got` bytes were received. False when they are no reply to the request; a descriptor that
  /// came is in the exchange all the same.
  bool take(long got);
  [[nodiscard]] int result() const { return head_.result; }

 private:
  exchange& x_;
  dropin::reply_head head_;
  iovec pieces_[2];
  alignas(cmsghdr) char control_[CMSG_SPACE(sizeof(int))];
  msghdr message_{};
};

}  // namespace ph::calls
