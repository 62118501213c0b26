// Packing a program's messages for the daemon, and unpacking what anchors and the daemon deliver.
#include "shim/message.h"

#include <fcntl.h>
#include <sys/time.h>
#include <sys/uio.h>

#include <cerrno>
#include <climits>
#include <cstring>

#include "shim/channel.h"
#include "shim/next.h"
#include "shim/program_memory.h"
#include "shim/raw.h"
#include "shim/scratch.h"

namespace ph::shim {
namespace {

using dropin::control_item;
using dropin::message_head;
using dropin::request_kind;

bool any_item(int, int) { return true; }

bool blocks(int fd, int flags) {
  if ((flags & MSG_DONTWAIT) != 0) return false;
  const int status = raw::fcntl(fd, F_GETFL);
  return status >= 0 && (status & O_NONBLOCK) == 0;
}

/// Asks; a caller that may block then waits for room as SO_SNDTIMEO allows. Who connects by
/// MSG_FASTOPEN waits from the start, for the handshake.
int ask_patiently(int fd, int flags, exchange& x) {
  const bool connects = (flags & MSG_FASTOPEN) != 0 && blocks(fd, flags);
  if (!connects) {
    const int result = ask(x);
    if (result != -EAGAIN || !blocks(fd, flags)) return result;
  }
  timeval limit{};
  socklen_t len = sizeof limit;
  raw::getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, len);
  x.flags = dropin::flag_wait;
  x.timeout_us = limit.tv_sec * 1000000 + limit.tv_usec;
  return ask(x);
}

/// Copies the bytes of all pieces into one piece of memory. False: EFAULT.
bool flatten(const piece_list& pieces, u8* to) {
  for (const iovec& v : pieces) {
    if (!readable(v.iov_base, v.iov_len)) return false;
    if (v.iov_len != 0) std::memcpy(to, v.iov_base, v.iov_len);
    to += v.iov_len;
  }
  return true;
}

/// Copies bytes into the pieces; returns how many fitted, or -EFAULT.
long scatter(int socket, const u8* from, std::size_t len, const piece_list& pieces) {
  std::size_t done = 0;
  for (const iovec& v : pieces) {
    const std::size_t n = v.iov_len < len - done ? v.iov_len : len - done;
    if (!copy_out(socket, v.iov_base, from + done, n)) return -EFAULT;
    done += n;
  }
  return static_cast<long>(done);
}

}  // namespace

int piece_list::read(const msghdr& message) {
  constexpr std::size_t most = 0x7fffffff;  // as many bytes as one call moves
  const std::size_t count = message.msg_iovlen, size = count * sizeof(iovec);
  if (count > UIO_MAXIOV) return -EMSGSIZE;
  auto* const to = count <= few ? few_ : reinterpret_cast<iovec*>(many_.take(size));
  if (to == nullptr) return -ENOMEM;
  if (!readable(message.msg_iov, size)) return -EFAULT;
  if (size != 0) std::memcpy(to, message.msg_iov, size);
  pieces_ = to;
  for (std::size_t i = 0; i < count; ++i) {
    if (to[i].iov_len > most) return -EINVAL;
    total_ += to[i].iov_len;
  }
  total_ = total_ < most ? total_ : most;
  count_ = count;
  return 0;
}

long pack_control(const msghdr& message, bool (*wanted)(int level, int type), u8* out,
                  std::size_t room) {
  constexpr std::size_t most_control = 131072;  // net.core.optmem_max, as it is by default
  const std::size_t all = message.msg_controllen;
  const auto* const control = static_cast<const u8*>(message.msg_control);
  if (all > most_control) return -ENOBUFS;
  if (!readable(control, all)) return -EFAULT;
  std::size_t used = 0;
  for (std::size_t at = 0, left = all; left >= sizeof(cmsghdr); left = all - at) {
    cmsghdr c;
    std::memcpy(&c, control + at, sizeof c);
    if (c.cmsg_len < CMSG_LEN(0) || c.cmsg_len > left) return -EINVAL;
    const std::size_t len = c.cmsg_len - CMSG_LEN(0);
    if (wanted(c.cmsg_level, c.cmsg_type)) {
      const control_item item{static_cast<u32>(c.cmsg_level), static_cast<u32>(c.cmsg_type),
                              static_cast<u32>(len)};
      if (sizeof item + len > room - used) return -ENOBUFS;
      std::memcpy(out + used, &item, sizeof item);
      if (len != 0) std::memcpy(out + used + sizeof item, control + at + CMSG_LEN(0), len);
      used += sizeof item + len;
    }
    const std::size_t space = CMSG_ALIGN(c.cmsg_len);
    at = space < left ? at + space : all;
  }
  return static_cast<long>(used);
}

