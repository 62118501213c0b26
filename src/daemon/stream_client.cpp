// The pump of stream sockets. The rule of the held byte: the daemon's end always keeps one byte
// that was already sent on in its queue, so that closing it resets the anchor; bytes are peeked,
// sent on, and as many as were sent are consumed, which leaves the last one.
#include "daemon/stream_client.h"

#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "uapi/socket.h"

namespace ph::dropin {
namespace {

constexpr std::size_t chunk = 65536;
constexpr int chunks_a_turn = 16;

ssize_t peek(int fd, byte_span to) {
  return ::recv(fd, to.data(), to.size(), MSG_PEEK | MSG_DONTWAIT);
}

void consume(int fd, std::size_t len) {
  u8 bin[16384];
  while (len > 0) {
    const ssize_t got = ::recv(fd, bin, std::min(len, sizeof bin), MSG_DONTWAIT);
    if (got <= 0) return;
    len -= static_cast<std::size_t>(got);
  }
}

int socket_error(int fd) {
  int error = 0;
  socklen_t len = sizeof error;
  ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len);
  return error;
}

answer_data refuse(errc e) { return {-static_cast<int>(e), {}, {}, 0}; }

}  // namespace

// --- connecting -------------------------------------------------------------------------------

std::optional<answer_data> stream_client::connect(call& c) {
  return phase_ == phase::connecting ? connect_again(c) : begin_connect(c);
}

std::optional<answer_data> stream_client::begin_connect(call& c) {
  const auto done = host_.connect(s_, c.data);
  if (done) {
    if (sockaddr_family(c.data) == uapi::af_unspec) return answer_data{};
    return connect_started(c, 0, false);
  }
  if (done.error() != errc::inprogress) return refuse(done.error());
  phase_ = phase::connecting;
  pending_error_ = 0;
  if (c.wait() && !was_linked_) {
    waiting_ = waiting_connect{c.channel, c.head, std::move(c.anchor)};
    return std::nullopt;
  }
  return connect_started(c, -static_cast<int>(errc::inprogress), true);
}

/// sendmsg(MSG_FASTOPEN) on a socket that is not connected (tcp(7), RFC 7413): a connect that may
/// carry bytes. Who blocks is answered when the handshake has ended, as by connect.
std::optional<answer_data> stream_client::open_fast(call& c) {
  message_parts parts;
  if (!parse_message(c.data.data(), c.data.size(), parts)) return refuse(errc::inval);
  const byte_view payload{parts.payload, parts.head.payload_len};
  send_msg msg;
  msg.name = {parts.name, parts.head.name_len};
  msg.iov = {&payload, 1};
  msg.flags = static_cast<u32>(c.head.arg[0]) | uapi::msg_dontwait;
  const auto sent = host_.sendmsg(s_, msg);
  if (!sent && sent.error() != errc::inprogress) return refuse(sent.error());
  phase_ = phase::connecting;
  pending_error_ = 0;
  const std::size_t in_syn = sent.value_or(0);
  if (c.wait()) {
    waiting_ = waiting_connect{c.channel, c.head, std::move(c.anchor),
                               {payload.begin(), payload.end()}, in_syn};
    return std::nullopt;
  }
  const int result = sent ? static_cast<int>(in_syn) : -static_cast<int>(errc::inprogress);
  return connect_started(c, result, true);
}

/// What the SYN did not take, once the connection is there; returns how much was sent in all.
int stream_client::send_first(const waiting_connect& waiting) {
  const byte_view rest = byte_view(waiting.first).subspan(waiting.in_syn);
  send_msg msg;
  msg.iov = {&rest, 1};
  msg.flags = uapi::msg_nosignal | uapi::msg_dontwait;
  const std::size_t more = rest.empty() ? 0 : host_.sendmsg(s_, msg).value_or(0);
  return static_cast<int>(waiting.in_syn + more);
}

