// What the kernel does for anchors, one call each: making, connecting, pairing, offering accepted
// connections, sending datagrams from named sources, resetting, and telling the last close.
// Everything is non-blocking. docs/dropin.md tells what each relies on; nothing here knows a stack.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "daemon/anchor_name.h"
#include "platform/unique_fd.h"

namespace ph::dropin {

/// A new anchor with its name, for the program. nonblocking: O_NONBLOCK of its open file.
result<unique_fd> make_anchor(const anchor_name& name, bool nonblocking);

/// The anchor's name, read from the socket itself; for an accepted one that of its peer's socket.
/// Errors: badf, when it is not an anchor.
result<anchor_name> identify_anchor(int fd);

/// What the daemon holds of a connected stream anchor.
struct stream_end {
  unique_fd fd;
  std::size_t filler = 0;  ///< unread bytes in fd's queue that are not the program's
};
/// Connects a fresh stream anchor to a new end called `name`. With `hold`, fills the anchor's send
/// buffer so that it is not writable until the filler is read.
result<stream_end> link_stream(int anchor, const anchor_name& name, bool hold);

/// Offers a connection to a listening anchor: the next accept() there returns its other end.
/// Errors: again (its queue is full), connrefused (the anchor is gone).
result<unique_fd> offer_stream(const anchor_name& listener, const anchor_name& name);

/// Pairs a datagram anchor with a new end called `name`; plain sends of the program arrive there.
result<unique_fd> pair_datagram(int anchor, const anchor_name& anchor_name,
                                const struct anchor_name& name);
/// Dissolves a datagram anchor's side of a pair.
void unpair_datagram(int anchor);
/// Makes the paired anchor report ECONNRESET once. `own` and `anchor`: the pair's names.
void signal_error(int end, const anchor_name& own, const anchor_name& anchor);

/// Sends datagrams to anchors from sockets whose names are their sources; keeps the last used.
class source_senders {
 public:
  explicit source_senders(std::size_t most = 128) : most_(most) {}
  /// Errors: again (the anchor's queue is full), connrefused (gone), perm (it is paired).
  result<void> send(const anchor_name& to, const anchor_name& source, byte_view payload);

 private:
  struct sender {
    unique_fd fd;
    u64 used = 0;
  };
  result<int> find(const anchor_name& source);
  std::map<std::string, sender> senders_;
  std::size_t most_;
  u64 clock_ = 0;
};

/// A datagram socket connected to an anchor, to be polled for room (POLLOUT) in its queue.
result<unique_fd> watch_room(const anchor_name& anchor);

/// Tells when the last copy of an open file is closed, in whatever process.
class last_close_watch {
 public:
  last_close_watch();
  /// Readable when there is something for closed().
  [[nodiscard]] int fd() const { return inotify_.get(); }
  [[nodiscard]] bool works() const { return static_cast<bool>(inotify_); }
  /// Watches the open file behind `fd` under `id`. Errors: nospc (fs.inotify.max_user_watches).
  result<void> add(int fd, u64 id);
  /// The ids closed since the last call. overflow: some were missed.
  std::vector<u64> closed(bool& overflow);

 private:
  unique_fd inotify_;
  std::map<int, u64> ids_;  // by watch descriptor
};

/// True when an anchor with this name is alive (any type).
bool anchor_alive(const anchor_name& name);

}  // namespace ph::dropin
