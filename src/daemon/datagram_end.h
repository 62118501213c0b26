// The daemon's end of a datagram anchor: its only peer from birth to last close.
//
// The kernel lets nobody but its peer send to a connected AF_UNIX datagram socket, keeps its queue
// and a pending error as long as the peer stays the same, and lets a pair queue as much as the
// sender's buffer takes. So an anchor is connected once, to its end, before the program gets it,
// and never again; it is the *end* that connects elsewhere when plain sends are to be refused.
// docs/dropin.md, "Datagrams", tells what each call relies on. Nothing here knows a stack.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include "base/bytes.h"
#include "base/result.h"
#include "daemon/anchor_name.h"
#include "platform/unique_fd.h"

namespace ph::dropin {

/// The address of an AF_UNIX socket.
struct unix_name {
  sockaddr_un sun{};
  socklen_t len = 0;
};

/// A socket that ends are connected to while the programs' plain sends are refused.
class closed_door {
 public:
  closed_door();
  [[nodiscard]] const unix_name& name() const { return name_; }

 private:
  unique_fd fd_;
  unix_name name_;
};

class datagram_end {
 public:
  datagram_end() = default;
  /// Makes an end called `name` and pairs it with a fresh anchor, reached by `reach`, which stays
  /// open as long as the end; so does `door`. The anchor's plain sends are refused until open().
  /// Errors: mfile and the like, addrinuse.
  static result<datagram_end> create(int anchor, int reach, const anchor_name& name,
                                     const closed_door& door);

  [[nodiscard]] int fd() const { return fd_.get(); }
  explicit operator bool() const { return static_cast<bool>(fd_); }

  /// Lets the program's plain sends arrive here, or has the kernel refuse them with EPERM. What
  /// waits here is lost: receive it first.
  void open(bool on);

  /// What the kernel lets wait for the program at most, in bytes of memory.
  void set_limit(u32 bytes);
  /// Gives a datagram to the program; the descriptor `tag` goes with it. Errors: again (no room),
  /// nobufs, toomanyrefs and the like (not now), connrefused (the anchor is gone).
  result<void> give(byte_view payload, int tag);
  /// Memory of what the program has not read yet.
  [[nodiscard]] u32 waiting() const;

  /// A datagram that the program sent plainly; its length may be greater than that of `into`, which
  /// then holds its beginning. Errors: again.
  result<std::size_t> receive(byte_span into);

  /// Makes the anchor report ECONNRESET once (poll: POLLERR). What waits here is lost: receive it
  /// first.
  void show_error();

 private:
  unique_fd fd_;
  unix_name anchor_;
  const closed_door* door_ = nullptr;
  bool open_ = false;
};

/// Makes the anchor that is reached by `reach` report ECONNRESET once; its end has no peer then.
void cut_pair(int end, int reach);

/// Clears the pending error of an anchor; the errno, or 0.
int take_anchor_error(int anchor);

}  // namespace ph::dropin
