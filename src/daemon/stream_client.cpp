// The life of a TCP socket of a program: requests, ends, and how each is shown.
#include "daemon/stream_client.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "daemon/datagram_shared.h"
#include "daemon/socket_option.h"
#include "daemon/stream_pump.h"
#include "uapi/inet.h"
#include "uapi/socket.h"

namespace ph::dropin {
namespace {

/// Turns of the stack that a reset waits for acknowledgements of what was sent to the own host.
constexpr unsigned patience_at_end = 4;

/// Does it show POLLOUT?
bool has_room(int anchor) {
  pollfd now{anchor, POLLOUT, 0};
  return ::poll(&now, 1, 0) == 1 && (now.revents & POLLOUT) != 0;
}

/// What SO_SNDBUF shows after it was set; 1 when that cannot be known.
int as_the_kernel_counts(int send_buffer) {
  const unique_fd scratch(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ::setsockopt(scratch.get(), SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof send_buffer);
  return std::max(int_option(scratch.get(), SO_SNDBUF), 1);
}

/// What setsockopt is to be told at an anchor's end whose stack has a buffer of `size`, as
/// getsockopt told it. The kernel doubles the number: the end gets two thirds of the stack's, as
/// AF_UNIX packs more into it than TCP, and both shall hold no more than two of TCP's would.
int beside(int size) { return size / 3; }

}  // namespace

stream_client::~stream_client() {
  drop_parked();
  if (listener_ == 0) return;
  owner_.child_settled(listener_, false);
  if (pipe_) owner_.close_elsewhere(pipe_->release());
}

/// The listener in whose queue it waits serves no more.
void stream_client::abandon() {
  if (listener_ != 0 && pipe_) owner_.close_elsewhere(pipe_->release());
  listener_ = 0;
  pipe_.reset();
  reset_connection();
}

void stream_client::offered(unique_fd end, u64 listener) {
  phase_ = phase::connected;
  was_connected_ = true;
  listener_ = listener;
  u8 cookie[cookie_len];
  accept_cookie(name_of(name_kind::stream, id_), cookie);
  owner_.poll_end(end.get(), id_);
  pipe_ = stream_pump::offered(host_, s_, std::move(end), cookie, owner_.datagrams().memory);
  note_peer();
  apply_settings();
  owner_.mark(*this);
}

// --- options ----------------------------------------------------------------------------------

int stream_client::option(int level, int name) {
  le32 value;
  const auto got = host_.getsockopt(s_, level, name, {reinterpret_cast<u8*>(&value), sizeof value});
  return got ? static_cast<int>(value.value()) : 0;
}

/// Brings the pipe in line with what the socket's options say.
void stream_client::apply_settings() {
  if (!pipe_) return;
  pipe_settings settings;
  settings.lowat = option(uapi::sol_socket, uapi::so_rcvlowat);
  settings.stamped = wants_stamps();
  settings.to_own_host = sends_home() != nullptr;
  settings.urgent_in_line = urgent_in_line_;
  const bool chosen = (option(uapi::sol_socket, uapi::so_buf_lock) & 2) != 0;
  if (chosen) settings.receive_buffer = beside(option(uapi::sol_socket, uapi::so_rcvbuf));
  settings.send_buffer = send_buffer_;
  pipe_->apply(settings);
}

/// Notes the SO_SNDBUF of an anchor at hand, unless its shim is about to make that smaller.
void stream_client::see_anchor(int anchor) {
  const int seen = std::min(int_option(anchor, SO_SNDBUF), told_send_buffer_);
  if (seen == send_buffer_) return;
  send_buffer_ = seen;
  apply_settings();
}

/// From here on the urgent byte is in line, or not, at the anchor: the stack keeps it apart.
void stream_client::leave_urgent_byte_to_anchor() {
  if (option(uapi::sol_socket, uapi::so_oobinline) != 0) {
    urgent_in_line_ = true;
    apply_settings();
  }
  const le32 off(0);
  (void)host_.setsockopt(s_, uapi::sol_socket, uapi::so_oobinline, bytes_of(off));
}

/// What the anchor's AF_UNIX socket is told of an option of ours.
anchor_option stream_client::for_anchor(int name) {
  anchor_option out{name, sizeof(s32), {}};
  if (name == uapi::so_sndbuf) {
    const bool chosen = (option(uapi::sol_socket, uapi::so_buf_lock) & 1) != 0;
    out.value[0] = chosen ? beside(option(uapi::sol_socket, uapi::so_sndbuf))
                          : static_cast<int>(2 * heaviest_buffer());
  } else if (name == uapi::so_linger) {
    // Says nothing to AF_UNIX, but tells the shim that close() has to wait.
    const auto wait = linger_time();
    out.len = sizeof out.value;
    out.value[0] = wait ? 1 : 0;
    out.value[1] = wait.value_or(0);
  } else {
    out.value[0] = option(uapi::sol_socket, name);
  }
  return out;
}

/// Nobody else has the anchor yet, so nothing waits here.
result<void> stream_client::anchor_made(int anchor) {
  unread_.reset();
  for (const int name : {uapi::so_sndbuf, uapi::so_rcvlowat, uapi::so_oobinline, uapi::so_linger}) {
    const anchor_option told = for_anchor(name);
    ::setsockopt(anchor, SOL_SOCKET, told.name, &told.value, told.len);
  }
  told_send_buffer_ = std::numeric_limits<int>::max();
  return {};
}

/// Lets the shim set an option at the anchor, and counts on that.
void stream_client::tell_anchor(answer_data& a, int name, int anchor) {
  const anchor_option told = for_anchor(name);
  // Setting it wakes who waits for POLLOUT, also to what it was.
  const bool there = name == uapi::so_sndbuf && int_option(anchor, SO_SNDBUF) == 2 * told.value[0];
  if (there && told_send_buffer_ >= 2 * told.value[0]) return;
  a.flags |= reply_set_anchor;
  a.data.assign(bytes_of(told).begin(), bytes_of(told).end());
  if (name == uapi::so_sndbuf) {
    told_send_buffer_ = as_the_kernel_counts(told.value[0]);
    see_anchor(anchor);
  }
  if (name != uapi::so_oobinline) return;
  urgent_in_line_ = told.value[0] != 0;
  if (pipe_) leave_urgent_byte_to_anchor();
}

/// A socket that was shut for writing has sent its FIN as far as TCP is concerned, though the FIN
/// still waits for room behind bytes in the anchor.
answer_data stream_client::get_option(const call& c) {
  answer_data a = client::get_option(c);
  const bool told =
      c.head.arg[0] == uapi::ipproto_tcp && c.head.arg[1] == uapi::tcp_info_opt && !a.data.empty();
  if (!told || !pipe_ || !pipe_->writes_over()) return a;
  using uapi::tcp_state;
  const auto state = static_cast<tcp_state>(a.data.front());  // tcpi_state
  if (state == tcp_state::established) a.data.front() = static_cast<u8>(tcp_state::fin_wait1);
  if (state == tcp_state::close_wait) a.data.front() = static_cast<u8>(tcp_state::last_ack);
  return a;
}

answer_data stream_client::set_option(call& c) {
  answer_data a = client::set_option(c);
  if (a.result < 0 || c.head.arg[0] != uapi::sol_socket) return a;
  switch (c.head.arg[1]) {
    case uapi::so_sndbuf:
    case uapi::so_sndbufforce:
    case uapi::so_buf_lock: tell_anchor(a, uapi::so_sndbuf, c.anchor.get()); break;
    case uapi::so_rcvlowat:
    case uapi::so_oobinline:
    case uapi::so_linger: tell_anchor(a, c.head.arg[1], c.anchor.get()); break;
    case uapi::so_rcvbuf:
    case uapi::so_rcvbufforce:
    case uapi::so_timestamp:
    case uapi::so_timestampns:
    case uapi::so_timestamping:
    case uapi::so_timestamp_new:
    case uapi::so_timestampns_new:
    case uapi::so_timestamping_new: break;
    default: return a;
  }
  apply_settings();
  owner_.mark(*this);
  return a;
}

/// SO_LINGER's time in seconds, while it is on.
std::optional<int> stream_client::linger_time() {
  le32 linger[2] = {};
  const auto got = host_.getsockopt(s_, uapi::sol_socket, uapi::so_linger,
                                    {reinterpret_cast<u8*>(linger), sizeof linger});
  if (!got || linger[0].value() == 0) return std::nullopt;
  return static_cast<int>(linger[1].value());
}

bool stream_client::wants_stamps() {
  for (const int name : {uapi::so_timestamp, uapi::so_timestampns, uapi::so_timestamping}) {
    if (option(uapi::sol_socket, name) != 0) return true;
  }
  return false;
}

bool stream_client::lingers_for_nothing() { return linger_time() == 0; }

// --- pumping ----------------------------------------------------------------------------------

/// What the program wrote before it asked comes first.
void stream_client::before_request(const call& c) {
  if (phase_ != phase::connected || !pipe_) return;
  see_anchor(c.anchor.get());
  pipe_->push();
  take_passed();
  const bool counts = c.head.kind == static_cast<u16>(request_kind::ioctl) &&
                      static_cast<u32>(c.head.arg[0]) == uapi::siocinq;
  if (!counts) return;
  pipe_->pump();  // what has arrived lies where the program looks
  owner_.mark(*this);
}

void stream_client::on_end(u32 events) {
  if (!pipe_) return;
  pipe_->on_events(events);
  pump();
}

void stream_client::pump() {
  if (std::exchange(errors_new_, false)) show_errors();
  if (phase_ == phase::listening) return accept_ready();
  if (host_.memory_low()) owner_.mark_starving(*this);  // what it sends waits
  if (phase_ == phase::connecting) check_connecting();
  if (phase_ == phase::connected && pipe_) return pump_bytes();
  if (phase_ == phase::lingering && closed_socket_->over()) leave();
}

void stream_client::pump_bytes() {
  if (over() && lingers_for_nothing()) {
    if (finish_writes()) leave();
    return;
  }
  const pipe_turn turn = pipe_->pump();
  // Others may have filled the anchor up to the moment of its shutdown.
  if (shut_writing_ && !fin_sent_ && pipe_->writes_over()) {
    pipe_->take_rest();
  }
  take_passed();
  retry_sends();
  if (turn == pipe_turn::dropped) {
    if (finish_writes()) reset_connection();
    return;
  }
  if (turn == pipe_turn::failed) return show_failure(pipe_->error());
  if (pipe_->ended()) program_ended();
  if (turn == pipe_turn::more) owner_.mark(*this);
  if (turn == pipe_turn::later) owner_.mark_next_turn(*this);
}

/// Before a reset goes what was written before, and the FIN that shutdown() asked for behind it.
/// False while the own host takes more of it: on Linux it has done so when send() returns.
bool stream_client::finish_writes() {
  const bool all = pipe_->push();
  if (sends_home() != nullptr) {
    const le32 on(1);  // the program did not write it in the pieces that the stack was given
    (void)host_.setsockopt(s_, uapi::ipproto_tcp, uapi::tcp_nodelay, bytes_of(on));
    le32 in_stack;
    const byte_span answer{reinterpret_cast<u8*>(&in_stack), sizeof in_stack};
    if (!host_.ioctl(s_, uapi::siocoutq, answer)) in_stack.set(0);
    const std::size_t left = pipe_->unsent() + in_stack.value();
    const bool less = left < std::exchange(left_at_end_, left);
    turns_at_end_ = less ? 0 : turns_at_end_ + 1;
    if (left != 0 && turns_at_end_ < patience_at_end) {
      owner_.mark_next_turn(*this);
      return false;
    }
  }
  if (!all || !shut_writing_ || std::exchange(fin_sent_, true)) return true;
  (void)host_.shutdown(s_, SHUT_WR);
  return true;
}

/// When accept() has returned the program's end and its shim passed it, it is watched from now on.
void stream_client::take_passed() {
  for (unique_fd& fd : pipe_->take_passed()) {
    const auto what = identify_anchor(fd.get());
    const bool own = what && what->accepted && what->name.id == id_;
    if (!own) {
      owner_.close_elsewhere(std::move(fd));
    } else if (anchors_ == 0) {
      if (owner_.closes().add(fd.get(), id_)) anchors_ = 1;
      see_anchor(fd.get());  // its shim has set what the listener's anchor has
      leave_urgent_byte_to_anchor();
    }
  }
  if (listener_ == 0 || pipe_->accepted() == acceptance::awaited) return;
  owner_.child_settled(std::exchange(listener_, 0), pipe_->accepted() == acceptance::told);
}

/// Nobody has the anchor any more. An accepted one that is not watched looks so when it hung up.
bool stream_client::over() const { return pipe_->hung_up() && (closed_ || anchors_ == 0); }

/// Does a SYN that waited for the first bytes (TCP_FASTOPEN_CONNECT) still await its answer? On
/// Linux the call that gave those bytes waits as connect() does.
bool stream_client::opening() {
  if (!deferred_) return false;
  // Before the SYN was sent the stack shows room for the first bytes, afterwards none till the end.
  constexpr u32 over = uapi::pollout | uapi::pollerr | uapi::pollhup;
  deferred_ = (host_.poll(s_) & over) == 0 && !host_.name(s_, true);
  return deferred_;
}

/// All that the program wrote is with the stack, and it will write no more.
void stream_client::program_ended() {
  if (opening()) {
    // An end would take the SYN back. Who waits for nobody's sake is as patient as Linux by itself.
    constexpr s32 retries = 6;
    const le32 limit(retries);
    if (over() && option(uapi::ipproto_tcp, uapi::tcp_syncnt) > retries) {
      (void)host_.setsockopt(s_, uapi::ipproto_tcp, uapi::tcp_syncnt, bytes_of(limit));
    }
    return;
  }
  if (over()) {
    pipe_->finish();
    return linger();
  }
  if (fin_sent_ || closed_) return;
  fin_sent_ = true;
  (void)host_.shutdown(s_, pipe_->hung_up() ? SHUT_RDWR : SHUT_WR);
}

/// The program closed in order. With SO_LINGER and a time, it may ask when the peer has everything.
void stream_client::linger() {
  if (linger_time().value_or(0) <= 0) return leave();
  pipe_.reset();
  closed_socket_ = close_socket();
  if (!closed_socket_ || closed_socket_->over()) return leave();
  phase_ = phase::lingering;
}

std::optional<answer_data> stream_client::await_end(u64 channel, const request_head& head) {
  if (!closed_) return answer_data{};
  closes_.push_back({channel, head});
  owner_.mark(*this);
  return std::nullopt;
}

/// The end of the client: nobody has anything to ask it any more.
void stream_client::leave() {
  for (const waiting_close& w : std::exchange(closes_, {})) {
    owner_.answer_later(w.channel, w.head, {});
  }
  owner_.remove(*this);
}

/// The connection broke while the program has still to read: a writer is told first.
void stream_client::before_error(const call&) {
  const errc why = pipe_ ? pipe_->error() : errc::ok;
  if (why == errc::ok || std::exchange(failure_told_, true)) return;
  pending_error_ = static_cast<int>(why);
}

/// The connection failed: the program sees a reset, and take_error tells why.
void stream_client::show_failure(errc why) {
  pending_error_ = static_cast<int>(why);
  phase_ = phase::idle;
  const u32 unread = pipe_ ? pipe_->anchored() : 0;
  pipe_.reset();
  if (unread != 0) {
    unread_ = std::make_unique<anchored_rest>(owner_.datagrams().memory, host_);
    unread_->set(unread);
  }
  for (waiting_send& waiting : std::exchange(sends_, {})) {
    owner_.answer_later(waiting.channel, waiting.head, refusal(why));
  }
  if (anchors_ == 0) leave();
}

/// The program closed with unread data: so does the stack, which then resets (RFC 2525 §2.17).
void stream_client::reset_connection() {
  const le32 linger[2] = {le32(1), le32(0)};
  (void)host_.setsockopt(s_, uapi::sol_socket, uapi::so_linger, bytes_of(linger));
  leave();
}

void stream_client::all_closed() {
  closed_ = true;
  // The end of a linked one says by its hang-up, which comes after this, how it was closed.
  if (phase_ != phase::connected || !pipe_) return leave();
  owner_.mark(*this);
}

// --- other requests ---------------------------------------------------------------------------

answer_data stream_client::shutdown(call& c) {
  const int how = c.head.arg[0];
  if (phase_ == phase::connected && host_.name(s_, true)) {
    // The kernel does it, in order with what was written; the peer learns of it in that order, but
    // bytes that nobody will read are refused from now on.
    if (how != SHUT_WR) (void)host_.shutdown(s_, SHUT_RD);
    if (how != SHUT_RD) end_writes(c.anchor.get(), how);
    answer_data a;
    a.flags = reply_shut_anchor;
    return a;
  }
  if (phase_ == phase::listening && how != SHUT_WR) {
    stop_listening(c.anchor.get());
    answer_data a = answer_of(host_.shutdown(s_, how));
    a.flags = reply_renew;
    return a;
  }
  const phase before = phase_;
  answer_data a = answer_of(host_.shutdown(s_, how));
  if (before == phase::connecting) finish_connect(errc::connreset);
  if (before == phase::idle && !was_connected_ && a.result == -static_cast<int>(errc::notconn)) {
    shut_early_ |= static_cast<u8>(how + 1);
    anchor_shut_ = true;  // by the shim
  }
  return a;
}

/// The program is about to shut its socket for writing. Who waits to write there must find that it
/// no longer waits: for the kernel, that there is room.
void stream_client::end_writes(int anchor, int how) {
  shut_writing_ = true;
  if (shut_early_ != 0) fin_sent_ = false;  // that sent no FIN, this does
  owner_.mark(*this);
  if (!pipe_ || has_room(anchor)) return;
  ::shutdown(anchor, SHUT_WR);  // else those who wait would go on writing
  pipe_->take_rest();
  if (how == SHUT_RDWR) ::shutdown(anchor, how);  // who is awake soon sees both
}

/// Sends a message that plain bytes on the anchor cannot say. Nothing when there is no room, or
/// when earlier bytes still wait.
std::optional<int> stream_client::try_send(const request_head& head, byte_view data) {
  if (shut_writing_) {
    const errc why = stack_error();
    return -static_cast<int>(why != errc::ok ? why : errc::pipe);
  }
  if (phase_ == phase::connecting || (pipe_ && !pipe_->push())) return std::nullopt;
  const auto sent = send_message({0, head, data, {}});
  if (!sent && sent.error() == errc::again) return std::nullopt;
  return sent ? static_cast<int>(*sent) : -static_cast<int>(sent.error());
}

std::optional<answer_data> stream_client::send(call& c) {
  if (phase_ == phase::idle && !was_connected_ && (c.head.arg[0] & MSG_FASTOPEN) != 0) {
    return open_fast(c);
  }
  if (const auto sent = try_send(c.head, c.data)) return answer_data{*sent, {}, {}, 0};
  if (!c.wait()) return refusal(errc::again);
  if (host_.memory_low()) owner_.mark_starving(*this);
  sends_.push_back({c.channel, c.head, {c.data.begin(), c.data.end()}});
  return std::nullopt;
}

void stream_client::retry_sends() {
  while (!sends_.empty()) {
    const auto sent = try_send(sends_.front().head, sends_.front().data);
    if (!sent) return;
    const waiting_send done = std::move(sends_.front());
    sends_.erase(sends_.begin());
    owner_.answer_later(done.channel, done.head, {*sent, {}, {}, 0});
  }
}

/// A new anchor for one that an earlier connection has used up.
answer_data stream_client::renew(call& c) {
  if (pipe_ || phase_ != phase::idle || is_unused(c.anchor.get())) {
    return refusal(errc::already);
  }
  auto fresh = new_anchor(false);
  anchor_shut_ = anchor_shut_ && !fresh;
  answer_data a = answer_of(fresh);
  if (fresh) a.fd = std::move(*fresh);
  return a;
}

// --- what comes beside the bytes ---------------------------------------------------------------

/// The urgent byte where AF_UNIX carries none: on other kernels the anchor has it.
answer_data stream_client::receive(const call& c) {
  const auto flags = static_cast<u32>(c.head.arg[0]);
  if ((flags & uapi::msg_oob) == 0 || !pipe_) return client::receive(c);
  const auto byte = pipe_->urgent_byte(flags);
  answer_data a = answer_of(byte);
  if (!byte) return a;
  owner_.mark(*this);  // it may have been held back
  const bool fits = c.head.arg[1] > 0;
  message_head head;
  head.flags = static_cast<u16>(uapi::msg_oob | (fits ? 0 : uapi::msg_trunc));
  head.payload_len = fits ? 1 : 0;
  a.result = static_cast<int>(head.payload_len);
  a.data.assign(bytes_of(head).begin(), bytes_of(head).end());
  if (fits) a.data.push_back(*byte);
  return a;
}

/// FIONREAD's answer is what there is besides the bytes at the anchor; but TCP does not count those
/// from the mark on before it is reached, so it may be less than nothing.
answer_data stream_client::do_ioctl(const call& c) {
  const auto command = static_cast<u32>(c.head.arg[0]);
  const bool marked = command == uapi::siocatmark || command == uapi::siocinq;
  if (!marked || !pipe_) return client::do_ioctl(c);
  int here = 0;
  if (::ioctl(c.anchor.get(), FIONREAD, &here) != 0) here = 0;
  const auto unread = static_cast<std::size_t>(std::max(here, 0));
  le32 told;
  if (command == uapi::siocatmark) {
    told.set(pipe_->at_mark(unread) ? 1 : 0);
  } else {
    pollfd now{c.anchor.get(), POLLPRI, 0};
    const bool urgent_waits = ::poll(&now, 1, 0) == 1 && (now.revents & POLLPRI) != 0;
    const auto ahead = pipe_->before_mark(unread, urgent_waits);
    if (!ahead) return client::do_ioctl(c);
    told.set(static_cast<u32>(*ahead - unread));
  }
  answer_data a;
  a.data.assign(bytes_of(told).begin(), bytes_of(told).end());
  return a;
}

/// Time stamps, and how many bytes can be read now, wherever they wait (TCP_INQ).
answer_data stream_client::received(const call& c) {
  int unread = 0;
  if (::ioctl(c.anchor.get(), FIONREAD, &unread) != 0) unread = 0;
  answer_data a;
  if (pipe_ && wants_stamps()) {
    const auto only_seen = static_cast<std::size_t>(std::max(c.head.arg[0], 0));
    const auto left = static_cast<std::size_t>(unread);
    const std::vector<u8> came = pipe_->came_with(left - std::min(left, only_seen));
    a.data = to_items(came, [](int level, int) { return level == uapi::sol_socket; });
  }
  if (option(uapi::ipproto_tcp, uapi::tcp_inq) == 0) return a;
  le32 in_stack;
  const byte_span answer{reinterpret_cast<u8*>(&in_stack), sizeof in_stack};
  if (!host_.ioctl(s_, uapi::siocinq, answer)) in_stack.set(0);
  const bool ended = !pipe_ || (host_.poll(s_) & (uapi::pollrdhup | uapi::pollhup)) != 0;
  const u32 all = static_cast<u32>(unread) + in_stack.value();
  // After the last byte a program that trusts the count must still come back for the end.
  const le32 told(all == 0 && ended ? 1 : all);
  const control_item item{uapi::ipproto_tcp, uapi::tcp_cm_inq, sizeof told};
  a.data.insert(a.data.end(), bytes_of(item).begin(), bytes_of(item).end());
  a.data.insert(a.data.end(), bytes_of(told).begin(), bytes_of(told).end());
  return a;
}

answer_data stream_client::give_error_flag() {
  if (!error_flag_) {
    auto share = share_.another(error_flag::descriptors);
    if (!share) return refusal(share.error());
    auto made = error_flag::create();
    if (!made) return refusal(made.error());
    error_flag_ = std::make_unique<shown_errors>(shown_errors{std::move(*made), std::move(*share)});
  }
  auto copy = error_flag_->flag.copy();
  if (!copy) return refusal(copy.error());
  show_errors();
  answer_data a;
  a.fd = std::move(*copy);
  return a;
}

/// The stack's POLLERR is shown while the error queue has something.
void stream_client::show_errors() {
  if (!error_flag_) return;
  error_flag_->flag.lower();
  if (s_ >= 0 && (host_.poll(s_) & uapi::pollerr) != 0) error_flag_->flag.raise();
}

void stream_client::error_told(const call&, int) { show_errors(); }

void stream_client::woken(u32 events) {
  if ((events & uapi::pollerr) != 0) errors_new_ = true;
}

std::size_t stream_client::unpumped() {
  return phase_ == phase::connected && pipe_ ? pipe_->unsent() : 0;
}

}  // namespace ph::dropin
