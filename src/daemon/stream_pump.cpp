// Moving bytes between an anchor's end and the host's socket.
//
// The rule of the held byte: end_'s queue keeps one byte that was already sent on, so that closing
// end_ resets the anchor; bytes are peeked, sent on, and as many as were sent are consumed, which
// leaves the last one. A held byte keeps its whole buffer charged to the anchor's SO_SNDBUF, and an
// AF_UNIX stream is writable only while four times its charge fits there. So a byte is held only
// where even the heaviest buffer that can hold it leaves the anchor writable (hold_limit_).
//
// From the stack, bytes are peeked, too, and discarded when the anchor has taken them: what the
// program does not read stays in the stack's receive buffer, where flow control sees it.
#include "daemon/stream_pump.h"

#include <linux/sockios.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "daemon/anchor.h"
#include "daemon/socket_option.h"
#include "platform/passed_fd.h"
#include "uapi/socket.h"

namespace ph::dropin {
namespace {

constexpr std::size_t chunk = 65536;
constexpr int chunks_a_turn = 16;
/// Time stamps that are kept for bytes which the program has not read; the oldest go first.
constexpr std::size_t most_stamps = 256;

/// What a buffer of `len` written bytes can weigh at most is below 2 * len + this.
constexpr std::size_t buffer_head = 1024;

void consume(int fd, std::size_t len) {
  u8 bin[16384];
  while (len > 0) {
    const ssize_t got = ::recv(fd, bin, std::min(len, sizeof bin), MSG_DONTWAIT);
    if (got <= 0) return;
    len -= static_cast<std::size_t>(got);
  }
}

}  // namespace

std::size_t heaviest_buffer() {
  constexpr std::size_t fragments = 17;
  return fragments * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)) + buffer_head;
}

stream_pump::stream_pump(host_sockets& host, int s, unique_fd end, anchored_memory& memory)
    : host_(host), s_(s), end_(std::move(end)), anchored_(memory, host, *this) {
  // Until the program's end is known better, it has the buffer that every new socket has.
  set_hold_limit(int_option(end_.get(), SO_SNDBUF));
  host_.set_outside(s_, this);
}

stream_pump::~stream_pump() { host_.set_outside(s_, nullptr); }

/// As the kernel counts them: with what each buffer of the anchor weighs.
u32 stream_pump::bytes() const {
  int out = 0;
  return ::ioctl(end_.get(), SIOCOUTQ, &out) == 0 ? static_cast<u32>(std::max(out, 0)) : 0;
}

std::unique_ptr<stream_pump> stream_pump::linked(host_sockets& host, int s, unique_fd end,
                                                 std::size_t filler, anchored_memory& memory) {
  auto out = std::make_unique<stream_pump>(host, s, std::move(end), memory);
  out->filler_ = filler;
  out->held_ = true;
  return out;
}

std::unique_ptr<stream_pump> stream_pump::offered(host_sockets& host, int s, unique_fd end,
                                                  byte_view cookie, anchored_memory& memory) {
  auto out = std::make_unique<stream_pump>(host, s, std::move(end), memory);
  out->cookie_.assign(cookie.begin(), cookie.end());
  out->accepted_ = acceptance::awaited;
  return out;
}

void stream_pump::set_hold_limit(int send_buffer) {
  const std::size_t quarter = static_cast<std::size_t>(std::max(send_buffer, 0)) / 4;
  if (quarter >= heaviest_buffer()) {
    hold_limit_ = std::numeric_limits<std::size_t>::max();
  } else {
    hold_limit_ = quarter > buffer_head ? (quarter - buffer_head) / 2 : 0;
  }
}

void stream_pump::apply(const pipe_settings& settings) {
  if (settings.send_buffer > 0) set_hold_limit(settings.send_buffer);
  if (settings.receive_buffer > 0) {
    ::setsockopt(end_.get(), SOL_SOCKET, SO_SNDBUF, &settings.receive_buffer, sizeof(int));
  }
  lowat_ = settings.lowat;
  stamped_ = settings.stamped;
  to_own_host_ = settings.to_own_host;
  urgent_in_line_ = settings.urgent_in_line;
  if (!stamped_) stamps_ = {};
}

void stream_pump::open() { consume(end_.get(), std::exchange(filler_, 0)); }

