// What the kernel does for anchors, one call each: making, connecting, offering accepted
// connections, and telling the last close; pairs of datagram sockets are in datagram_end.h.
// Everything is non-blocking. docs/dropin.md tells what each relies on; nothing here knows a stack.
//
// An anchor can only be reached by an O_PATH descriptor of the file that its name was bound to: the
// daemon opens it at once and unlinks the file. `reach` in what follows is such a descriptor.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "daemon/anchor_name.h"
#include "platform/unique_fd.h"

namespace ph::dropin {

/// A new anchor: its descriptor for the program, and what the daemon keeps of it.
struct made_anchor {
  unique_fd fd;
  unique_fd reach;
  u64 cookie = 0;  ///< SO_COOKIE: what identifies it, in whatever process it comes back from
};

/// What the daemon holds of a connected stream anchor.
struct stream_end {
  unique_fd fd;
  std::size_t filler = 0;  ///< unread bytes in fd's queue that are not the program's
};

/// The folder in which anchors get their names, which only this user can enter and which is empty
/// but for moments; and the place where stream anchors meet the daemon.
class anchor_folder {
 public:
  /// What the folder's name begins with, in one of its parents.
  static constexpr std::string_view prefix = "posthaste-anchors-";
  /// /dev/shm, $XDG_RUNTIME_DIR and /tmp, as far as there are such.
  static std::vector<std::string> parents();
  /// In the first parent that lets us. The folder is locked (flock) while somebody has it. Errors:
  /// none lets us.
  static result<anchor_folder> create(u64 instance);
  anchor_folder(anchor_folder&&) = default;
  anchor_folder& operator=(anchor_folder&&) = delete;
  /// Removes the folder.
  ~anchor_folder();

  /// A new anchor with its name. nonblocking: O_NONBLOCK of its open file. Errors: nfile.
  [[nodiscard]] result<made_anchor> make_anchor(const anchor_name& name, bool nonblocking) const;

  /// Connects a fresh stream anchor to a new end. With `hold`, fills the anchor's send buffer so
  /// that it is not writable until the filler is read.
  [[nodiscard]] result<stream_end> link_stream(int anchor, bool hold) const;

  /// Offers a connection from an end called `name` to a listening anchor: the next accept() there
  /// returns its other end. Errors: again (its queue is full), addrinuse (the end's name is taken:
  /// another id will do), connrefused (the anchor is gone), nfile.
  [[nodiscard]] result<unique_fd> offer_stream(int reach, const anchor_name& name) const;
  /// Has the next accept() on a listening anchor fail: the shim sees by `name`, of kind refusal,
  /// what it got. Until that one is closed, nothing comes from the end returned here. Errors: those
  /// of offer_stream.
  [[nodiscard]] result<unique_fd> offer_refusal(int reach, const anchor_name& name) const;

  /// True when only a reserve of descriptors is left, which is for the control socket and for what
  /// programs pass: new channels must wait. Sockets have stopped a little before, so that there is
  /// a channel on which to say so.
  [[nodiscard]] bool crowded() const;
  /// So many channels fit between the last socket and the reserve.
  [[nodiscard]] std::size_t channel_room() const;
  /// Descriptors that sockets may still take.
  [[nodiscard]] std::size_t socket_room() const;

  /// The folder's path.
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  anchor_folder() = default;
  static result<anchor_folder> create_in(const std::string& parent);
  [[nodiscard]] result<void> open_meeting(u64 instance);
  /// Binds `socket` to a name in the folder; returns its reach.
  [[nodiscard]] result<unique_fd> bind(int socket, const anchor_name& name) const;
  /// A descriptor that was just made, unless it is one of the reserve.
  [[nodiscard]] result<unique_fd> unless_crowded(unique_fd fd) const;

  std::string path_;
  unique_fd folder_;
  unique_fd meeting_;  ///< listens; stream anchors connect to it and are accepted at once
  unique_fd meeting_reach_;
  int sockets_to_ = 0;    ///< no socket has a descriptor with this number or above
  int reserve_from_ = 0;  ///< descriptors with this number and above are the reserve
};

/// What a descriptor that a program passed is.
struct passed_anchor {
  anchor_name name;       ///< of an accepted one: its peer's
  bool accepted = false;  ///< the daemon itself connected its peer: proved by SO_PEERCRED
  u64 cookie = 0;         ///< otherwise the name is only a claim: compare made_anchor::cookie
};
/// Errors: badf, when it is no anchor. Never blocks, whatever the descriptor is.
result<passed_anchor> identify_anchor(int fd);

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
  const std::vector<u64>& closed(bool& overflow);

 private:
  unique_fd inotify_;
  std::map<int, u64> ids_;  // by watch descriptor
  std::vector<u64> closed_;    // the answer of closed(), with room for all
};

/// True when the anchor is still open somewhere (any type).
bool anchor_alive(int reach);

/// Whether others may put descriptors (SCM_RIGHTS) into this AF_UNIX socket's queue: they would
/// stay open with it, and their close could block. What it accepts is born with its setting. False
/// when the kernel is older than 6.16 and lets them always.
bool take_descriptors(int fd, bool on);

/// Says the last word of a daemon to all who wait at a stream anchor without a peer, under names
/// of kind tombstone: as many connections as a listener's queue takes. `anchor`: its name. False
/// when it cannot be said.
bool leave_tombstones(int reach, const anchor_name& anchor);
/// The last word is said so often, with a moment between: an error at a datagram anchor, or a
/// connection at a listener with a short queue, is seen by one of those who wait there.
inline constexpr int last_word_rounds = 8;
inline constexpr unsigned last_word_pause_us = 2000;

/// A random number that nobody can guess.
u64 random_u64();

}  // namespace ph::dropin
