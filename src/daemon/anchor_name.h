// The abstract AF_UNIX names of anchors, which say what a descriptor is without asking the daemon.
//
// An anchor is the AF_UNIX socket that stands in a program for one of our sockets. The kernel keeps
// its name and that of its peer for as long as the open file description lives, across dup, fork,
// exec and SCM_RIGHTS, so the names are the identity of the socket and carry its addresses:
//
//   anchor   the program's end, named by the daemon when it makes it (an accepted anchor has the
//            name of its listener: identity() below prefers the peer's)
//   stream   the daemon's end of a connection: carries the local and the remote address
//   source   the socket from which the daemon sends a received datagram to an anchor: carries the
//            source address and the ancillary values of that datagram
//   tombstone the sender of the last message, sent when the daemon has died
//
// Layout after the leading zero byte: "ph1", kind, instance, id, domain, type, protocol, body;
// integers little-endian. docs/dropin.md tells why.
#pragma once

#include <cstddef>

#include "base/byteorder.h"

namespace ph::dropin {

/// Longest abstract name in sockaddr_un::sun_path, the leading zero included.
inline constexpr std::size_t max_name_len = 108;
/// Longest socket address that a name can carry (sockaddr_in6).
inline constexpr std::size_t max_name_addr_len = 28;

enum class name_kind : u8 { anchor = 'a', stream = 'd', source = 's', tombstone = 'x' };

/// A Linux socket address as bytes.
struct name_addr {
  u8 len = 0;
  u8 bytes[max_name_addr_len] = {};
};

/// A decoded name.
struct anchor_name {
  name_kind kind = name_kind::anchor;
  u64 instance = 0;  ///< of the daemon: random, chosen at its start
  u64 id = 0;        ///< of the socket in that daemon, never used twice
  u8 domain = 0;     ///< AF_INET ...
  u8 type = 0;       ///< SOCK_STREAM ... without flags
  u16 protocol = 0;
  name_addr local;   ///< stream
  name_addr remote;  ///< stream: the peer; source: where the datagram came from
  u8 control_len = 0;
  u8 control[48] = {};  ///< source: ancillary values, see control_reader
};

/// Writes the name as sun_path bytes. Returns its length, or 0 when it does not fit.
std::size_t encode_name(const anchor_name& name, u8 (&sun_path)[max_name_len]);

/// Reads `len` bytes of sun_path. False when they are not one of our names (or a damaged one).
bool decode_name(const u8* sun_path, std::size_t len, anchor_name& out);

/// One ancillary value (a cmsg) of a received datagram.
struct control_value {
  u16 level = 0;
  u16 type = 0;
  u8 len = 0;
  const u8* data = nullptr;
};

/// Appends a value to name.control. False when there is no room.
bool add_control(anchor_name& name, u16 level, u16 type, const void* data, std::size_t len);

/// Walks name.control, stopping at damage.
class control_reader {
 public:
  explicit control_reader(const anchor_name& name) : name_(name) {}
  bool next(control_value& out);

 private:
  const anchor_name& name_;
  std::size_t at_ = 0;
};

/// What the shim writes into an anchor that it has accepted, before the program writes anything:
/// the daemon keeps its last byte unread, so that it can reset the connection (docs/dropin.md,
/// "Reset"). `end`: the name of the daemon's end.
inline constexpr std::size_t cookie_len = 16;
void accept_cookie(const anchor_name& end, u8 (&out)[cookie_len]);

}  // namespace ph::dropin
