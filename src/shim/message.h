// Messages with addresses and ancillary data, between the program's form and ours.
#pragma once

#include <sys/socket.h>

#include "shim/anchor.h"
#include "shim/scratch.h"

namespace ph::shim {

/// The pieces of a message's buffers, read once: other threads of the program may write to its
/// array at any time.
class piece_list {
 public:
  /// 0, or -errno (sendmsg(2), recvmsg(2)).
  int read(const msghdr& message);
  [[nodiscard]] const iovec* begin() const { return pieces_; }
  [[nodiscard]] const iovec* end() const { return pieces_ + count_; }
  [[nodiscard]] std::size_t size() const { return count_; }
  /// Bytes in all of them, at most as many as one call moves.
  [[nodiscard]] std::size_t total() const { return total_; }

 private:
  static constexpr std::size_t few = 8;
  iovec few_[few];
  scratch many_;
  const iovec* pieces_ = few_;
  std::size_t count_ = 0;
  std::size_t total_ = 0;
};

/// The control data of a message as control items, into `out`: those that `wanted` chooses by level
/// and type. Returns their length, or -errno. Reads every byte once.
long pack_control(const msghdr& message, bool (*wanted)(int level, int type), u8* out,
                  std::size_t room);

/// Sends through the daemon: an addressed or otherwise special message. Returns the bytes sent, or
/// -errno. Waits for room unless MSG_DONTWAIT or O_NONBLOCK says not to.
ssize_t send_by_daemon(int fd, const msghdr& message, int flags);

/// Receives through the daemon (MSG_ERRQUEUE, MSG_OOB): fills the message; bytes or -errno.
ssize_t receive_by_daemon(int fd, msghdr& message, int flags);

/// What the kernel says of a message's lengths before it looks at the rest, and does to them: 0 or
/// -errno (recvmsg(2), sendmsg(2)).
int check_lengths(msghdr& message, bool sends);

/// Writes control data to the buffer of a program's message, as the kernel does: what does not fit
/// is cut and MSG_CTRUNC set.
class control_writer {
 public:
  /// `socket`: any socket. Control data of the message are room, not content.
  control_writer(int socket, msghdr& message);
  void append(int level, int type, const void* data, std::size_t len);
  /// Sets msg_controllen. What cannot be written to the program's buffer is not there, as with the
  /// kernel: the bytes were received.
  void finish();

 private:
  int socket_;
  msghdr& message_;
  std::size_t room_;
  std::size_t used_ = 0;
};

}  // namespace ph::shim