/// Joins anchor and end. An anchor that was connected before cannot be joined again: the program
/// gets a new one.
answer_data stream_client::connect_started(call& c, int result, bool hold) {
  phase_ = hold ? phase::connecting : phase::connected;
  answer_data a;
  a.result = result;
  auto linked = link(unique_fd(::dup(c.anchor.get())), hold);
  if (linked) return a;
  auto fresh = new_anchor(false);
  if (!fresh) return refuse(fresh.error());
  linked = link(unique_fd(::dup(fresh->get())), hold);
  if (!linked) return refuse(linked.error());
  a.fd = std::move(*fresh);
  a.flags = reply_new_anchor;
  return a;
}

/// connect() while one is under way: the anchor must show it by the time of the answer.
std::optional<answer_data> stream_client::connect_again(call& c) {
  waiting_.reset();
  if (c.wait()) {
    waiting_ = waiting_connect{c.channel, c.head, end_ ? unique_fd() : std::move(c.anchor)};
    return std::nullopt;
  }
  if (!end_) {
    const auto linked = link(std::move(c.anchor), true);
    if (!linked) return refuse(linked.error());
  }
  return refuse(errc::already);
}

result<unique_fd> stream_client::link(unique_fd anchor, bool hold) {
  end_.reset();
  was_linked_ = true;
  TRY(stream_end made, owner_.anchors().link_stream(anchor.get(), hold));
  reach_.reset();
  end_ = std::move(made.fd);
  filler_ = hold && made.filler > 0 ? made.filler - 1 : 0;
  held_ = true;
  program_done_ = hung_up_ = false;
  owner_.poll_end(end_.get(), id_);
  owner_.mark(*this);
  return anchor;
}

void stream_client::check_connecting() {
  const u32 ready = host_.poll(s_);
  if ((ready & (uapi::pollout | uapi::pollerr | uapi::pollhup)) == 0) return;
  const errc error = stack_error();
  if (error == errc::ok && (ready & uapi::pollout) == 0) return;
  auto waiting = std::exchange(waiting_, std::nullopt);
  if (error != errc::ok) {
    phase_ = phase::idle;
    if (end_) reset_anchor(error);
    if (waiting) {
      pending_error_ = 0;
      owner_.answer_later(waiting->channel, waiting->head, refuse(error));
    }
    return;
  }
  phase_ = phase::connected;
  answer_data a;
  if (end_) {
    consume(end_.get(), std::exchange(filler_, 0));
  } else if (waiting) {
    a = answer_of(link(std::move(waiting->anchor), false));
  }
  if (!waiting) return;
  if (!waiting->first.empty() && a.result >= 0) a.result = send_first(*waiting);
  owner_.answer_later(waiting->channel, waiting->head, std::move(a));
}

void stream_client::give_up(u64 channel) {
  if (!waiting_ || waiting_->channel != channel) return;
  if (end_) return waiting_.reset();
  // Interrupted: the connect goes on, and the anchor shows it from now on.
  auto waiting = std::exchange(waiting_, std::nullopt);
  if (!link(std::move(waiting->anchor), true)) owner_.remove(*this);
}

// --- listening --------------------------------------------------------------------------------

answer_data stream_client::listen(call& c) {
  const auto done = host_.listen(s_, c.head.arg[0]);
  if (!done) return refuse(done.error());
  const int backlog = std::max(c.head.arg[0], 0);
  if (::listen(c.anchor.get(), backlog) != 0) return refuse(static_cast<errc>(errno));
  phase_ = phase::listening;
  owner_.mark(*this);
  return {};
}

void stream_client::accept_ready() {
  for (int i = 0; i < 64; ++i) {
    if (parked_ < 0) {
      const auto s = host_.accept(s_);
      if (!s) return;
      parked_ = *s;
    }
    if (!offer_parked()) return;
  }
  owner_.mark(*this);
}

