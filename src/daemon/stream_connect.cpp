// connect() of a TCP socket: starting, joining, interrupting, telling how it ended.
//
// An AF_UNIX stream connects once, for ever. A blocking connect therefore leaves the anchor alone
// until the handshake has succeeded; one that does not block links it at once, with its send buffer
// held full. An anchor that is used up is renewed (reply_renew) before the next connect begins.
#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>

#include "daemon/datagram_shared.h"
#include "daemon/stream_client.h"
#include "daemon/stream_pump.h"
#include "uapi/socket.h"

namespace ph::dropin {
namespace {

answer_data used_up() {
  answer_data a = refusal(errc::again);
  a.flags = reply_renew;
  return a;
}

}  // namespace

bool is_fresh_anchor(int anchor) {
  pollfd p{anchor, POLLIN | POLLOUT | POLLRDHUP, 0};
  return ::poll(&p, 1, 0) == 1 && p.revents == (POLLOUT | POLLHUP);
}

/// Can this anchor be linked? One that was shut takes no filler.
bool stream_client::is_unused(int anchor) const { return !anchor_shut_ && is_fresh_anchor(anchor); }

std::optional<answer_data> stream_client::connect(call& c) {
  if ((c.head.flags & flag_settle) != 0) return settle(c);
  if (sockaddr_family(c.data) == uapi::af_unspec) return disconnect(c);
  if (phase_ == phase::connecting) return join_connect(c);
  if (phase_ == phase::listening) return refusal(errc::isconn);
  if (std::exchange(untold_, false)) {
    // The first call after a connect that did not wait tells how that ended.
    if (ended_ == errc::ok) return with_home({}, target_.view());
    return tell_failure();
  }
  if (was_connected_) return refusal(errc::isconn);
  if (!is_unused(c.anchor.get())) return used_up();
  if (host_.memory_low()) return refusal(errc::nobufs);
  pending_error_ = 0;
  const auto started = host_.connect(s_, c.data);
  if (!started && started.error() != errc::inprogress) return refusal(started.error());
  target_ = peer_address(c.data);
  if (!started && c.wait()) {
    phase_ = phase::connecting;
    connects_.push_back({c.channel, c.head, std::move(c.anchor)});
    return std::nullopt;
  }
  return begin(c, started, 0);
}

/// The first call after a connect that nobody waited for and that failed: says so. Then the socket
/// is as new.
answer_data stream_client::tell_failure() {
  dissolve();
  const int error = std::exchange(pending_error_, 0);
  return refusal(error != 0 ? static_cast<errc>(error) : errc::connaborted);
}

/// The stack's socket becomes as new, but for its options and what bind() gave it.
void stream_client::dissolve() {
  const le16 nowhere(uapi::af_unspec);
  (void)host_.connect(s_, bytes_of(nowhere));
}

/// The stack has begun to connect, or (Fast Open) will with the first bytes: links the anchor.
answer_data stream_client::begin(call& c, result<void> started, std::size_t in_syn) {
  if (const auto linked = link(c.anchor.get(), !started); !linked) {
    dissolve();
    return refusal(errc::nobufs);
  }
  phase_ = started ? phase::connected : phase::connecting;
  was_connected_ = started.has_value();
  deferred_ = started && !host_.name(s_, true);
  if (started) note_peer();
  untold_ = !started;
  answer_data a = answer_of(started);
  if (in_syn != 0) a.result = static_cast<int>(in_syn);
  return with_home(std::move(a), target_.view());
}

/// sendmsg(MSG_FASTOPEN) on a socket that is not connected (tcp(7), RFC 7413): a connect that may
/// carry bytes. Who blocks is answered when the handshake has ended, as by connect.
std::optional<answer_data> stream_client::open_fast(call& c) {
  message_parts parts;
  if (!parse_message(c.data.data(), c.data.size(), parts)) return refusal(errc::inval);
  if (std::exchange(untold_, false)) return tell_failure();
  if (!is_unused(c.anchor.get())) return used_up();
  if (host_.memory_low()) return refusal(errc::nobufs);
  const byte_view payload{parts.payload, parts.head.payload_len};
  send_msg msg;
  msg.name = {parts.name, parts.head.name_len};
  msg.iov = {&payload, 1};
  msg.flags = static_cast<u32>(c.head.arg[0]) | uapi::msg_dontwait;
  const auto sent = host_.sendmsg(s_, msg);
  if (!sent && sent.error() != errc::inprogress) return refusal(sent.error());
  pending_error_ = 0;
  target_ = peer_address(msg.name);
  if (!c.wait()) return begin(c, fail(errc::inprogress), sent.value_or(0));
  phase_ = phase::connecting;
  connects_.push_back(
      {c.channel, c.head, std::move(c.anchor), {payload.begin(), payload.end()}, sent.value_or(0)});
  return std::nullopt;
}

/// connect() while one is under way.
std::optional<answer_data> stream_client::join_connect(call& c) {
  if (c.wait()) {
    joined_ = true;
    connects_.push_back({c.channel, c.head, std::move(c.anchor)});
    return std::nullopt;
  }
  if (!pipe_ && !link(c.anchor.get(), true)) return refusal(errc::nobufs);
  return with_home(refusal(errc::already), target_.view());
}

/// A blocking connect was interrupted: from the answer on the anchor shows what it has come to.
answer_data stream_client::settle(call& c) {
  if (phase_ == phase::connecting) {
    if (!pipe_ && !link(c.anchor.get(), true)) return refusal(errc::nobufs);
    untold_ = true;
    const errc now = std::exchange(joined_, false) ? errc::already : errc::inprogress;
    return with_home(refusal(now), target_.view());
  }
  untold_ = false;
  return ended_ == errc::ok ? with_home({}, target_.view()) : refusal(ended_);
}

/// The channel of a blocking call is gone: it was interrupted, or the program died.
void stream_client::give_up(u64 channel) {
  std::erase_if(sends_, [channel](const waiting_send& w) { return w.channel == channel; });
  std::erase_if(closes_, [channel](const waiting_close& w) { return w.channel == channel; });
  const auto at =
      std::find_if(connects_.begin(), connects_.end(),
                   [channel](const waiting_connect& w) { return w.channel == channel; });
  if (at == connects_.end()) return;
  untold_ = true;
  if (!pipe_ && !link(at->anchor.get(), true)) owner_.mark_starving(*this);
  if (pipe_ || connects_.size() > 1) {
    connects_.erase(at);
  } else {
    at->channel = 0;
  }
}

/// connect(AF_UNSPEC): the socket is as new, but for its options and its address.
answer_data stream_client::disconnect(call& c) {
  if (phase_ == phase::listening) stop_listening(c.anchor.get());
  const bool was_up = phase_ == phase::connecting || phase_ == phase::connected;
  const auto done = host_.connect(s_, c.data);
  if (!done) return refusal(done.error());
  (void)stack_error();
  if (phase_ == phase::connecting) finish_connect(errc::connaborted);
  phase_ = phase::idle;
  pipe_.reset();
  note_peer();
  was_connected_ = untold_ = shut_writing_ = fin_sent_ = false;
  shut_early_ = 0;
  pending_error_ = was_up ? static_cast<int>(errc::connreset) : 0;
  answer_data a;
  if (!is_unused(c.anchor.get())) a.flags = reply_renew;
  return a;
}

result<void> stream_client::link(int anchor, bool hold) {
  TRY(stream_end made, owner_.anchors().link_stream(anchor, hold));
  reach_.reset();
  owner_.poll_end(made.fd.get(), id_);
  const std::size_t filler = hold && made.filler > 0 ? made.filler - 1 : 0;
  pipe_ = stream_pump::linked(host_, s_, std::move(made.fd), filler, owner_.datagrams().memory);
  shut_writing_ = fin_sent_ = failure_told_ = false;
  if (shut_early_ != 0) {
    ::shutdown(anchor, shut_early_ - 1);
    shut_writing_ = fin_sent_ = (shut_early_ & 2) != 0;
  }
  send_buffer_ = 0;
  see_anchor(anchor);
  leave_urgent_byte_to_anchor();
  owner_.mark(*this);
  return {};
}

void stream_client::check_connecting() {
  const u32 ready = host_.poll(s_);
  if ((ready & (uapi::pollout | uapi::pollerr | uapi::pollhup)) == 0) return;
  if (connects_.empty() && (ready & uapi::pollhup) != 0) {
    // Nobody waits in connect(): the stack's socket keeps its ends until the next one tells.
    const errc why = stack_error();
    return finish_connect(why != errc::ok ? why : errc::connaborted);
  }
  // Asking again tells how it ended, and tells the stack that this is known.
  const auto again = host_.connect(s_, target_.view());
  const errc said = again ? errc::ok : again.error();
  if (said == errc::already || said == errc::inprogress) return;
  finish_connect(said == errc::isconn ? errc::ok : said);
}

void stream_client::finish_connect(errc error) {
  if (error == errc::ok && !pipe_ && !connects_.empty() &&
      !link(connects_.front().anchor.get(), false)) {
    return owner_.mark_starving(*this);  // goes on when there are descriptors again
  }
  ended_ = error;
  joined_ = false;
  auto waiting = std::exchange(connects_, {});
  const bool told = std::any_of(waiting.begin(), waiting.end(),
                                [](const waiting_connect& w) { return w.channel != 0; });
  untold_ = untold_ && !told;
  if (error == errc::ok) {
    phase_ = phase::connected;
    was_connected_ = true;
    note_peer();
    apply_settings();
    if (pipe_) pipe_->open();
    owner_.mark(*this);
  } else {
    phase_ = phase::idle;
    pipe_.reset();
    shut_early_ = 0;
    pending_error_ = !told && sends_.empty() ? static_cast<int>(error) : 0;
    for (const waiting_send& w : std::exchange(sends_, {})) {
      owner_.answer_later(w.channel, w.head, refusal(error));
    }
  }
  for (waiting_connect& w : waiting) {
    // Only one hears of an error; for the others the socket was disconnected under them.
    answer_data a = refusal(std::exchange(error, error == errc::ok ? error : errc::pipe));
    if (error == errc::ok && !w.first.empty()) {
      pipe_->put_first(byte_view(w.first).subspan(w.in_syn));
      a.result = static_cast<int>(w.first.size());
    }
    owner_.answer_later(w.channel, w.head, with_home(std::move(a), target_.view()));
  }
}

}  // namespace ph::dropin
