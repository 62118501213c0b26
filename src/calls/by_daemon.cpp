// Packing a program's messages for the daemon, and unpacking what it delivers.
#include "calls/by_daemon.h"

#include <cerrno>

#include "calls/exchange.h"
#include "calls/kernel.h"

namespace ph::calls {
namespace {

using dropin::control_item;
using dropin::message_head;
using dropin::request_kind;

bool any_item(int, int) { return true; }

/// Asks; a caller that may block then waits for room as SO_SNDTIMEO allows. Who connects by
/// MSG_FASTOPEN waits from the start, for the handshake.
int ask_patiently(caller& c, const anchor& a, int flags, exchange& x) {
  const bool connects = (flags & MSG_FASTOPEN) != 0 && kernel::may_block(c, a.fd, flags);
  if (!connects) {
    const int result = c.ask(x);
    if (result != -EAGAIN || !kernel::may_block(c, a.fd, flags)) return result;
  }
  x.flags = dropin::flag_wait;
  x.timeout_us = kernel::timeout_of(c, a.fd, SO_SNDTIMEO);
  return c.ask(x);
}

/// Gives the program what came beside the bytes. 0, or -EFAULT.
int give_parts(caller& c, const dropin::message_parts& parts, message& m) {
  if (m.name != 0) {
    const u32 len = parts.head.name_len;
    if (!c.write(m.name, parts.name, m.name_len < len ? m.name_len : len)) return -EFAULT;
    m.name_len = len;
  }
  control_writer out(c, m);
  dropin::control_walk walk{parts.control, parts.head.control_len};
  control_item item;
  const u8* value = nullptr;
  while (walk.next(item, value)) {
    out.append(static_cast<int>(item.level), static_cast<int>(item.type), value, item.len);
  }
  out.finish();
  return 0;
}

}  // namespace

long send_by_daemon(caller& c, const anchor& a, const message& m, int flags) {
  piece_list bytes;
  if (const int error = bytes.read(c, m.bytes); error != 0) return error;
  const std::size_t total = bytes.total();
  // Packed, control data are shorter than as they are; few have more than fit onto a small stack.
  constexpr std::size_t most_control = 1024;
  u8 few[128];
  scratch many;
  const bool fits = m.control_len <= sizeof few;
  u8* const control = fits ? few : many.take(most_control);
  if (control == nullptr) return -ENOMEM;
  const long control_len = pack_control(c, m, any_item, control, fits ? sizeof few : most_control);
  if (control_len < 0) return control_len;
  message_head head;
  if (sizeof head + m.name_len + static_cast<std::size_t>(control_len) + total > dropin::max_data) {
    return -EMSGSIZE;
  }
  u8 name[sizeof(sockaddr_storage)];
  if (!c.read(m.name, name, m.name_len)) return -EFAULT;
  head.name_len = static_cast<u16>(m.name_len);
  head.control_len = static_cast<u32>(control_len);
  head.payload_len = static_cast<u32>(total);
  iovec data[4] = {{&head, sizeof head},
                   {name, m.name_len},
                   {control, static_cast<std::size_t>(control_len)},
                   {}};
  exchange x;
  x.kind = request_kind::sendmsg;
  x.fd = a.fd;
  x.arg[0] = flags;
  x.data = data;
  x.data_pieces = 3;
  scratch flat;
  if (bytes.size() <= max_pieces - 3) {
    x.payload = bytes.begin();
    x.payload_pieces = bytes.size();
  } else {
    if (flat.take(total + 1) == nullptr) return -ENOMEM;
    if (!gather(c, bytes, flat.bytes())) return -EFAULT;
    data[x.data_pieces++] = {flat.bytes(), total};
  }
  return ask_patiently(c, a, flags, x);
}

long receive_by_daemon(caller& c, const anchor& a, message& m, int flags) {
  piece_list room;
  if (const int error = room.read(c, m.bytes); error != 0) return error;
  scratch reply(dropin::max_data);
  if (reply.bytes() == nullptr) return -ENOMEM;
  exchange x;
  x.kind = request_kind::recvmsg;
  x.fd = a.fd;
  x.arg[0] = flags;
  x.arg[1] = static_cast<s32>(room.total());
  x.out = reply.bytes();
  x.out_room = dropin::max_data;
  const int result = c.ask(x);
  if (result < 0) return result;
  dropin::message_parts parts;
  if (!dropin::parse_message(reply.bytes(), x.out_len, parts)) return -ECONNRESET;
  const long copied = scatter(c, parts.payload, parts.head.payload_len, room);
  if (copied < 0) return copied;
  m.flags = parts.head.flags;
  if (copied < static_cast<long>(parts.head.payload_len)) m.flags |= MSG_TRUNC;
  if (const int error = give_parts(c, parts, m); error != 0) return error;
  return (flags & MSG_TRUNC) != 0 ? result : copied;
}

}  // namespace ph::calls