void stream_pump::finish() {
  drop_sent();
  if (std::exchange(held_, false)) consume(end_.get(), 1);
}

void stream_pump::put_first(byte_view bytes) {
  first_.insert(first_.end(), bytes.begin(), bytes.end());
}

void stream_pump::on_events(u32 events) {
  if ((events & EPOLLRDHUP) != 0) program_done_ = true;
  if ((events & EPOLLHUP) != 0) hung_up_ = true;
  if ((events & EPOLLERR) != 0 && int_option(end_.get(), SO_ERROR) == ECONNRESET) unread_ = true;
}

pipe_turn stream_pump::pump() {
  if (unread_) {
    push();
    return pipe_turn::dropped;
  }
  // After a hang-up nobody reads: what is left in the stack makes its close a reset.
  bool more = !hung_up_ && pull_some();
  more = push_some() || more;
  if (unread_) return pipe_turn::dropped;
  if (failing_ == errc::ok) {
    if (more) return pipe_turn::more;
    return sent_on_ != 0 ? pipe_turn::later : pipe_turn::rest;
  }
  if (!hung_up_) {
    while (pull_some()) {}
    // The program still has to read, or accept() has not returned: then a reset would show too
    // early, as an end of file. Who writes hears of it at once, as nobody reads that any more.
    if (reader_full_) ::shutdown(end_.get(), SHUT_RD);
    if (reader_full_ || !cookie_.empty()) return pipe_turn::rest;
  }
  return pipe_turn::failed;
}

void stream_pump::fail_with(errc why) {
  if (failing_ != errc::ok) return;
  failing_ = why;
  // Who accepted without a shim is never known to have done so; at least it does not wait.
  if (!cookie_.empty()) ::shutdown(end_.get(), SHUT_WR);
}

bool stream_pump::writes_over() const {
  pollfd now{end_.get(), POLLRDHUP, 0};  // its event may not have been served yet
  return program_done_ || (::poll(&now, 1, 0) == 1 && (now.revents & POLLRDHUP) != 0);
}

bool stream_pump::ended() const { return program_done_ && empty_ && first_.empty(); }

std::size_t stream_pump::unsent() const {
  int queued = 0;
  if (::ioctl(end_.get(), FIONREAD, &queued) != 0) queued = 0;
  const std::size_t not_the_programs = filler_ + sent_on_ + (held_ ? 1 : 0);
  const auto all = static_cast<std::size_t>(queued);
  return first_.size() + (all > not_the_programs ? all - not_the_programs : 0);
}

// --- program to stack -------------------------------------------------------------------------

stream_pump::peeked stream_pump::peek(byte_span to) const {
  iovec piece{to.data(), to.size()};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  peeked out;
  out.len = ::recvmsg(end_.get(), &message, MSG_PEEK | MSG_DONTWAIT);
  out.rights = out.len > 0 && (message.msg_flags & MSG_CTRUNC) != 0;
  return out;
}

