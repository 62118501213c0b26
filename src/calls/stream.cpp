// Sending and receiving on stream anchors, where the kernel's own answer is not enough.
#include "calls/stream.h"

#include <cerrno>
#include <cstring>

#include "calls/deadline.h"
#include "calls/exchange.h"
#include "calls/kernel.h"
#include "calls/renewal.h"
#include "daemon/settling_page.h"
#include "platform/passed_fd.h"

namespace ph::calls {
namespace {

using dropin::control_item;
using dropin::message_head;
using dropin::request_kind;

/// The most bytes of a program's in one request.
constexpr std::size_t most_bytes = std::size_t{60} * 1024;

/// True for a stream anchor that is, or was, connected.
bool has_peer(caller& c, anchor& a) {
  look_at_peer(c, a);
  return a.linked;
}

bool is_listening(caller& c, int held) {
  int on = 0;
  socklen_t len = sizeof on;
  return kernel::getsockopt(c, held, SOL_SOCKET, SO_ACCEPTCONN, &on, len) == 0 && on != 0;
}

/// Control data that TCP looks at: that of other levels, descriptors and credentials it does not
/// (sock_cmsg_send).
bool concerns_tcp(int level, int type) {
  return level == SOL_SOCKET && type != SCM_RIGHTS && type != SCM_CREDENTIALS;
}

/// Gives an accepted anchor the options that its listener's kernel socket has of ours.
void copy_anchor_options(caller& c, int from, int to) {
  for (const int name : {SO_SNDBUF, SO_RCVLOWAT, SO_OOBINLINE, SO_LINGER}) {
    int value[2] = {};
    socklen_t len = name == SO_LINGER ? sizeof value : sizeof value[0];
    if (kernel::getsockopt(c, from, SOL_SOCKET, name, value, len) != 0) continue;
    if (name == SO_SNDBUF) value[0] /= 2;                     // the kernel doubles it again
    if (value[0] == (name == SO_RCVLOWAT ? 1 : 0)) continue;  // as it is born
    kernel::setsockopt(c, to, SOL_SOCKET, name, value, len);
  }
}

/// Walks the bytes of a message.
class message_bytes {
 public:
  explicit message_bytes(const piece_list& pieces) : at_(pieces.begin()), end_(pieces.end()) {
    skip_empty();
  }
  /// Up to `most` of the bytes that follow, in up to `room` pieces; moves on.
  std::size_t take(piece* pieces, std::size_t& room, std::size_t most) {
    std::size_t used = 0, total = 0;
    while (!done() && used < room && total < most) {
      const std::size_t left = at_->len - offset_;
      const std::size_t n = left < most - total ? left : most - total;
      pieces[used++] = {at_->at + offset_, n};
      total += n;
      offset_ += n;
      skip_empty();
    }
    room = used;
    return total;
  }
  void skip(std::size_t len) {
    while (len > 0 && !done()) {
      const std::size_t left = at_->len - offset_;
      const std::size_t n = left < len ? left : len;
      offset_ += n;
      len -= n;
      skip_empty();
    }
  }
  [[nodiscard]] bool done() const { return at_ == end_; }

 private:
  void skip_empty() {
    for (; at_ != end_ && offset_ == at_->len; ++at_) offset_ = 0;
  }

