// setsockopt and getsockopt. The daemon's socket has most options; the anchor's kernel socket keeps
// those that the kernel acts on.
#include <linux/filter.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>

#include "calls/anchor.h"
#include "calls/exchange.h"
#include "calls/kernel.h"
#include "calls/scratch.h"
#include "calls/sockets.h"

namespace ph::calls {
namespace {

using dropin::request_kind;

constexpr int tcp_inq = 36;  // TCP_INQ of <linux/tcp.h>, which glibc's headers do not suffer beside

/// Options that the kernel keeps on the anchor because the kernel acts on them.
bool is_kernels_option(int level, int name) {
  if (level != SOL_SOCKET) return false;
  switch (name) {
    case SO_RCVTIMEO_OLD:
    case SO_SNDTIMEO_OLD:
    case SO_RCVTIMEO_NEW:
    case SO_SNDTIMEO_NEW:
    case SO_PEEK_OFF: return true;
    default: return false;
  }
}

/// What must be looked at from now on, when the program sets this option of a stream.
void prepare_for_option(caller& c, int level, int name) {
  if (level == IPPROTO_TCP && name == tcp_inq) return c.expect(habit::stream_control);
  if (level != SOL_SOCKET) return;
  switch (name) {
    case SO_RCVLOWAT: return c.expect(habit::lowat);
    case SO_TIMESTAMP_OLD:
    case SO_TIMESTAMPNS_OLD:
    case SO_TIMESTAMPING_OLD:
    case SO_TIMESTAMP_NEW:
    case SO_TIMESTAMPNS_NEW:
    case SO_TIMESTAMPING_NEW: return c.expect(habit::stream_control);
    default: return;
  }
}

/// Options that let something wait in a stream's error queue.
bool fills_error_queue(int level, int name) {
  if (level == IPPROTO_IP) return name == IP_RECVERR;
  if (level != SOL_SOCKET) return false;
  return name == SO_ZEROCOPY || name == SO_TIMESTAMPING_OLD || name == SO_TIMESTAMPING_NEW;
}

/// Asks the daemon to set an option to what lies in the program's memory; and sets the anchor's,
/// when its kernel socket acts on it, too.
int set_option(caller& c, const anchor& a, int level, int name, const piece& value) {
  dropin::anchor_option told;
  exchange x;
  x.kind = request_kind::setsockopt;
  x.fd = a.fd;
  x.arg[0] = level;
  x.arg[1] = name;
  x.payload = &value;
  x.payload_pieces = value.len != 0 ? 1 : 0;
  x.out = &told;
  x.out_room = sizeof told;
  const int result = c.ask(x);
  const bool whole = x.out_len == sizeof told && told.len <= sizeof told.value;
  if ((x.reply_flags & dropin::reply_set_anchor) != 0 && whole) {
    kernel::setsockopt(c, a.fd, SOL_SOCKET, told.name, told.value, told.len);
  }
  return result;
}

/// The value of these options points to a program: the daemon gets its instructions.
int attach_program(caller& c, const anchor& a, int name, u64 value, u32 len) {
  sock_fprog program;
  if (len != sizeof program) return -EINVAL;
  if (!c.read(value, &program, sizeof program)) return -EFAULT;
  if (program.len == 0 || program.len > BPF_MAXINSNS) return -EINVAL;
  const piece code{reinterpret_cast<std::uintptr_t>(program.filter),
                   program.len * sizeof(sock_filter)};
  return set_option(c, a, SOL_SOCKET, name, code);
}

/// SO_GET_FILTER: lengths are numbers of instructions, and 0 only asks for how many there are.
int give_program(caller& c, const anchor& a, u64 value, u32& len) {
  std::size_t bytes = BPF_MAXINSNS * sizeof(sock_filter);
  scratch all;
  u8* const own = all.take(bytes);
  if (own == nullptr) return -ENOMEM;
  const int result = ask_for(c, a.fd, request_kind::getsockopt, SOL_SOCKET, SO_GET_FILTER,
                             static_cast<s32>(bytes), own, 0, own, &bytes);
  if (result < 0) return result;
  const auto count = static_cast<u32>(bytes / sizeof(sock_filter));
  const u32 room = len;
  if (room != 0 && room < count) return -EINVAL;
  len = count;
  return room == 0 || c.write(value, own, bytes) ? 0 : -EFAULT;
}

int give_int(caller& c, int value, u64 to, u32& len) {
  if (len > sizeof value) len = sizeof value;
  return c.write(to, &value, len) ? 0 : -EFAULT;
}

/// SO_ERROR: the anchor's own error says that there is one, the daemon knows which, and whether
/// another call (a second connect()) has told it before.
int pending_error(caller& c, const anchor& a) {
  int error = 0;
  socklen_t len = sizeof error;
  kernel::getsockopt(c, a.fd, SOL_SOCKET, SO_ERROR, &error, len);
  if (error != 0) {
    const int told = ask_about(c, a.fd, request_kind::take_error);
    return told >= 0 ? told : ECONNRESET;
  }
  anchor seen = a;
  if (a.stream()) look_at_peer(c, seen);
  if (seen.linked) return 0;
  const int asked = ask_about(c, a.fd, request_kind::take_error);
  return asked > 0 ? asked : 0;
}

/// SO_OOBINLINE of a stream is its anchor's.
int give_in_line(caller& c, const anchor& a, u64 to, u32& len) {
  int value = 0;
  socklen_t room = sizeof value;
  const int error = kernel::getsockopt(c, a.fd, SOL_SOCKET, SO_OOBINLINE, &value, room);
  return error != 0 ? error : give_int(c, value, to, len);
}

/// An option of the daemon's, by way of memory of ours. What the buffer holds beyond stays.
int give_asked(caller& c, const anchor& a, int level, int name, u64 value, u32& len) {
  // No option is longer than a message can be.
  std::size_t room = len < dropin::max_data ? len : dropin::max_data;
  u8 few[256];
  scratch many;
  u8* const own = room <= sizeof few ? few : many.take(room);
  if (own == nullptr) return -ENOMEM;
  // Some options read the buffer first; a program may say more room than it has.
  const std::size_t before = c.read(value, own, room) ? room : 0;
  const int result = ask_for(c, a.fd, request_kind::getsockopt, level, name, static_cast<s32>(room),
                             own, before, own, &room);
  if (result < 0) return result;
  if (!c.write(value, own, room)) return -EFAULT;
  len = static_cast<u32>(room);
  return result;
}

int get_option(caller& c, const anchor& a, int level, int name, u64 value, u32& len) {
  if (level == SOL_SOCKET) {
    switch (name) {
      case SO_DOMAIN: return give_int(c, a.name.domain, value, len);
      case SO_TYPE: return give_int(c, a.name.type, value, len);
      case SO_PROTOCOL: return give_int(c, a.name.protocol, value, len);
      case SO_ERROR: return give_int(c, pending_error(c, a), value, len);
      case SO_OOBINLINE:
        if (a.stream()) return give_in_line(c, a, value, len);
        break;
      case SO_GET_FILTER: return give_program(c, a, value, len);
      default: break;
    }
  }
  return give_asked(c, a, level, name, value, len);
}

}  // namespace

long do_setsockopt(caller& c, int number, int level, int name, u64 value, u32 len) {
  anchor a;
  if (is_kernels_option(level, name) || !find_anchor(c, number, a)) return not_ours;
  if (static_cast<int>(len) < 0) return -EINVAL;
  if (value == 0 && len != 0) return -EFAULT;
  if (len > dropin::max_data) return -EINVAL;
  if (level == SOL_SOCKET && (name == SO_ATTACH_FILTER || name == SO_ATTACH_REUSEPORT_CBPF)) {
    return attach_program(c, a, name, value, len);
  }
  if (a.stream()) prepare_for_option(c, level, name);
  const int result = set_option(c, a, level, name, {value, len});
  if (result >= 0 && a.stream() && fills_error_queue(level, name)) c.follow_errors(a.fd);
  return result;
}

long do_getsockopt(caller& c, int number, int level, int name, u64 value, u64 len_at) {
  anchor a;
  if (is_kernels_option(level, name) || !find_anchor(c, number, a)) return not_ours;
  u32 room;
  if (!c.read(len_at, &room, sizeof room)) return -EFAULT;
  if (static_cast<int>(room) < 0) return -EINVAL;
  const int result = get_option(c, a, level, name, value, room);
  if (result < 0) return result;
  return c.write(len_at, &room, sizeof room) ? 0 : -EFAULT;
}

}  // namespace ph::calls
