// Packing a program's messages for the daemon, and unpacking what anchors and the daemon deliver.
#include "shim/message.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/time.h>

#include <cerrno>
#include <cstring>

#include "shim/channel.h"
#include "shim/next.h"
#include "shim/raw.h"

namespace ph::shim {
namespace {

using dropin::control_item;
using dropin::message_head;
using dropin::request_kind;

/// Scratch memory for the rare large message; malloc would not be safe in a signal handler.
class scratch {
 public:
  explicit scratch(std::size_t size) : size_(size) {
    void* const p = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bytes_ = p == MAP_FAILED ? nullptr : static_cast<u8*>(p);
  }
  scratch(const scratch&) = delete;
  scratch& operator=(const scratch&) = delete;
  ~scratch() {
    if (bytes_ != nullptr) munmap(bytes_, size_);
  }
  [[nodiscard]] u8* bytes() const { return bytes_; }

 private:
  u8* bytes_ = nullptr;
  std::size_t size_;
};

/// The control data of a message as control items, into `out`. Returns their length, or -errno.
long pack_control(const msghdr& message, u8* out, std::size_t room) {
  std::size_t at = 0;
  auto* m = const_cast<msghdr*>(&message);
  for (cmsghdr* c = CMSG_FIRSTHDR(m); c != nullptr; c = CMSG_NXTHDR(m, c)) {
    if (c->cmsg_len < CMSG_LEN(0)) return -EINVAL;
    control_item item;
    item.level = static_cast<u32>(c->cmsg_level);
    item.type = static_cast<u32>(c->cmsg_type);
    item.len = static_cast<u32>(c->cmsg_len - CMSG_LEN(0));
    if (at + sizeof item + item.len > room) return -ENOBUFS;
    std::memcpy(out + at, &item, sizeof item);
    std::memcpy(out + at + sizeof item, CMSG_DATA(c), item.len);
    at += sizeof item + item.len;
  }
  return static_cast<long>(at);
}

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

std::size_t total_of(const msghdr& message) {
  std::size_t total = 0;
  for (std::size_t i = 0; i < message.msg_iovlen; ++i) total += message.msg_iov[i].iov_len;
  return total;
}

/// Copies the message's bytes into one piece of memory.
void flatten(const msghdr& message, u8* to) {
  for (std::size_t i = 0; i < message.msg_iovlen; ++i) {
    const iovec& v = message.msg_iov[i];
    if (v.iov_len != 0) std::memcpy(to, v.iov_base, v.iov_len);
    to += v.iov_len;
  }
}

/// Copies bytes into the message's buffers; returns how many fitted.
std::size_t scatter(const u8* from, std::size_t len, msghdr& message) {
  std::size_t done = 0;
  for (std::size_t i = 0; i < message.msg_iovlen && done < len; ++i) {
    const iovec& v = message.msg_iov[i];
    const std::size_t n = v.iov_len < len - done ? v.iov_len : len - done;
    if (n != 0) std::memcpy(v.iov_base, from + done, n);
    done += n;
  }
  return done;
}

}  // namespace

ssize_t send_by_daemon(int fd, const msghdr& message, int flags) {
  const std::size_t total = total_of(message);
  if (message.msg_namelen > sizeof(sockaddr_storage)) return -EINVAL;
  u8 control[1024];
  const long control_len = pack_control(message, control, sizeof control);
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
  const bool many = message.msg_iovlen > max_pieces - 3;
  scratch flat(many ? total + 1 : 1);
  exchange x;
  x.kind = request_kind::sendmsg;
  x.fd = fd;
  x.arg[0] = flags;
  x.data = pieces;
  if (many) {
    if (flat.bytes() == nullptr) return -ENOMEM;
    flatten(message, flat.bytes());
    pieces[3] = {flat.bytes(), total};
    x.data_pieces = 4;
  } else {
    for (std::size_t i = 0; i < message.msg_iovlen; ++i) pieces[3 + i] = message.msg_iov[i];
    x.data_pieces = 3 + message.msg_iovlen;
  }
  return ask_patiently(fd, flags, x);
}

ssize_t receive_by_daemon(int fd, msghdr& message, int flags) {
  scratch reply(dropin::max_data);
  if (reply.bytes() == nullptr) return -ENOMEM;
  exchange x;
  x.kind = request_kind::recvmsg;
  x.fd = fd;
  x.arg[0] = flags;
  x.arg[1] = static_cast<s32>(total_of(message) & 0x7fffffff);
  x.out = reply.bytes();
  x.out_room = dropin::max_data;
  const int result = ask(x);
  if (result < 0) return result;
  dropin::message_parts parts;
  if (!dropin::parse_message(reply.bytes(), x.out_len, parts)) return -ECONNRESET;
  const std::size_t copied = scatter(parts.payload, parts.head.payload_len, message);
  message.msg_flags = parts.head.flags;
  if (copied < parts.head.payload_len) message.msg_flags |= MSG_TRUNC;
  socklen_t room = message.msg_namelen;
  give_address(parts.name, parts.head.name_len, static_cast<sockaddr*>(message.msg_name), &room);
  message.msg_namelen = message.msg_name != nullptr ? parts.head.name_len : 0;
  const std::size_t control_room = message.msg_control != nullptr ? message.msg_controllen : 0;
  std::size_t used = 0;
  dropin::control_walk walk{parts.control, parts.head.control_len};
  control_item item;
  const u8* value = nullptr;
  while (walk.next(item, value)) {
    if (!append_control(message, control_room, used, static_cast<int>(item.level),
                        static_cast<int>(item.type), value, item.len)) {
      message.msg_flags |= MSG_CTRUNC;
    }
  }
  message.msg_controllen = used;
  return (flags & MSG_TRUNC) != 0 ? result : static_cast<ssize_t>(copied);
}

bool append_control(msghdr& message, std::size_t room, std::size_t& used, int level, int type,
                    const void* data, std::size_t len) {
  if (used + CMSG_LEN(len) > room) return false;
  cmsghdr head{};
  head.cmsg_level = level;
  head.cmsg_type = type;
  head.cmsg_len = CMSG_LEN(len);
  u8* const at = static_cast<u8*>(message.msg_control) + used;
  std::memcpy(at, &head, sizeof head);
  std::memcpy(at + CMSG_LEN(0), data, len);
  const std::size_t space = CMSG_SPACE(len);
  used = used + space < room ? used + space : room;
  return true;
}

address_catcher::address_catcher(msghdr& message)
    : message_(message),
      name_(message.msg_name),
      name_room_(message.msg_namelen),
      control_room_(message.msg_control != nullptr ? message.msg_controllen : 0) {
  caught_ = {};
  message.msg_name = &caught_;
  message.msg_namelen = sizeof caught_;
}

void address_catcher::give_back() {
  message_.msg_name = name_;
  message_.msg_namelen = name_room_;
}

bool address_catcher::deliver() {
  const socklen_t got = message_.msg_namelen;
  message_.msg_name = name_;
  dropin::anchor_name from;
  if (!decode_address(&caught_, got, from)) {
    socklen_t room = name_room_;
    give_address(&caught_, got, static_cast<sockaddr*>(name_), &room);
    message_.msg_namelen = name_ != nullptr ? got : name_room_;
    return true;
  }
  if (from.kind == dropin::name_kind::tombstone) return false;
  // A TCP receive leaves the address alone; its anchor's peer is named, too.
  const std::size_t len = from.type == SOCK_STREAM ? 0 : from.remote.len;
  socklen_t room = name_room_;
  give_address(from.remote.bytes, len, static_cast<sockaddr*>(name_), &room);
  message_.msg_namelen = name_ != nullptr ? static_cast<socklen_t>(len) : name_room_;
  if (control_room_ == 0) {
    if (from.control_len != 0) message_.msg_flags |= MSG_CTRUNC;
    return true;
  }
  std::size_t used = message_.msg_controllen;
  dropin::control_reader values(from);
  dropin::control_value value;
  while (values.next(value)) {
    if (!append_control(message_, control_room_, used, value.level, value.type, value.data,
                        value.len)) {
      message_.msg_flags |= MSG_CTRUNC;
    }
  }
  message_.msg_controllen = used;
  return true;
}

}  // namespace ph::shim