int check_lengths(msghdr& message, bool sends) {
  if (message.msg_name == nullptr) message.msg_namelen = 0;
  if (static_cast<int>(message.msg_namelen) < 0) return -EINVAL;
  if (message.msg_namelen > sizeof(sockaddr_storage)) {
    message.msg_namelen = sizeof(sockaddr_storage);
  }
  if (message.msg_iovlen > UIO_MAXIOV) return -EMSGSIZE;
  return sends && message.msg_controllen > INT_MAX ? -ENOBUFS : 0;
}

ssize_t send_by_daemon(int fd, const msghdr& message, int flags) {
  piece_list bytes;
  if (const int error = bytes.read(message); error != 0) return error;
  const std::size_t total = bytes.total();
  if (message.msg_namelen > sizeof(sockaddr_storage)) return -EINVAL;
  u8 control[1024];
  const long control_len = pack_control(message, any_item, control, sizeof control);
  if (control_len < 0) return control_len;
  const std::size_t name_len = message.msg_name != nullptr ? message.msg_namelen : 0;
  message_head head;
  if (sizeof head + name_len + static_cast<std::size_t>(control_len) + total > dropin::max_data) {
    return -EMSGSIZE;
  }
  head.name_len = static_cast<u16>(name_len);
  head.control_len = static_cast<u32>(control_len);
  head.payload_len = static_cast<u32>(total);
  iovec pieces[max_pieces] = {{&head, sizeof head},
                              {message.msg_name, name_len},
                              {control, static_cast<std::size_t>(control_len)}};
  const bool many = bytes.size() > max_pieces - 3;
  scratch flat(many ? total + 1 : 1);
  exchange x;
  x.kind = request_kind::sendmsg;
  x.fd = fd;
  x.arg[0] = flags;
  x.data = pieces;
  if (many) {
    if (flat.bytes() == nullptr) return -ENOMEM;
    if (!flatten(bytes, flat.bytes())) return -EFAULT;
    pieces[3] = {flat.bytes(), total};
    x.data_pieces = 4;
  } else {
    x.data_pieces = 3;
    for (const iovec& v : bytes) pieces[x.data_pieces++] = v;
  }
  return ask_patiently(fd, flags, x);
}

ssize_t receive_by_daemon(int fd, msghdr& message, int flags) {
  piece_list room;
  if (const int error = room.read(message); error != 0) return error;
  scratch reply(dropin::max_data);
  if (reply.bytes() == nullptr) return -ENOMEM;
  exchange x;
  x.kind = request_kind::recvmsg;
  x.fd = fd;
  x.arg[0] = flags;
  x.arg[1] = static_cast<s32>(room.total());
  x.out = reply.bytes();
  x.out_room = dropin::max_data;
  const int result = ask(x);
  if (result < 0) return result;
  dropin::message_parts parts;
  if (!dropin::parse_message(reply.bytes(), x.out_len, parts)) return -ECONNRESET;
  const long copied = scatter(fd, parts.payload, parts.head.payload_len, room);
  if (copied < 0) return copied;
  message.msg_flags = parts.head.flags;
  if (copied < static_cast<long>(parts.head.payload_len)) message.msg_flags |= MSG_TRUNC;
  if (message.msg_name != nullptr) {
    const socklen_t name_len = parts.head.name_len;
    const socklen_t fits = message.msg_namelen < name_len ? message.msg_namelen : name_len;
    if (!copy_out(fd, message.msg_name, parts.name, fits)) return -EFAULT;
    message.msg_namelen = name_len;
  }
  control_writer out(fd, message);
  dropin::control_walk walk{parts.control, parts.head.control_len};
  control_item item;
  const u8* value = nullptr;
  while (walk.next(item, value)) {
    out.append(static_cast<int>(item.level), static_cast<int>(item.type), value, item.len);
  }
  out.finish();
  return (flags & MSG_TRUNC) != 0 ? result : copied;
}

control_writer::control_writer(int socket, msghdr& message)
    : socket_(socket),
      message_(message),
      room_(message.msg_control != nullptr ? message.msg_controllen : 0) {}

void control_writer::append(int level, int type, const void* data, std::size_t len) {
  const std::size_t left = room_ - used_;
  if (left < sizeof(cmsghdr)) {
    message_.msg_flags |= MSG_CTRUNC;
    return;
  }
  cmsghdr head{};
  head.cmsg_level = level;
  head.cmsg_type = type;
  head.cmsg_len = CMSG_LEN(len);
  if (left < head.cmsg_len) {
    message_.msg_flags |= MSG_CTRUNC;
    head.cmsg_len = left;
  }
  u8* const at = static_cast<u8*>(message_.msg_control) + used_;
  if (!copy_out(socket_, at, &head, sizeof head) ||
      !copy_out(socket_, at + CMSG_LEN(0), data, head.cmsg_len - CMSG_LEN(0))) {
    return;
  }
  const std::size_t space = CMSG_SPACE(len);
  used_ = space < left ? used_ + space : room_;
}

void control_writer::finish() { message_.msg_controllen = used_; }

}  // namespace ph::shim
