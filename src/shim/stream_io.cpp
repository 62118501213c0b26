// Sending and receiving on stream anchors, where the kernel's own answer is not enough.
#include "shim/stream_io.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/time.h>
#include <sys/uio.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "platform/passed_fd.h"
#include "shim/anchor.h"
#include "shim/channel.h"
#include "shim/message.h"
#include "shim/next.h"
#include "shim/program_memory.h"
#include "shim/raw.h"
#include "shim/renewal.h"

namespace ph::shim {
namespace {

using dropin::control_item;
using dropin::message_head;
using dropin::request_kind;

/// The most bytes of a program's in one request.
constexpr std::size_t most_bytes = 60 * 1024;

constinit std::atomic<bool> some_lowat{false};
constinit std::atomic<bool> some_control{false};
constinit std::atomic<bool> some_shut{false};

short poll_now(int fd, short wanted) {
  pollfd p{fd, wanted, 0};
  timespec at_once{};
  return raw::call(SYS_ppoll, raw::arg(&p), 1, raw::arg(&at_once)) == 1 ? p.revents : short{0};
}

/// True for a stream anchor that is, or was, connected.
bool has_peer(int fd) {
  anchor a;
  if (is_anchor(fd, a)) look_at_peer(fd, a);
  return a.linked;
}

/// Control data that TCP looks at: that of other levels, descriptors and credentials it does not
/// (sock_cmsg_send).
bool concerns_tcp(int level, int type) {
  return level == SOL_SOCKET && type != SCM_RIGHTS && type != SCM_CREDENTIALS;
}

/// Walks the bytes of a message.
class message_bytes {
 public:
  explicit message_bytes(const piece_list& pieces) : at_(pieces.begin()), end_(pieces.end()) {
    skip_empty();
  }
  /// Up to `most` of the bytes that follow, in up to `room` pieces; moves on.
  std::size_t take(iovec* pieces, std::size_t& room, std::size_t most) {
    std::size_t used = 0, total = 0;
    while (!done() && used < room && total < most) {
      const std::size_t left = at_->iov_len - offset_;
      const std::size_t n = left < most - total ? left : most - total;
      pieces[used++] = {static_cast<u8*>(at_->iov_base) + offset_, n};
      total += n;
      offset_ += n;
      skip_empty();
    }
    room = used;
    return total;
  }
  [[nodiscard]] bool done() const { return at_ == end_; }

 private:
  void skip_empty() {
    for (; at_ != end_ && offset_ == at_->iov_len; ++at_) offset_ = 0;
  }

  const iovec* at_;
  const iovec* end_;
  std::size_t offset_ = 0;
};

/// The bytes after those that opened the connection: the kernel's business.
ssize_t send_rest(int fd, message_bytes& bytes, int flags) {
  ssize_t total = 0;
  while (!bytes.done()) {
    iovec pieces[max_pieces];
    std::size_t count = max_pieces;
    bytes.take(pieces, count, most_bytes);
    msghdr plain{};
    plain.msg_iov = pieces;
    plain.msg_iovlen = count;
    const ssize_t sent = next::sendmsg(fd, &plain, (flags & ~stream_special_flags) | MSG_NOSIGNAL);
    if (sent < 0) return total > 0 ? total : -errno;
    total += sent;
  }
  return total;
}

}  // namespace

void tell_accepted(int listener, int fd, const dropin::anchor_name& end) {
  copy_anchor_options(listener, fd);
  u8 cookie[dropin::cookie_len];
  dropin::accept_cookie(end, cookie);
  iovec piece{cookie, sizeof cookie};
  passed_fd_room room;
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  room.put(message, fd);
  if (raw::sendmsg(fd, message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
    message.msg_control = nullptr;  // too many descriptors on their way: it works without
    message.msg_controllen = 0;
    raw::sendmsg(fd, message, MSG_DONTWAIT | MSG_NOSIGNAL);
  }
  // What is over already must look so when accept() returns: asking makes the daemon read this.
  if ((poll_now(fd, POLLRDHUP) & (POLLRDHUP | POLLHUP)) != 0) {
    ask_about(fd, request_kind::getsockname);
  }
}

bool hung_up(int fd) { return (poll_now(fd, 0) & POLLHUP) != 0; }

long pack_stream_control(const msghdr& message, stream_control& out) {
  return pack_control(message, concerns_tcp, out.items, sizeof out.items);
}

ssize_t send_stream(int fd, const msghdr& message, int flags) {
  if (message.msg_namelen > sizeof(sockaddr_storage)) return -EINVAL;
  piece_list all;
  if (const int error = all.read(message); error != 0) return error;
  stream_control control;
  const long control_len = pack_stream_control(message, control);
  if (control_len < 0) return control_len;
  const bool opens = (flags & MSG_FASTOPEN) != 0;
  const std::size_t name_len = opens && message.msg_name != nullptr ? message.msg_namelen : 0;
  const bool wait = may_block(fd, flags);
  timeval limit{};
  socklen_t len = sizeof limit;
  if (wait) raw::getsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, len);
  message_bytes bytes(all);
  ssize_t total = 0;
  do {
    message_head head;
    iovec pieces[max_pieces] = {{&head, sizeof head},
                                {message.msg_name, name_len},
                                {control.items, static_cast<std::size_t>(control_len)}};
    std::size_t count = max_pieces - 3;
    const std::size_t n = bytes.take(pieces + 3, count, most_bytes);
    head.name_len = static_cast<u16>(name_len);
    head.control_len = static_cast<u32>(control_len);
    head.payload_len = static_cast<u32>(n);
    exchange x;
    x.kind = request_kind::sendmsg;
    x.fd = fd;
    // Only the last byte of all is the urgent one.
    x.arg[0] = bytes.done() ? flags : (flags & ~MSG_OOB) | MSG_MORE;
    if (total > 0) x.arg[0] &= ~MSG_ZEROCOPY;  // one call is told of once
    x.flags = wait ? dropin::flag_wait : 0;
    x.timeout_us = limit.tv_sec * 1000000 + limit.tv_usec;
    x.data = pieces;
    x.data_pieces = 3 + count;
    const int result = ask_renewing(x);
    if (result < 0) return total > 0 ? total : result;
    total += result;
    if (static_cast<std::size_t>(result) < n) return total;
    if (opens && !bytes.done()) {
      const ssize_t rest = send_rest(fd, bytes, flags);
      return rest > 0 ? total + rest : total;
    }
  } while (!bytes.done());
  return total;
}

bool may_block(int fd, int flags) {
  if ((flags & MSG_DONTWAIT) != 0) return false;
  const int status = raw::fcntl(fd, F_GETFL);
  return status >= 0 && (status & O_NONBLOCK) == 0;
}

ssize_t make_room(int fd) {
  const msghdr nothing{};
  return send_stream(fd, nothing, MSG_DONTWAIT | MSG_NOSIGNAL);
}

int unused_name_error(const msghdr& message) {
  if (message.msg_name == nullptr) return 0;
  if (message.msg_namelen > sizeof(sockaddr_storage)) return EINVAL;
  return readable(message.msg_name, message.msg_namelen) ? 0 : EFAULT;
}

void forget_urgent(int fd) {
  // A receive drops them from the head of the queue; it has no room for the bytes behind them, so
  // that these stay (EFAULT).
  iovec nowhere{nullptr, 1};
  msghdr message{};
  message.msg_iov = &nowhere;
  message.msg_iovlen = 1;
  raw::recvmsg(fd, message, MSG_DONTWAIT);
}

msghdr plain_stream_message(const msghdr& message) {
  msghdr plain = message;
  plain.msg_name = nullptr;
  plain.msg_namelen = 0;
  plain.msg_control = nullptr;
  plain.msg_controllen = 0;
  return plain;
}

ssize_t stream_send_error(int fd, int error) {
  if (error == ECONNRESET) return -true_error(fd);
  if (error == EINVAL && has_peer(fd)) return -EINVAL;  // of the call itself
  const int why = error == ENOTCONN ? ask_about(fd, request_kind::take_error) : 0;
  return why > 0 ? -why : -EPIPE;
}

int stream_broken_error(int fd) {
  int error = 0;
  socklen_t len = sizeof error;
  raw::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, len);
  return error != 0 ? true_error(fd) : EPIPE;
}