/// Consumes bytes with which descriptors come, and keeps those for the owner.
void stream_pump::consume_passing(std::size_t len) {
  u8 bin[16384];
  constexpr std::size_t most_at_once = 253;  // of one message of AF_UNIX
  alignas(cmsghdr) char control[CMSG_SPACE(most_at_once * sizeof(int))];
  while (len > 0) {
    iovec piece{bin, std::min(len, sizeof bin)};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    const ssize_t got = ::recvmsg(end_.get(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got <= 0) return;
    len -= static_cast<std::size_t>(got);
    for_each_passed_fd(message, [this](int fd) { passed_.emplace_back(fd); });
  }
}

/// The shim's cookie becomes the held byte; the anchor comes with it, and no descriptor after it.
/// Before it is known whether a cookie comes, nothing is read. False when these bytes are the
/// program's.
bool stream_pump::take_cookie(byte_view first) {
  const std::vector<u8> cookie = std::exchange(cookie_, {});
  take_descriptors(end_.get(), false);
  if (first.size() < cookie.size() || !std::equal(cookie.begin(), cookie.end(), first.begin())) {
    accepted_ = acceptance::silent;
    return false;
  }
  consume_passing(cookie.size() - 1);
  accepted_ = acceptance::told;
  held_ = true;
  return true;
}

/// What was taken out of end_'s queue goes first. False when the stack does not take all of it.
bool stream_pump::flush_first() {
  while (!first_.empty()) {
    const byte_view bytes{first_};
    send_msg msg;
    msg.iov = {&bytes, 1};
    msg.flags = uapi::msg_nosignal | uapi::msg_dontwait;
    const auto sent = host_.sendmsg(s_, msg);
    if (!sent) {
      if (sent.error() != errc::again) fail_with(sent.error());
      return false;
    }
    first_.erase(first_.begin(), first_.begin() + static_cast<std::ptrdiff_t>(*sent));
  }
  first_.shrink_to_fit();
  rest_.reset();
  return true;
}

void stream_pump::drop_sent() { consume(end_.get(), std::exchange(sent_on_, 0)); }

/// The queue holds nothing but the held byte: gives it up when its buffer may be too heavy.
void stream_pump::keep_light() {
  empty_ = true;
  if (!held_ || since_empty_ <= hold_limit_) return;
  consume(end_.get(), 1);
  held_ = false;
  since_empty_ = 0;
}

/// Sends on bytes that follow the held one, and consumes as many but the last. `last`: nothing was
/// behind them. True when all were taken.
bool stream_pump::send_on(byte_view fresh, bool rights, bool last) {
  send_msg msg;
  msg.iov = {&fresh, 1};
  msg.flags = uapi::msg_nosignal | uapi::msg_dontwait;
  const auto sent = host_.sendmsg(s_, msg);
  // In progress: with TCP_FASTOPEN_CONNECT it is the first send that connects.
  if (!sent && sent.error() != errc::again && sent.error() != errc::inprogress) {
    fail_with(sent.error());
    return false;
  }
  const std::size_t taken = sent.value_or(0);
  if (rights) {
    // Descriptors live as long as a byte of their buffer waits: none of it may.
    const byte_view rest = fresh.subspan(taken);
    first_.assign(rest.begin(), rest.end());
    consume_passing(fresh.size() + (held_ ? 1 : 0));
    held_ = false;
    since_empty_ = 0;
    return rest.empty();
  }
  if (taken == 0) return false;
  since_empty_ += taken;
  const bool all = taken == fresh.size();
  sent_on_ = held_ ? taken : taken - 1;
  held_ = true;
  // After the peer's end the answer may be a reset: the writer shall see that first, and no room.
  // On the own host what was sent arrives before the edge of POLLOUT that its taking is.
  const bool later = (in_over_ || to_own_host_) && all && last;
  if (!later) drop_sent();
  if (all && last) empty_ = true;
  if (all && last && !later) keep_light();
  return all;
}

/// True when there may be more at once.
bool stream_pump::push_some() {
  u8 bytes[chunk];
  drop_sent();
  for (int i = 0; i < chunks_a_turn; ++i) {
    if (cookie_.empty() && !first_.empty() && !flush_first()) return false;
    const peeked got = peek(bytes);
    if (got.len < 0 && errno != EAGAIN) unread_ = true;
    if (got.len < 0) {
      keep_light();
      return false;
    }
    byte_view seen = byte_view(bytes).first(static_cast<std::size_t>(got.len));
    if (!cookie_.empty() && !seen.empty() && take_cookie(seen)) continue;
    if (failing_ != errc::ok || filler_ != 0) return false;
    const bool last = seen.size() < chunk;
    if (held_ && !seen.empty()) seen = seen.subspan(1);
    if (seen.empty()) {
      keep_light();
      return false;
    }
    empty_ = false;
    if (!send_on(seen, got.rights, last) || (last && !got.rights)) return false;
  }
  return true;
}

bool stream_pump::push() {
  while (push_some()) {}
  drop_sent();
  return empty_ && first_.empty();
}

/// It goes to the stack behind first_, ahead of all that is left at the end.
void stream_pump::take_rest() {
  if (filler_ != 0 || !cookie_.empty() || failing_ != errc::ok) return;
  drop_sent();
  if (!rest_) rest_ = std::make_unique<anchored_rest>(anchored_.all(), host_);
  u8 bytes[chunk];
  while (rest_->has_room()) {
    const peeked got = peek(bytes);
    byte_view seen =
        byte_view(bytes).first(static_cast<std::size_t>(std::max<ssize_t>(got.len, 0)));
    if (held_ && !seen.empty()) seen = seen.subspan(1);
    if (seen.empty()) {
      keep_light();
      break;
    }
    first_.insert(first_.end(), seen.begin(), seen.end());
    since_empty_ += seen.size();
    const bool keeps = !got.rights;  // descriptors live as long as a byte of their buffer waits
    consume_passing(seen.size() + (held_ ? 1 : 0) - (keeps ? 1 : 0));
    held_ = keeps;
    rest_->set(static_cast<u32>(first_.capacity()));
  }
  if (first_.empty()) rest_.reset();
}

// --- stack to program -------------------------------------------------------------------------

void stream_pump::discard_in(byte_span seen) {
  recv_msg msg;
  msg.iov = {&seen, 1};
  msg.flags = uapi::msg_dontwait | uapi::msg_trunc;
  (void)host_.recvmsg(s_, msg);
}

void stream_pump::note_given(std::size_t len, byte_view control) {
  given_ += len;
  if (!stamped_) return;
  const auto is_last = [control](const std::vector<u8>& last) {
    return std::equal(control.begin(), control.end(), last.begin(), last.end());
  };
  if (!stamps_.empty() && is_last(stamps_.back().control)) {
    stamps_.back().end = given_;
  } else {
    stamps_.push_back({given_, {control.begin(), control.end()}});
  }
  if (stamps_.size() > most_stamps) stamps_.pop_front();
}

std::vector<u8> stream_pump::came_with(std::size_t unread) {
  const u64 read = given_ - std::min<u64>(unread, given_);
  while (stamps_.size() > 1 && stamps_.front().end < read) stamps_.pop_front();
  return stamps_.empty() ? std::vector<u8>{} : stamps_.front().control;
}

bool stream_pump::stack_at_mark() const {
  le32 answer;
  const byte_span out{reinterpret_cast<u8*>(&answer), sizeof answer};
  return host_.ioctl(s_, uapi::siocatmark, out) && answer.value() != 0;
}

/// The stack's urgent byte, which `flags` may leave there; an error when it was taken before.
result<u8> stream_pump::stack_urgent_byte(u32 flags) const {
  u8 byte = 0;
  const byte_span room{&byte, 1};
  recv_msg msg;
  msg.iov = {&room, 1};
  msg.flags = uapi::msg_dontwait | uapi::msg_oob | flags;
  const auto got = host_.recvmsg(s_, msg);
  if (!got) return fail(got.error());
  if (*got == 0) return fail(errc::inval);
  return byte;
}

/// At the mark: the urgent byte goes to the anchor as one. False when it cannot now.
bool stream_pump::carry_urgent() {
  if (asked_.all) return keep_urgent();
  if (!stack_at_mark()) return true;
  const auto byte = stack_urgent_byte(uapi::msg_peek);
  if (!byte) return true;
  if (::send(end_.get(), &*byte, 1, MSG_OOB | MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
    asked_.all = errno == EOPNOTSUPP;
    if (asked_.all) return keep_urgent();
    reader_full_ = errno == EAGAIN;
    return !reader_full_;
  }
  (void)stack_urgent_byte(0);
  note_given(1, {});
  if (!urgent_in_line_) asked_.mark = given_;
  return true;
}

/// The same where AF_UNIX has no urgent data. No receive of the program may go past the mark, so it
/// is given nothing behind it before it has read all up to it. False while it has not.
bool stream_pump::keep_urgent() {
  if (!stack_at_mark()) {
    asked_.noted = false;
    return true;
  }
  const auto byte = stack_urgent_byte(uapi::msg_peek);
  if (asked_.noted && !byte) return true;
  if (bytes() > 0) {
    reader_full_ = true;
    return false;
  }
  asked_.mark = given_;
  asked_.noted = true;
  if (byte) (void)stack_urgent_byte(0);
  asked_.byte.reset();
  if (byte && !urgent_in_line_) asked_.byte = *byte;
  if (!byte || !urgent_in_line_) return true;
  const bool sent = ::send(end_.get(), &*byte, 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1;
  if (sent) note_given(1, {});
  return sent;  // else it is shut for reading
}

result<u8> stream_pump::urgent_byte(u32 flags) {
  urgent_ = true;  // the stack does not show any more what was read from it
  if (urgent_in_line_) return fail(errc::inval);
  if (!asked_.byte) return stack_urgent_byte(flags & uapi::msg_peek);
  const u8 byte = *asked_.byte;
  if ((flags & uapi::msg_peek) == 0) asked_.byte.reset();
  return byte;
}

bool stream_pump::at_mark(std::size_t unread) const {
  const bool held_back = unread == 0 && !asked_.noted && stack_at_mark();
  return held_back || given_ - std::min<u64>(unread, given_) == asked_.mark;
}

std::optional<std::size_t> stream_pump::before_mark(std::size_t unread, bool urgent_waits) const {
  if (asked_.mark > given_) return std::nullopt;
  if (bytes() == 0) return 0;  // Linux 6.18 goes on counting an urgent byte that a read went past
  const u64 from_mark = given_ - asked_.mark + (urgent_waits ? 1 : 0);
  if (unread < from_mark || (unread == from_mark && !urgent_waits)) return std::nullopt;
  return unread - static_cast<std::size_t>(from_mark);
}

/// Nothing but an urgent byte is left. Once that was carried, the stack reads on behind it: at the
/// next urgent byte it would else be taken for a plain one.
void stream_pump::pass_mark() {
  if (!stack_at_mark() || stack_urgent_byte(uapi::msg_peek)) return;
  u8 none = 0;
  discard_in(byte_span{&none, 1});
}

/// How much may be added to the anchor. Where the anchors of all hold as much as they may, a
/// program that reads still gets a little at a time: what it reads is an event at the end.
std::size_t stream_pump::room_in_memory() {
  constexpr std::size_t little = 4096;
  if (anchored_.has_room()) return chunk;
  return bytes() == 0 ? little : 0;
}

/// Bytes were given to the anchor. What waits there is asked about only when it may be much.
void stream_pump::note_anchored(std::size_t len) {
  handed(static_cast<u32>(len + buffer_head));
  if (most() > chunk) (void)ask();
  anchored_.grew();
}

/// One chunk from the stack to the anchor. True when there may be more.
bool stream_pump::pass_in() {
  u8 bytes[chunk];
  const byte_span room = byte_span(bytes).first(room_in_memory());
  if (room.empty()) {
    reader_full_ = true;
    return false;
  }
  recv_msg msg;
  msg.iov = {&room, 1};
  msg.flags = uapi::msg_dontwait | uapi::msg_peek;
  u8 control[256];
  if (stamped_) msg.control = control;
  const auto got = host_.recvmsg(s_, msg);
  if (!got) {
    if (got.error() == errc::again) {
      if (urgent_) pass_mark();
      return false;
    }
    in_over_ = true;
    fail_with(got.error());
    return false;
  }
  if (*got == 0) {
    in_over_ = true;
    if (failing_ == errc::ok) ::shutdown(end_.get(), SHUT_WR);
    return false;
  }
  const ssize_t sent = ::send(end_.get(), bytes, *got, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0) {
    reader_full_ = errno == EAGAIN;  // else it is shut for reading, and the stack keeps the bytes
    return false;
  }
  note_anchored(static_cast<std::size_t>(sent));
  discard_in(room.first(static_cast<std::size_t>(sent)));
  note_given(static_cast<std::size_t>(sent), byte_view(control).first(msg.control_len));
  reader_full_ = static_cast<std::size_t>(sent) < *got;
  return !reader_full_;
}

void stream_pump::look_for_error() {
  le32 error;
  const byte_span out{reinterpret_cast<u8*>(&error), sizeof error};
  const auto got = host_.getsockopt(s_, uapi::sol_socket, uapi::so_error, out);
  if (got && error.value() != 0) fail_with(static_cast<errc>(error.value()));
}

/// True when there may be more at once.
bool stream_pump::pull_some() {
  if (filler_ != 0) return false;
  reader_full_ = false;
  const u32 ready = host_.poll(s_);
  if (in_over_) {
    // The peer sends no more, but it may still reset.
    if ((ready & uapi::pollerr) != 0) look_for_error();
    return false;
  }
  constexpr u32 news = uapi::pollin | uapi::pollerr | uapi::pollhup | uapi::pollrdhup;
  urgent_ = urgent_ || (ready & uapi::pollpri) != 0;
  if (lowat_ > 1 && (ready & news) == 0) {
    if (urgent_) carry_urgent();
    return false;
  }
  for (int i = 0; i < chunks_a_turn; ++i) {
    if (urgent_ && !carry_urgent()) return false;
    if (!pass_in()) return false;
  }
  return true;
}

}  // namespace ph::dropin
