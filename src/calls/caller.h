// Whose call it is. What a system call on one of our sockets means is decided in this folder, for a
// thread of any process: that of the shim (shim/own_caller.h), or one whose memory and descriptors
// are reached from outside.
//
// Three kinds of things look alike and are not: numbers of descriptors in the program's table, and
// descriptors of this process, which `hold` makes of them; addresses in the program's memory (u64,
// so that nothing can follow them), and pointers into our own. A call reads what the program gave,
// decides, acts, writes its results, and gives a descriptor last of all, as nothing can be undone
// after that. Nothing here allocates from a heap or keeps anything from one call to the next: a
// program may be in a signal handler, or in a child of vfork.
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <limits>

#include "base/byteorder.h"

namespace ph::calls {

struct exchange;
struct received_tag;

/// The result of a call that is none of ours: the kernel is to do it as it is. Other results are
/// the kernel's, >= 0 or -errno.
inline constexpr long not_ours = std::numeric_limits<long>::min();

/// A piece of the program's memory, laid out as a struct iovec.
struct piece {
  u64 at = 0;
  u64 len = 0;
};

/// Where in the program's memory bytes come from or go to: an array of pieces, ours or its own.
struct buffers {
  const piece* own = nullptr;  ///< read already,
  u64 at = 0;                  ///< or where it lies
  std::size_t count = 0;
};

/// What a program has asked for that makes some calls worth a second look from then on.
enum class habit : u8 {
  lowat,           ///< SO_RCVLOWAT: bytes below it stay in the stack
  stream_control,  ///< control data with the bytes of streams: time stamps, TCP_INQ
  shut_reads,      ///< shut a socket for reading: what still comes stays in the stack
};
inline constexpr std::size_t habits = 3;

/// One thread of a program, in one call.
class caller {
 public:
  /// The program's memory. False: EFAULT.
  virtual bool read(u64 at, void* to, std::size_t len) = 0;
  virtual bool write(u64 at, const void* from, std::size_t len) = 0;

  /// The descriptor of this process for a number of the program's, until the call ends, or -EBADF.
  virtual int hold(int number) = 0;
  /// Gives a descriptor away to the program, as the last step of a call: its number, or -errno.
  virtual int give(int fd, bool cloexec) = 0;
  /// Puts `with` in the place of every copy of the socket `held` that the program has.
  virtual void replace(int held, int with) = 0;

  /// A system call of our own, on held descriptors and own memory: what it gives, or -errno. It
  /// does not wait (calls/kernel.h).
  virtual long kernel(long call, long a, long b, long c, long d, long e) = 0;

  /// The kernel's plain call on a socket, with the program's bytes; waits as that does. Bytes, or
  /// -errno; `came` are the MSG_ flags of what was received.
  virtual long send(int held, const buffers& bytes, int flags) = 0;
  virtual long receive(int held, const buffers& room, int flags, int& came) = 0;
  /// A receive of up to `len` bytes, which go nowhere.
  virtual long discard(int held, std::size_t len, int flags) = 0;
  /// A receive with what lies beside a datagram; also when the table of descriptors is full.
  virtual long receive_tagged(int held, const buffers& room, int flags, int& came,
                              received_tag& tag) = 0;
  /// accept4(2): a new descriptor of this process, or -errno.
  virtual int accept(int held, sockaddr_storage& from, socklen_t& len, int flags) = 0;

  /// Asks the daemon: its result, >= 0 or -errno. -ECONNRESET when there is none; with flag_wait
  /// also -EINTR and -EAGAIN.
  virtual int ask(exchange& x) = 0;

  /// Sends a signal to the thread.
  virtual void raise(int signal) = 0;

  /// A connect() of this stream did not wait, and may be under way: a hint, which may be missing.
  virtual void note_connecting(int held, bool connecting) = 0;
  [[nodiscard]] virtual bool may_be_connecting(int held) = 0;

  virtual void expect(habit what) = 0;
  [[nodiscard]] virtual bool expects(habit what) = 0;
  /// The program is to see POLLERR at this stream while its error queue is not empty.
  virtual void follow_errors(int held) = 0;
  [[nodiscard]] virtual bool follows_errors(int held) = 0;

 protected:
  ~caller() = default;
};

}  // namespace ph::calls