ssize_t stream_receive_end(int fd, int error, int flags) {
  if (error == ECONNRESET) {
    const int why = true_error(fd);
    return why == EPIPE ? 0 : -why;  // its peer had ended before: TCP says so first
  }
  if (error == EINVAL && (flags & MSG_OOB) == 0 && !has_peer(fd)) {  // a fresh or listening one
    const int why = ask_about(fd, request_kind::take_error);
    if (why > 0) return -why;
    return (poll_now(fd, POLLRDHUP) & POLLRDHUP) != 0 ? 0 : -ENOTCONN;  // shut for reading
  }
  if (error != 0 || !hung_up(fd)) return -error;
  // The end of a connection that was reset while no byte was held for it.
  const int why = ask_about(fd, request_kind::take_error);
  return why > 0 && why != EPIPE ? -why : 0;
}

ssize_t discard_stream(int fd, const msghdr& room, int flags) {
  piece_list pieces;
  if (pieces.read(room) != 0) {
    return next::recvmsg(fd, const_cast<msghdr*>(&room), flags & ~MSG_TRUNC);
  }
  const std::size_t len = pieces.total();
  char bin[16384];
  ssize_t total = 0;
  const bool peek = (flags & MSG_PEEK) != 0;
  flags &= ~MSG_TRUNC;
  do {
    const std::size_t left = len - static_cast<std::size_t>(total);
    const std::size_t n = left < sizeof bin ? left : sizeof bin;
    const ssize_t got = next::recv(fd, bin, n, flags);
    if (got <= 0) return total > 0 ? total : got;
    total += got;
    if (peek || static_cast<std::size_t>(got) < n) break;
    if ((flags & MSG_WAITALL) == 0) flags |= MSG_DONTWAIT;
  } while (static_cast<std::size_t>(total) < len);
  return total;
}

void expect_stream_control() { some_control.store(true, std::memory_order_relaxed); }
bool stream_control_expected() { return some_control.load(std::memory_order_relaxed); }

void add_stream_control(int fd, msghdr& message, ssize_t got, int flags) {
  u8 items[1024];
  std::size_t len = sizeof items;
  const auto only_seen = static_cast<s32>((flags & MSG_PEEK) != 0 ? got : 0);
  if (ask_for(fd, request_kind::received, only_seen, 0, 0, nullptr, 0, items, &len) < 0) len = 0;
  control_writer out(fd, message);
  dropin::control_walk walk{items, len};
  control_item item;
  const u8* value = nullptr;
  while (walk.next(item, value)) {
    const int level = static_cast<int>(item.level);
    if (got == 0 && level == SOL_SOCKET) continue;  // no byte came, so none has a time
    out.append(level, static_cast<int>(item.type), value, item.len);
  }
  out.finish();
}

void expect_shut_reads() { some_shut.store(true, std::memory_order_relaxed); }
bool shut_reads_expected() { return some_shut.load(std::memory_order_relaxed); }

void expect_lowat() { some_lowat.store(true, std::memory_order_relaxed); }
bool lowat_expected() { return some_lowat.load(std::memory_order_relaxed); }

}  // namespace ph::shim
