// Listening TCP sockets: the daemon connects to the anchor once for every finished handshake, so
// accept() and its waiting are the kernel's.
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "daemon/stream_client.h"
#include "uapi/socket.h"

namespace ph::dropin {
namespace {

constexpr int accepts_a_turn = 64;
constexpr unsigned longest_patience_ms = 64;

}  // namespace

answer_data stream_client::listen(call& c) {
  // connect() has not told yet how the last one ended; or there was one, which may be unread.
  if (untold_ || (was_connected_ && phase_ == phase::idle)) return refusal(errc::inval);
  if (phase_ == phase::idle && !is_fresh_anchor(c.anchor.get())) {
    answer_data a = refusal(errc::again);
    a.flags = reply_renew;
    return a;
  }
  if (!refusal_share_) {
    auto share = share_.another(1);
    if (!share) return refusal(share.error());
    refusal_share_ = std::make_unique<descriptor_share>(std::move(*share));
  }
  const auto done = host_.listen(s_, c.head.arg[0]);
  if (!done) return refusal(done.error());
  const int backlog = std::max(c.head.arg[0], 0);
  if (::listen(c.anchor.get(), backlog) != 0) return refusal(static_cast<errc>(errno));
  phase_ = phase::listening;
  owner_.mark(*this);
  return {};
}

/// Nothing is accepted any more: what waits is reset, and who waits in accept() is woken.
void stream_client::stop_listening(int anchor) {
  phase_ = phase::idle;
  drop_parked();
  refusal_share_.reset();
  ::shutdown(anchor, SHUT_RDWR);
  for (;;) {  // accept does not block on a socket that is shut down
    const unique_fd waiting(::accept4(anchor, nullptr, nullptr, SOCK_CLOEXEC));
    if (!waiting) break;
    const auto end = identify_anchor(waiting.get());
    if (end && end->accepted) owner_.abandon(end->name.id);
  }
  offered_ = 0;
}

void stream_client::drop_parked() {
  refusal_.reset();
  if (parked_ < 0) return;
  const le32 linger[2] = {le32(1), le32(0)};
  (void)host_.setsockopt(parked_, uapi::sol_socket, uapi::so_linger, bytes_of(linger));
  host_.close(std::exchange(parked_, -1));
}

void stream_client::accept_ready() {
  if (host_.memory_low()) return owner_.mark_starving(*this);
  for (int i = 0; i < accepts_a_turn; ++i) {
    if (parked_ < 0) {
      const auto s = host_.accept(s_);
      if (!s) {
        if (s.error() == errc::mfile || s.error() == errc::nfile) owner_.mark_starving(*this);
        return;
      }
      parked_ = *s;
    }
    if (!offer_parked()) return;
  }
  owner_.mark(*this);
}

/// The program has its share of the daemon's descriptors: accept() says so, as for a full table of
/// files, and the connection goes on waiting. Without that a program that holds the whole share
/// itself would wait here for itself. One refusal lies in the queue at a time, and listen() has
/// taken a descriptor for it.
void stream_client::refuse_accept() {
  u8 byte = 0;
  if (refusal_ && ::recv(refusal_.get(), &byte, 1, MSG_DONTWAIT) != 0) return;
  auto fd =
      owner_.anchors().offer_refusal(reach_.get(), name_of(name_kind::refusal, owner_.new_id()));
  refusal_ = fd ? std::move(*fd) : unique_fd();
}

/// Hands the connection taken last to the anchor's queue. False when that is full, or when there is
/// no descriptor for it: the kernel does not tell when there is room again, so we look later, or
/// when an accept() becomes known.
bool stream_client::offer_parked() {
  anchor_name end = name_of(name_kind::stream, owner_.new_id());
  const auto local = host_.name(parked_, false), remote = host_.name(parked_, true);
  if (local) end.local.len = static_cast<u8>(copy_bytes(end.local.bytes, local->view()));
  if (remote) end.remote.len = static_cast<u8>(copy_bytes(end.remote.bytes, remote->view()));
  end.home = remote && host_.has_address(remote->view());
  auto share = share_.another(1);
  if (!share) refuse_accept();
  auto fd = share ? owner_.anchors().offer_stream(reach_.get(), end)
                  : result<unique_fd>(fail(share.error()));
  if (!fd) {
    const errc why = fd.error();
    if (why == errc::again || why == errc::addrinuse) {
      owner_.mark_later(*this, patience_ms_);
      patience_ms_ = std::min(2 * patience_ms_, longest_patience_ms);
    } else if (why != errc::connrefused) {  // refused: the anchor is about to be closed
      owner_.mark_starving(*this);
    }
    return false;
  }
  patience_ms_ = 1;
  ++offered_;
  tell_offered();
  owner_.adopt(host_, std::exchange(parked_, -1), end, std::move(*fd), id_, std::move(*share));
  return true;
}

/// A connection that was offered is accepted, or gone. `known`: a shim said so.
void stream_client::child_settled(bool known) {
  shim_accepts_ = shim_accepts_ && known;
  if (offered_ > 0) --offered_;
  tell_offered();
  owner_.mark(*this);
}

/// The backlog is for those that the program has not accepted, wherever they wait.
void stream_client::tell_offered() {
  host_.set_waiting(s_, phase_ == phase::listening && shim_accepts_ ? offered_ : 0);
}

}  // namespace ph::dropin
