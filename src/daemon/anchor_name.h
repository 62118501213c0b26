// The AF_UNIX names of anchors, which say what a descriptor is without asking the daemon.
//
// An anchor is the AF_UNIX socket that stands in a program for one of our sockets. The kernel keeps
// its name and that of its peer for as long as the open file description lives, across dup, fork,
// exec and SCM_RIGHTS, so the names are the identity of the socket and carry its addresses:
//
//   anchor   the program's end, named by the daemon when it makes it (an accepted anchor has the
//            name of its listener, and a peer of kind stream)
//   link     the peer of an anchor that connected: the daemon's meeting place, the same for all
//   stream   the peer of an accepted anchor: carries the local and the remote address, and whether
//            the remote one is the host's own
//   refusal  the peer of what accept() gets when there is no descriptor for a connection: ENFILE
//   pair     the peer of a datagram anchor, with the anchor's id
//   tombstone the sender of the last message, sent when the daemon has died
//
// What can be reached by its name would be within everybody's reach: anchor and link are the names
// of files that are unlinked as soon as they are bound, "/proc/self/fd/N/ph1a...", so only
// who holds an O_PATH descriptor of the file can connect or send to it (daemon/anchor.h). The text
// after the last slash is "ph1", the kind and, in base64url (RFC 4648 §5), what follows below.
// stream, refusal, pair and tombstone hear nobody but their peers: their names are abstract, with a
// random id, so that nobody can take one before the daemon does.
//
// Layout of an abstract name: a zero byte, "ph1", kind, instance, id, domain, type, protocol, body;
// integers little-endian. docs/dropin.md tells why.
#pragma once

#include <cstddef>

#include "base/byteorder.h"

namespace ph::dropin {

/// Longest name in sockaddr_un::sun_path.
inline constexpr std::size_t max_name_len = 108;
/// Longest socket address that a name can carry (sockaddr_in6).
inline constexpr std::size_t max_name_addr_len = 28;

enum class name_kind : u8 {
  anchor = 'a',
  stream = 'd',
  link = 'l',
  pair = 'p',
  refusal = 'r',
  tombstone = 'x',
};

/// True when the name is that of an unlinked file, not an abstract one.
constexpr bool is_file_name(name_kind kind) {
  return kind == name_kind::anchor || kind == name_kind::link;
}

/// A Linux socket address as bytes.
struct name_addr {
  u8 len = 0;
  u8 bytes[max_name_addr_len] = {};
};

/// A decoded name.
struct anchor_name {
  name_kind kind = name_kind::anchor;
  u64 instance = 0;  ///< of the daemon: random, chosen at its start
  u64 id = 0;        ///< of the socket in that daemon; of a tombstone: a random one
  u8 domain = 0;     ///< AF_INET ...
  u8 type = 0;       ///< SOCK_STREAM ... without flags
  u16 protocol = 0;
  name_addr local;   ///< stream
  name_addr remote;  ///< stream: the peer
  bool home = false;  ///< stream: the peer is the host itself
};

/// Writes the name: all of sun_path when it is abstract, otherwise the file's name without its
/// folder. Returns its length, or 0 when it does not fit.
std::size_t encode_name(const anchor_name& name, u8 (&sun_path)[max_name_len]);

/// Reads `len` bytes of sun_path. False when they are not one of our names (or a damaged one).
/// Whoever could have made the name himself proves nothing by it: see daemon/anchor.h.
bool decode_name(const u8* sun_path, std::size_t len, anchor_name& out);

/// What the shim writes into an anchor that it has accepted, before the program writes anything:
/// the daemon keeps its last byte unread, so that it can reset the connection (docs/dropin.md,
/// "Reset"). `end`: the name of the daemon's end.
inline constexpr std::size_t cookie_len = 16;
void accept_cookie(const anchor_name& end, u8 (&out)[cookie_len]);

}  // namespace ph::dropin