/// Hands the connection taken last to the anchor's queue. False when that is full: the kernel does
/// not tell when it has room again, so we look soon.
bool stream_client::offer_parked() {
  anchor_name end = name_of(name_kind::stream, owner_.new_id());
  const auto local = host_.name(parked_, false), remote = host_.name(parked_, true);
  if (local) end.local.len = static_cast<u8>(copy_bytes(end.local.bytes, local->view()));
  if (remote) end.remote.len = static_cast<u8>(copy_bytes(end.remote.bytes, remote->view()));
  auto fd = owner_.anchors().offer_stream(reach_.get(), end);
  if (!fd) {
    const errc why = fd.error();
    if (why == errc::again || why == errc::addrinuse) {
      owner_.mark_later(*this);
    } else if (why != errc::connrefused) {
      owner_.mark_starving(*this);
    }
    return false;
  }
  owner_.adopt(host_, std::exchange(parked_, -1), end, std::move(*fd));
  return true;
}

stream_client::~stream_client() {
  if (parked_ >= 0) host_.close(parked_);
}

void stream_client::accepted(unique_fd end) {
  phase_ = phase::connected;
  cookie_due_ = true;
  end_ = std::move(end);
  owner_.poll_end(end_.get(), id_);
  owner_.mark(*this);
}

// --- pumping ----------------------------------------------------------------------------------

void stream_client::on_end(u32 events) {
  if ((events & EPOLLRDHUP) != 0) program_done_ = true;
  if ((events & EPOLLHUP) != 0) hung_up_ = true;
  if ((events & EPOLLERR) != 0 && socket_error(end_.get()) == ECONNRESET) return reset_connection();
  pump();
}

void stream_client::pump() {
  if (phase_ == phase::listening) return accept_ready();
  if (phase_ == phase::connecting) check_connecting();
  if (phase_ == phase::connecting && end_ && hung_up_) return program_ended();
  if (phase_ != phase::connected || !end_) return;
  // After a hang-up nobody reads: what is left in the stack makes its close a reset.
  bool more = !hung_up_ && pump_in();
  if (phase_ == phase::connected && end_) more = pump_out() || more;
  if (more && phase_ == phase::connected) owner_.mark(*this);
}

/// The shim's cookie becomes the held byte. Before it is known whether one comes, nothing is read.
void stream_client::take_cookie(byte_view first) {
  u8 cookie[cookie_len];
  accept_cookie(name_of(name_kind::stream, id_), cookie);
  cookie_due_ = false;
  if (first.size() < cookie_len || std::memcmp(first.data(), cookie, cookie_len) != 0) return;
  consume(end_.get(), cookie_len - 1);
  held_ = true;
}

/// Program to stack. True when there may be more at once.
bool stream_client::pump_out() {
  u8 bytes[chunk];
  for (int i = 0; i < chunks_a_turn; ++i) {
    const ssize_t got = peek(end_.get(), bytes);
    if (got < 0 && errno != EAGAIN) {
      reset_connection();
      return false;
    }
    if (cookie_due_ && got > 0) {
      take_cookie(byte_view(bytes).first(static_cast<std::size_t>(got)));
      continue;
    }
    const std::size_t skip = held_ ? 1 : 0;
    if (got <= static_cast<ssize_t>(skip)) {
      if (program_done_) program_ended();
      return false;
    }
    const byte_view fresh = byte_view(bytes).first(static_cast<std::size_t>(got)).subspan(skip);
    send_msg msg;
    msg.iov = {&fresh, 1};
    msg.flags = uapi::msg_nosignal | uapi::msg_dontwait;
    const auto sent = host_.sendmsg(s_, msg);
    if (!sent) {
      // In progress: with TCP_FASTOPEN_CONNECT it is the first send that connects.
      const bool later = sent.error() == errc::again || sent.error() == errc::inprogress;
      if (!later) reset_anchor(sent.error());
      return false;
    }
    if (*sent == 0) return false;
    consume(end_.get(), held_ ? *sent : *sent - 1);
    held_ = true;
  }
  return true;
}

