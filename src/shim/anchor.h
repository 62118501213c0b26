// What a descriptor is, asked of the kernel each time: the name of an anchor tells everything, so
// there is no table of descriptors that could be wrong.
#pragma once

#include <sys/socket.h>
#include <sys/un.h>

#include "daemon/anchor_name.h"
#include "daemon/protocol.h"

namespace ph::shim {

/// A descriptor that is one of our sockets.
struct anchor {
  dropin::anchor_name name;  ///< its own name (an accepted one: its listener's)
  dropin::anchor_name peer;  ///< of the daemon's end, when `linked`
  bool linked = false;       ///< connected, or connecting, with the daemon's end
  [[nodiscard]] bool stream() const { return name.type == SOCK_STREAM; }
  /// A connection that came through accept().
  [[nodiscard]] bool accepted() const { return linked && peer.kind == dropin::name_kind::stream; }
};

/// True when fd is an anchor; fills its name. Leaves errno alone.
bool is_anchor(int fd, anchor& out);
/// Also looks at the peer (one more system call).
void look_at_peer(int fd, anchor& a);

/// Gives a stream's anchor the options that another one's kernel socket has of ours.
void copy_anchor_options(int from, int to);

/// The name in an AF_UNIX address that the kernel returned. False when it is not one of ours.
bool decode_address(const void* address, socklen_t len, dropin::anchor_name& out);

/// Copies an address to a program's buffer as the kernel does: cut to *len, *len = the full length.
/// Returns 0 or -errno (a bad pointer or length). `socket`: any socket.
int give_address(int socket, const void* from, std::size_t from_len, sockaddr* to, socklen_t* len);

/// Asks the daemon about the socket behind `fd`, with up to three numbers and one piece of data.
/// Returns -errno or the result.
int ask_about(int fd, dropin::request_kind kind, s32 a = 0, s32 b = 0, s32 c = 0,
              const void* data = nullptr, std::size_t len = 0);
/// The same, and copies the reply's data: *out_len bytes of room, then what was there.
int ask_for(int fd, dropin::request_kind kind, s32 a, s32 b, s32 c, const void* data,
            std::size_t len, void* out, std::size_t* out_len);

/// Returns -errno as libc does: sets errno and gives -1; other values pass.
int finish(int result);

/// What an anchor's ECONNRESET means: the daemon's pending error, or ECONNRESET.
int true_error(int fd);

}  // namespace ph::shim
