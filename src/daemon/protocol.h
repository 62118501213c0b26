// The control protocol between programs (the shim in them) and the daemon.
//
// One AF_UNIX SOCK_SEQPACKET connection ("channel") carries one request at a time: a request
// message, then one reply message. A process may hold several channels, so that threads and signal
// handlers do not wait for each other; a fork child opens its own. The daemon closes a channel on
// any malformed message; the shim does the same and reports ECONNRESET to its program.
//
// Only what the kernel cannot do for an anchor goes this way (docs/dropin.md): read, write, accept,
// poll, half-close, time-outs and the like are plain system calls on the anchor. A request that is
// about a socket passes the anchor itself by SCM_RIGHTS: the daemon learns the socket from the
// anchor's name (daemon/anchor_name.h), and nobody can name a socket that he does not hold.
//
// Every message is a fixed head and at most max_data bytes of data. parse_request() and
// parse_reply() are the checked readers: neither side trusts the other.
#pragma once

#include <cstddef>

#include "base/byteorder.h"

namespace ph::dropin {

inline constexpr u32 protocol_magic = 0x31446870;  ///< "phD1"
inline constexpr u16 protocol_version = 1;
/// A UDP datagram of 65,507 bytes with address and ancillary data fits.
inline constexpr std::size_t max_data = std::size_t{68} * 1024;

/// The longest tag of a datagram (daemon/datagram_tags.h).
inline constexpr std::size_t max_tag = 1280;

/// Environment: where the daemon listens ("@name" = abstract, else a path), the host of the lab
/// whose network the process uses, and the secret that a process of another user must show. Before
/// its '-' stands the number of the user whom the daemon runs as: nobody else is told it.
inline constexpr char env_socket[] = "PH_SOCKET";
inline constexpr char env_host[] = "PH_HOST";
inline constexpr char env_token[] = "PH_TOKEN";

/// What is asked. "fd" = the anchor is passed with the request. Reply result: >= 0, or -errno.
enum class request_kind : u16 {
  hello = 1,    ///< first; arg0 pid, arg1 = 1: the settling_page is wanted, and passed if there is
                ///< one; data hello_data; reply data welcome_data
  socket,       ///< arg0 domain, arg1 type with flags, arg2 protocol; reply passes the anchor
  bind,         ///< fd; data sockaddr
  connect,      ///< fd; data sockaddr (AF_UNSPEC dissolves); see flag_wait, flag_settle
  listen,       ///< fd; arg0 backlog
  shutdown,     ///< fd; arg0 how; see reply_shut_anchor
  getsockname,  ///< fd; reply data sockaddr
  getpeername,  ///< fd; reply data sockaddr
  getsockopt,   ///< fd; arg0 level, arg1 name, arg2 room; data = what the buffer held; reply data
  setsockopt,   ///< fd; arg0 level, arg1 name; data value; see reply_set_anchor
  ioctl,        ///< fd, or none (SIOCGIF* on any socket); arg0 request; data in, reply data.
                ///< SIOCGSTAMP of datagrams: behind the argument the tag of the next one at the
                ///< anchor; arg1 = 1: an error was in the way
  take_error,   ///< fd; arg0 = 1: without one the caller goes on waiting; result = the pending
                ///< error (an errno, or 0), cleared (SO_ERROR)
  sendmsg,      ///< fd; arg0 MSG_ flags; data = message_head, address, control, payload
  recvmsg,  ///< fd; arg0 MSG_ERRQUEUE or MSG_OOB and other flags, arg1 room; reply data likewise
  resolve,  ///< data = host name; reply data = sockaddrs of 16 bytes; ENOENT if unknown here
  resolve_addr,  ///< data sockaddr; reply data = host name
  interfaces,    ///< reply data = interface_record[]
  renew,         ///< fd; reply passes a new anchor for the same socket (EALREADY: none is needed)
  received,      ///< fd; what recvmsg tells of the bytes that a program read last: arg0 = 0, or how
                 ///< many it only looked at (MSG_PEEK); reply data = control_item[]
  error_flag,    ///< fd; reply passes a descriptor that polls POLLERR while the error queue of a
                 ///< stream is not empty
  await_end,     ///< data = the id (u64) of a socket that the caller has closed (SO_LINGER); reply
                 ///< when its peer has acknowledged all of it, or at once when copies are open
  read_file,     ///< arg0 offset; data = path of a file of the host's (daemon/host_sockets.h);
                 ///< result = its whole length, reply data = what follows the offset
  open_file,   ///< arg0 flags of open(2); data = such a path, to be written. From the reply on the
               ///< channel is the file: each message is what one write(2) writes
  file_error,  ///< data = sockaddr of the program's end of such a channel; result = minus the
               ///< errno of the first write that failed since this was last asked, or 0
  show_error,  ///< fd; take_error had none for a caller who does not wait, and who has looked
               ///< again: the anchor of a datagram socket shows a waiting report once more
  settle,      ///< reply when what the host's programs had sent to their own host has arrived, as
               ///< far as the stack lets it (daemon/settling.h)
  stop_waiting,  ///< has no reply of its own: the sendmsg that waits on this channel is answered
                 ///< now, with EINTR, unless it was done meanwhile
};
inline constexpr u16 first_kind = static_cast<u16>(request_kind::hello);
inline constexpr u16 last_kind = static_cast<u16>(request_kind::stop_waiting);

/// Request flag: the caller blocks. The reply comes when the operation ends (connect: handshake
/// done or failed; sendmsg: there was room). If the channel closes first, the caller was
/// interrupted or died: a connect goes on by itself, a sendmsg is given up.
inline constexpr u32 flag_wait = 1;
/// Request flag of connect: no new one; an interrupted blocking connect is to be shown by the
/// anchor from now on. Result: how it ended, or EINPROGRESS.
inline constexpr u32 flag_settle = 2;
/// Reply flag: the anchor is used up (an AF_UNIX stream connects once, a TCP socket may again): the
/// shim asks `renew` and puts the new anchor in place of the old one. With EAGAIN nothing was done:
/// ask again on the new one.
inline constexpr u32 reply_renew = 1;
/// Reply flag of shutdown: the shim shuts the anchor down in the kernel.
inline constexpr u32 reply_shut_anchor = 2;
/// Reply flag of setsockopt: AF_UNIX acts on the option, too, so the shim sets the anchor_option in
/// the data (of a datagram socket: daemon/received_choice.h). The daemon cannot: setsockopt() waits
/// for whoever holds the socket's lock, and its program can hold that for as long as it likes.
inline constexpr u32 reply_set_anchor = 4;
/// connect, or sendmsg(MSG_FASTOPEN): the peer is the host itself (daemon/settling_page.h).
inline constexpr u32 reply_goes_home = 8;

/// An option of level SOL_SOCKET: `len` bytes of `value`.
struct anchor_option {
  s32 name = 0;
  u32 len = 0;
  s32 value[2] = {};
};
static_assert(sizeof(anchor_option) == 16);

struct request_head {
  u32 magic = protocol_magic;
  u16 version = protocol_version;
  u16 kind = 0;
  u32 sequence = 0;
  u32 flags = 0;
  s32 arg[3] = {};
  u32 data_len = 0;
};
static_assert(sizeof(request_head) == 32);

struct reply_head {
  u32 magic = protocol_magic;
  u16 version = protocol_version;
  u16 kind = 0;
  u32 sequence = 0;  ///< of the request
  u32 flags = 0;
  s32 result = 0;  ///< >= 0, or -errno
  u32 data_len = 0;
};
static_assert(sizeof(reply_head) == 24);

inline constexpr std::size_t max_message = sizeof(request_head) + max_data;

struct hello_data {
  char host[64] = {};   ///< zero-terminated; empty = the daemon's default host
  char token[64] = {};  ///< zero-terminated
};

struct welcome_data {
  u64 instance = 0;     ///< in every anchor name of this daemon
  char token[64] = {};  ///< as hello_data; who did not tell it knows by this who it speaks to
};

/// Before address, control and payload of sendmsg and recvmsg.
struct message_head {
  u16 name_len = 0;
  u16 flags = 0;  ///< recvmsg reply: msg_flags
  u32 control_len = 0;
  u32 payload_len = 0;
};
static_assert(sizeof(message_head) == 12);

/// One ancillary value: this head, then `len` bytes, no padding.
struct control_item {
  u32 level = 0;
  u32 type = 0;
  u32 len = 0;
};

/// One address of an interface (an interface without an address: family 0).
struct interface_record {
  char name[16] = {};
  u32 index = 0;
  u32 flags = 0;  ///< IFF_
  u32 mtu = 0;
  u16 family = 0;
  u16 hardware_type = 0;  ///< ARPHRD_
  u8 hardware_addr[8] = {};
  u8 prefix_len = 0;
  u8 hardware_addr_len = 0;
  u8 reserved[2] = {};
  u8 address[16] = {};
  u8 broadcast[16] = {};
};
static_assert(sizeof(interface_record) == 76);

/// A checked message: the head is a copy, `data` points into the received buffer.
struct request {
  request_head head;
  const u8* data = nullptr;
};
struct reply {
  reply_head head;
  const u8* data = nullptr;
};

/// False unless `len` bytes are exactly one well-formed message.
bool parse_request(const void* bytes, std::size_t len, request& out);
bool parse_reply(const void* bytes, std::size_t len, reply& out);

/// The parts of the data of sendmsg and recvmsg, pointing into it.
struct message_parts {
  const u8* name = nullptr;
  const u8* control = nullptr;
  const u8* payload = nullptr;
  message_head head;
};
bool parse_message(const u8* data, std::size_t len, message_parts& out);

/// Walks control items. False at the end or at damage.
struct control_walk {
  const u8* at = nullptr;
  std::size_t left = 0;
  bool next(control_item& item, const u8*& value);
};

}  // namespace ph::dropin
