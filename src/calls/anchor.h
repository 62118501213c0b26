// What a descriptor is, asked of the kernel each time: the name of an anchor tells everything, so
// there is no table of descriptors that could be wrong. And the small requests about one.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "calls/caller.h"
#include "daemon/anchor_name.h"
#include "daemon/protocol.h"

namespace ph::calls {

/// A descriptor that is one of our sockets.
struct anchor {
  int fd = -1;               ///< held (calls/caller.h)
  dropin::anchor_name name;  ///< its own name (an accepted one: its listener's)
  dropin::anchor_name peer;  ///< of the daemon's end, when `linked`
  bool linked = false;       ///< connected, or connecting, with the daemon's end
  [[nodiscard]] bool stream() const { return name.type == SOCK_STREAM; }
  /// UDP or UDP-Lite, of which the kernel may take plain sends.
  [[nodiscard]] bool udp() const {
    return name.type == SOCK_DGRAM && name.protocol != IPPROTO_ICMP;
  }
  /// A connection that came through accept().
  [[nodiscard]] bool accepted() const { return linked && peer.kind == dropin::name_kind::stream; }
};

/// True when the program's number is an anchor; holds it and fills in its name.
bool find_anchor(caller& c, int number, anchor& out);
/// Also looks at the peer (one more system call).
void look_at_peer(caller& c, anchor& a);

/// True when both directions of an anchor are over.
bool hung_up(caller& c, int held);

/// The name in an AF_UNIX address that the kernel returned. False when it is not one of ours.
bool decode_address(const void* address, socklen_t len, dropin::anchor_name& out);

/// Copies an address to a program's buffer as the kernel does: cut to the length at `len_at`, which
/// becomes the full one. Returns 0 or -errno (a bad pointer or length).
int give_address(caller& c, const void* from, std::size_t from_len, u64 to, u64 len_at);

/// Asks the daemon about the socket behind a held descriptor, with up to three numbers. Returns
/// -errno or the result.
int ask_about(caller& c, int held, dropin::request_kind kind, s32 first = 0, s32 second = 0,
              s32 third = 0);
/// The same with one piece of data, and copies the reply's: *out_len bytes of room, then what was
/// there. Both in our memory.
int ask_for(caller& c, int held, dropin::request_kind kind, s32 first, s32 second, s32 third,
            const void* data, std::size_t len, void* out, std::size_t* out_len);

/// What an anchor's ECONNRESET means: the daemon's pending error, or ECONNRESET.
int true_error(caller& c, int held);

}  // namespace ph::calls