  const piece* at_;
  const piece* end_;
  std::size_t offset_ = 0;
};

/// The bytes after those that opened the connection: the kernel's business.
long send_rest(caller& c, const anchor& a, message_bytes& bytes, int flags) {
  long total = 0;
  while (!bytes.done()) {
    piece pieces[max_pieces];
    std::size_t count = max_pieces;
    bytes.take(pieces, count, most_bytes);
    const buffers part{pieces, 0, count};
    const long sent = c.send(a.fd, part, (flags & ~stream_special_flags) | MSG_NOSIGNAL);
    if (sent < 0) return total > 0 ? total : sent;
    total += sent;
  }
  return total;
}

}  // namespace

void tell_accepted(caller& c, const anchor& listener, int made, const dropin::anchor_name& end) {
  copy_anchor_options(c, listener.fd, made);
  if (end.home) {
    const int on = 1;
    kernel::setsockopt(c, made, SOL_SOCKET, dropin::goes_home_option, &on, sizeof on);
  }
  u8 cookie[dropin::cookie_len];
  dropin::accept_cookie(end, cookie);
  iovec piece{cookie, sizeof cookie};
  passed_fd_room room;
  msghdr told{};
  told.msg_iov = &piece;
  told.msg_iovlen = 1;
  room.put(told, made);
  if (kernel::sendmsg(c, made, told, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
    told.msg_control = nullptr;  // too many descriptors on their way: it works without
    told.msg_controllen = 0;
    kernel::sendmsg(c, made, told, MSG_DONTWAIT | MSG_NOSIGNAL);
  }
  // What is over already must look so when accept() returns: asking makes the daemon read this.
  if ((kernel::poll_now(c, made, POLLRDHUP) & (POLLRDHUP | POLLHUP)) != 0) {
    ask_about(c, made, request_kind::getsockname);
  }
}

int pack_stream_control(caller& c, const message& m, stream_control& out) {
  const long len = pack_control(c, m, concerns_tcp, out.items, sizeof out.items);
  if (len < 0) return static_cast<int>(len);
  out.len = static_cast<std::size_t>(len);
  return 0;
}

long send_stream(caller& c, const anchor& a, const message& m, const stream_control& control,
                 int flags) {
  piece_list all;
  if (const int error = all.read(c, m.bytes); error != 0) return error;
  const bool opens = (flags & MSG_FASTOPEN) != 0;
  const u32 name_len = opens ? m.name_len : 0;
  u8 name[sizeof(sockaddr_storage)];
  if (!c.read(m.name, name, name_len)) return -EFAULT;
  const bool wait = kernel::may_block(c, a.fd, flags);
  const deadline limit(wait ? kernel::timeout_of(c, a.fd, SO_SNDTIMEO) : 0);
  message_bytes bytes(all);
  long total = 0;
  do {
    message_head head;
    const iovec data[3] = {
        {&head, sizeof head}, {name, name_len}, {const_cast<u8*>(control.items), control.len}};
    piece pieces[max_pieces - 3];
    std::size_t count = max_pieces - 3;
    const std::size_t n = bytes.take(pieces, count, most_bytes);
    head.name_len = static_cast<u16>(name_len);
    head.control_len = static_cast<u32>(control.len);
    head.payload_len = static_cast<u32>(n);
    exchange x;
    x.kind = request_kind::sendmsg;
    x.fd = a.fd;
    // Only the last byte of all is the urgent one.
    x.arg[0] = bytes.done() ? flags : (flags & ~MSG_OOB) | MSG_MORE;
    if (total > 0) x.arg[0] &= ~MSG_ZEROCOPY;  // one call is told of once
    x.flags = wait ? dropin::flag_wait : 0;
    x.timeout_us = limit.left();
    x.data = data;
    x.data_pieces = 3;
    x.payload = pieces;
    x.payload_pieces = count;
    const int result = ask_renewing(c, x);
    if (result < 0) return total > 0 ? total : result;
    total += result;
    if (static_cast<std::size_t>(result) < n) return total;
    if (opens && !bytes.done()) {
      const long rest = send_rest(c, a, bytes, flags);
      return rest > 0 ? total + rest : total;
    }
  } while (!bytes.done());
  return total;
}

bool could_not_ask(long result) {
  return result == -EMFILE || result == -ENFILE || result == -ENOMEM || result == -ENOBUFS ||
         result == -EINTR;
}

long connected_by_now(caller& c, const anchor& a, int flags) {
  if (!c.may_be_connecting(a.fd)) return 0;
  if ((kernel::poll_now(c, a.fd, POLLOUT) & POLLOUT) != 0) {  // filler is in the way until it is
    c.note_connecting(a.fd, false);
    return 0;
  }
  const long asked = send_stream(c, a, {}, {}, (flags & MSG_DONTWAIT) | MSG_NOSIGNAL);
  if (asked == -EINTR || asked == -ENOBUFS) return asked;
  if (could_not_ask(asked)) return 0;
  if (asked != -EAGAIN) c.note_connecting(a.fd, false);
  return asked == -EPIPE || asked > 0 ? 0 : asked;
}

long make_room(caller& c, const anchor& a) {
  return send_stream(c, a, {}, {}, MSG_DONTWAIT | MSG_NOSIGNAL);
}

long send_what_is_left(caller& c, const anchor& a, const buffers& bytes, int flags, long sent) {
  constexpr int most_turns = 32;  // of the daemon: more than a send buffer holds
  piece_list all;
  if (all.read(c, bytes) != 0) return sent;
  message_bytes rest(all);
  rest.skip(static_cast<std::size_t>(sent));
  for (int i = 0; i < most_turns && !rest.done() && make_room(c, a) == 0; ++i) {
    piece pieces[max_pieces];
    std::size_t count = max_pieces;
    message_bytes(rest).take(pieces, count, all.total());
    const long more = c.send(a.fd, {pieces, 0, count}, flags | MSG_DONTWAIT | MSG_NOSIGNAL);
    if (more <= 0) break;
    rest.skip(static_cast<std::size_t>(more));
    sent += more;
  }
  return sent;
}

int unused_name_error(caller& c, const message& m) {
  u8 name[sizeof(sockaddr_storage)];
  return c.read(m.name, name, m.name_len) ? 0 : -EFAULT;
}

void forget_urgent(caller& c, const anchor& a) {
  // A receive drops them from the head of the queue; it has no room for the bytes behind them, so
  // that these stay (EFAULT).
  iovec nowhere{nullptr, 1};
  msghdr room{};
  room.msg_iov = &nowhere;
  room.msg_iovlen = 1;
  kernel::recvmsg(c, a.fd, room, MSG_DONTWAIT);
}

long stream_send_error(caller& c, anchor& a, int error) {
  if (error == ECONNRESET) return -true_error(c, a.fd);
  if (error == EINVAL && has_peer(c, a)) return -EINVAL;  // of the call itself
  const int why = error == ENOTCONN ? ask_about(c, a.fd, request_kind::take_error) : 0;
  return why > 0 ? -why : -EPIPE;
}

int stream_broken_error(caller& c, const anchor& a) {
  int error = 0;
  socklen_t len = sizeof error;
  kernel::getsockopt(c, a.fd, SOL_SOCKET, SO_ERROR, &error, len);
  if (error != 0) return true_error(c, a.fd);
  // The daemon may know of a reset that does not show before all was read.
  const int why = ask_about(c, a.fd, request_kind::take_error);
  return why > 0 ? why : EPIPE;
}

long stream_receive_end(caller& c, anchor& a, int error, int flags) {
  if (error == ECONNRESET) {
    const int why = true_error(c, a.fd);
    return why == EPIPE ? 0 : -why;  // its peer had ended before: TCP says so first
  }
  if (error == EINVAL && (flags & MSG_OOB) == 0 && !has_peer(c, a)) {  // a fresh or listening one
    const int why = ask_about(c, a.fd, request_kind::take_error);
    if (why > 0) return -why;
    // Shut for reading, or not connected.
    return (kernel::poll_now(c, a.fd, POLLRDHUP) & POLLRDHUP) != 0 ? 0 : -ENOTCONN;
  }
  if (error == EINVAL && is_listening(c, a.fd)) return -ENOTCONN;
  if (error != 0 || !hung_up(c, a.fd)) return -error;
  // The end of a connection that was reset while no byte was held for it.
  const int why = ask_about(c, a.fd, request_kind::take_error);
  return why > 0 && why != EPIPE ? -why : 0;
}

long discard_stream(caller& c, const anchor& a, const buffers& room, int flags, int& came) {
  flags &= ~MSG_TRUNC;
  piece_list pieces;
  if (pieces.read(c, room) != 0) return c.receive(a.fd, room, flags, came);
  const bool peek = (flags & MSG_PEEK) != 0;
  std::size_t total = 0;
  do {
    const std::size_t left = pieces.total() - total;
    const std::size_t n = left < most_bytes ? left : most_bytes;
    const long got = c.discard(a.fd, n, flags);
    if (got <= 0) return total > 0 ? static_cast<long>(total) : got;
    total += static_cast<std::size_t>(got);
    if (peek || static_cast<std::size_t>(got) < n) break;
    if ((flags & MSG_WAITALL) == 0) flags |= MSG_DONTWAIT;
  } while (total < pieces.total());
  return static_cast<long>(total);
}

void add_stream_control(caller& c, const anchor& a, message& m, long got, int flags) {
  u8 items[1024];
  std::size_t len = sizeof items;
  const auto only_seen = static_cast<s32>((flags & MSG_PEEK) != 0 ? got : 0);
  if (ask_for(c, a.fd, request_kind::received, only_seen, 0, 0, nullptr, 0, items, &len) < 0) {
    len = 0;
  }
  control_writer out(c, m);
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

}  // namespace ph::calls
