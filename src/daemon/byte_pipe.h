// What carries bytes between a program's end of a connection and the host's socket.
//
// stream_client knows the states of a connection and asks a pipe to move its bytes; stream_pump
// does so through the anchor's other end. A pipe knows nothing of requests and channels.
#pragma once

#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "platform/unique_fd.h"

namespace ph::dropin {

/// What a turn of a pipe found.
enum class pipe_turn : u8 {
  rest,     ///< nothing can be moved now; an event or the socket's watcher tells when
  more,     ///< there may be more at once
  later,    ///< something is left to do when the stack has had its turn
  failed,   ///< the host's connection broke and the program has all that had arrived: see error()
  dropped,  ///< the program closed with bytes unread: its peer must see a reset
};

/// Whether accept() has returned the program's end of a pipe, as far as bytes tell.
enum class acceptance : u8 {
  awaited,  ///< not known to have
  told,     ///< its shim said so, or the program connected by itself
  silent,   ///< the program's own bytes came first
};

/// What the program's options say about a pipe.
struct pipe_settings {
  int send_buffer = 0;     ///< SO_SNDBUF of the program's end; 0: not known to have changed
  int receive_buffer = 0;  ///< SO_RCVBUF, as setsockopt(2) takes it; 0: the kernel's default
  int lowat = 1;           ///< SO_RCVLOWAT
  bool stamped = false;    ///< bytes come with their time stamps
  bool to_own_host = false;  ///< the other end of the connection is on the same host
  bool urgent_in_line = false;  ///< SO_OOBINLINE
};

class byte_pipe {
 public:
  virtual ~byte_pipe() = default;

  virtual void apply(const pipe_settings& settings) = 0;
  /// The connection is up: the program may write.
  virtual void open() = 0;
  /// Bytes that go to the stack before all that the program writes from now on.
  virtual void put_first(byte_view bytes) = 0;
  /// Something happened at the program's end (epoll bits).
  virtual void on_events(u32 events) = 0;
  /// Moves what can be moved, in both directions.
  virtual pipe_turn pump() = 0;
  /// Moves what the program has written, as far as the stack takes it, whatever that costs: what
  /// the caller does next must come after it. True when nothing is left.
  virtual bool push() = 0;

  /// The program sends no more: takes out of its end what the stack has no room for yet, so that
  /// the program finds room there, as after a shutdown(2). As far as there is memory for it.
  virtual void take_rest() = 0;

  /// Both directions have ended in order: the program, if it still reads, shall see no reset.
  virtual void finish() = 0;

  /// Why the host's connection broke.
  [[nodiscard]] virtual errc error() const = 0;
  /// The program sends no more, and all that it wrote is with the stack.
  [[nodiscard]] virtual bool ended() const = 0;
  /// The program sends no more, whether or not the stack has all that it wrote.
  [[nodiscard]] virtual bool writes_over() const = 0;
  /// The program's end is shut in both directions, or closed.
  [[nodiscard]] virtual bool hung_up() const = 0;
  /// Bytes of the program that the stack does not have yet.
  [[nodiscard]] virtual std::size_t unsent() const = 0;
  /// The kernel's memory of what the program has not read yet.
  [[nodiscard]] virtual u32 anchored() const = 0;
  /// Descriptors that came with bytes from the program: its own end when its shim passed it after
  /// accept(), and others, which have no business here.
  virtual std::vector<unique_fd> take_passed() = 0;
  [[nodiscard]] virtual acceptance accepted() const = 0;
  /// What the stack said of the last byte that the program has read (a cmsghdr sequence), when
  /// `unread` bytes still wait at its end.
  virtual std::vector<u8> came_with(std::size_t unread) = 0;
  /// The urgent byte, which `flags` (MSG_PEEK) may leave, where AF_UNIX cannot carry it.
  virtual result<u8> urgent_byte(u32 flags) = 0;
  /// Whether the program has read up to the mark, when `unread` bytes still wait at its end, and
  /// the urgent byte is not among them.
  [[nodiscard]] virtual bool at_mark(std::size_t unread) const = 0;
  /// How many of the `unread` bytes that wait at the program's end lie ahead of the mark; nothing
  /// when there is none ahead. `urgent_waits`: the urgent byte is one of them.
  [[nodiscard]] virtual std::optional<std::size_t> before_mark(std::size_t unread,
                                                               bool urgent_waits) const = 0;
  /// The pipe's own descriptor, when its close may wait: descriptors may lie unread in its queue.
  virtual unique_fd release() = 0;
};

}  // namespace ph::dropin
