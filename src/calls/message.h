// Messages with addresses and ancillary data, between the program's form and ours. Whatever lies in
// the program's memory is read once, as its other threads may write to it at any time.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include "calls/caller.h"
#include "calls/scratch.h"

namespace ph::calls {

/// A struct msghdr of a program.
struct message {
  u64 name = 0;
  u32 name_len = 0;
  buffers bytes;
  u64 control = 0;
  u64 control_len = 0;
  int flags = 0;
};

/// Reads one, and does what the kernel does about its lengths before it looks at the rest. 0 or
/// -errno (sendmsg(2), recvmsg(2)).
int read_message(caller& c, u64 at, bool sends, message& out);
/// Writes what recvmsg(2) changes in it. 0 or -EFAULT.
int give_message(caller& c, const message& m, u64 at);

/// As many bytes as one call moves, whatever it is asked for (write(2)).
inline constexpr u64 most_moved = 0x7ffff000;

/// The one piece of a call that is given an address and a length.
inline piece piece_of(u64 at, u64 len) { return {at, len < most_moved ? len : most_moved}; }

/// The pieces of a message's buffers, cut where they are more than one call moves.
class piece_list {
 public:
  /// 0, or -errno. Once.
  int read(caller& c, const buffers& from);
  [[nodiscard]] const piece* begin() const { return pieces_; }
  [[nodiscard]] const piece* end() const { return pieces_ + count_; }
  [[nodiscard]] std::size_t size() const { return count_; }
  /// Bytes in all of them.
  [[nodiscard]] std::size_t total() const { return total_; }

 private:
  static constexpr std::size_t few = 8;
  piece few_[few];
  scratch many_;
  const piece* pieces_ = few_;
  std::size_t count_ = 0;
  std::size_t total_ = 0;
};

/// Copies the bytes of all pieces into one piece of our memory. False: EFAULT.
bool gather(caller& c, const piece_list& from, u8* to);
/// Copies bytes into the pieces; returns how many fitted, or -EFAULT.
long scatter(caller& c, const u8* from, std::size_t len, const piece_list& to);

/// The control data of a message as control items (daemon/protocol.h), into `out`: those that
/// `wanted` chooses by level and type. Returns their length, or -errno.
long pack_control(caller& c, const message& m, bool (*wanted)(int level, int type), u8* out,
                  std::size_t room);

/// Writes control data to the buffer of a program's message, as the kernel does: what does not fit
/// is cut and MSG_CTRUNC set.
class control_writer {
 public:
  /// Control data of the message are room, not content.
  control_writer(caller& c, message& m)
      : caller_(c), message_(m), room_(m.control != 0 ? m.control_len : 0) {}
  void append(int level, int type, const void* data, std::size_t len);
  /// Sets control_len. What cannot be written to the program's buffer is not there, as with the
  /// kernel: the bytes were received.
  void finish() { message_.control_len = used_; }

 private:
  caller& caller_;
  message& message_;
  u64 room_;
  u64 used_ = 0;
};

}  // namespace ph::calls