/// What was taken from the stack goes to the anchor. False when it does not take more.
bool stream_client::flush_in() {
  while (in_at_ < in_len_) {
    const ssize_t n =
        ::send(end_.get(), in_.data() + in_at_, in_len_ - in_at_, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno == EPIPE) break;  // shut for reading: TCP throws such bytes away
    if (n < 0) return false;
    in_at_ += static_cast<std::size_t>(n);
  }
  in_at_ = in_len_ = 0;
  return true;
}

/// Stack to program. True when there may be more at once.
bool stream_client::pump_in() {
  for (int i = 0; i < chunks_a_turn; ++i) {
    if (!flush_in()) return false;
    if (fin_given_) return false;
    in_.resize(chunk);
    const byte_span room{in_};
    recv_msg msg;
    msg.iov = {&room, 1};
    msg.flags = uapi::msg_dontwait;
    const auto got = host_.recvmsg(s_, msg);
    if (!got) {
      if (got.error() != errc::again) reset_anchor(got.error());
      return false;
    }
    if (*got == 0) {
      fin_given_ = true;
      ::shutdown(end_.get(), SHUT_WR);
    }
    in_len_ = *got;
  }
  return true;
}

/// All that the program wrote is with the stack, and it will write no more.
void stream_client::program_ended() {
  if (hung_up_) {
    if (in_at_ < in_len_) return reset_connection();
    if (anchors_ == 0) return owner_.remove(*this);  // an accepted one: nobody watches its anchor
  }
  if (!fin_sent_) {
    fin_sent_ = true;
    (void)host_.shutdown(s_, SHUT_WR);
  }
}

/// The connection failed: the program sees a reset, and take_error tells why.
void stream_client::reset_anchor(errc why) {
  pending_error_ = static_cast<int>(why == errc::pipe ? errc::connreset : why);
  phase_ = phase::spent;
  end_.reset();
  if (anchors_ == 0) owner_.remove(*this);
}

/// The program closed with unread data: so does the stack, which then resets (RFC 2525 §2.17).
void stream_client::reset_connection() {
  const le32 linger[2] = {le32(1), le32(0)};
  (void)host_.setsockopt(s_, uapi::sol_socket, uapi::so_linger, bytes_of(linger));
  owner_.remove(*this);
}

// --- the rest ---------------------------------------------------------------------------------

answer_data stream_client::shutdown(call& c) {
  if (phase_ == phase::connected) {
    // The kernel does it, in order with what was written. When both directions are over, an
    // accepted anchor looks closed at its end: from now on it is watched.
    if (anchors_ == 0 && owner_.closes().add(c.anchor.get(), id_)) anchors_ = 1;
    return {};
  }
  return answer_of(host_.shutdown(s_, c.head.arg[0]));
}

std::optional<answer_data> stream_client::send(call& c) {
  const bool fast = (c.head.arg[0] & MSG_FASTOPEN) != 0;
  if (fast && (phase_ == phase::idle || phase_ == phase::spent)) {
    // An anchor that was connected cannot be again, and this answer has no room for another.
    return was_linked_ ? refuse(errc::opnotsupp) : open_fast(c);
  }
  while (phase_ == phase::connected && pump_out()) {
  }
  const auto sent = send_message(c);
  answer_data a = answer_of(sent);
  if (sent) a.result = static_cast<int>(*sent);
  return a;
}

void stream_client::all_closed() {
  // A connected end reads what is left and then sees the hang-up; the others have nothing left.
  if (phase_ == phase::connected && end_) {
    hung_up_ = true;
    program_done_ = true;
    owner_.mark(*this);
  } else {
    owner_.remove(*this);
  }
}

std::size_t stream_client::unpumped() {
  int queued = 0;
  if (phase_ != phase::connected || !end_) return 0;
  if (::ioctl(end_.get(), FIONREAD, &queued) != 0) return 0;
  const int own = held_ ? 1 : 0;
  return queued > own ? static_cast<std::size_t>(queued - own) : 0;
}

}  // namespace ph::dropin
