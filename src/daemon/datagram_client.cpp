// The pump of datagram sockets. A datagram reaches the anchor from a socket named after its source,
// or, when the program has connected its socket, from the paired end, which has the peer's name.
#include "daemon/datagram_client.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "uapi/inet.h"
#include "uapi/socket.h"

namespace ph::dropin {
namespace {

constexpr int datagrams_a_turn = 64;
constexpr std::size_t max_payload = 65536;

answer_data refuse(errc e) { return {-static_cast<int>(e), {}, {}, 0}; }

void store(name_addr& to, const sockaddr_buf& from) {
  to.len = static_cast<u8>(copy_bytes(to.bytes, from.view()));
}

/// Options that make received datagrams carry ancillary values.
bool asks_for_control(int level, int name) {
  if (level == uapi::sol_socket) return name == uapi::so_rxq_ovfl;
  if (level == uapi::sol_udp) return name == uapi::udp_gro;
  if (level != uapi::sol_ip) return false;
  switch (name) {
    case uapi::ip_pktinfo:
    case uapi::ip_recvttl:
    case uapi::ip_recvtos:
    case uapi::ip_recvopts:
    case uapi::ip_retopts:
    case uapi::ip_recvorigdstaddr:
      return true;
    default:
      return false;
  }
}

}  // namespace

std::optional<answer_data> datagram_client::connect(call& c) {
  const auto done = host_.connect(s_, c.data);
  if (!done) return refuse(done.error());
  connected_ = sockaddr_family(c.data) != uapi::af_unspec;
  unpair(c.anchor.get());
  if (connected_ && !wants_control_) pair(c.anchor.get());
  owner_.mark(*this);
  return answer_data{};
}

void datagram_client::pair(int anchor) {
  anchor_name name = name_of(name_kind::pair, owner_.new_id());
  if (const auto remote = host_.name(s_, true)) store(name.remote, *remote);
  auto made = owner_.anchors().pair_datagram(anchor, reach_.get(), name);
  if (!made) return;  // sends then fail in the kernel and come as requests
  end_ = std::move(*made);
  owner_.poll_end(end_.fd.get(), id_);
}

void datagram_client::unpair(int anchor) {
  if (!end_.fd) return;
  pump_out();
  unpair_datagram(anchor);
  end_ = {};
}

void datagram_client::option_set(call& c) {
  if (!asks_for_control(c.head.arg[0], c.head.arg[1])) return;
  wants_control_ = true;
  unpair(c.anchor.get());
}

answer_data datagram_client::listen(call& c) {
  return answer_of(host_.listen(s_, c.head.arg[0]));
}

answer_data datagram_client::shutdown(call& c) {
  return answer_of(host_.shutdown(s_, c.head.arg[0]));
}

// --- program to stack -------------------------------------------------------------------------

std::optional<answer_data> datagram_client::send(call& c) {
  pump_out();  // what was sent plainly before goes first
  const auto sent = send_message(c);
  if (!sent && sent.error() == errc::again && c.wait()) {
    waiting_ = waiting_send{c.channel, c.head, {c.data.begin(), c.data.end()}};
    return std::nullopt;
  }
  answer_data a = answer_of(sent);
  if (sent) a.result = static_cast<int>(*sent);
  return a;
}

void datagram_client::retry_send() {
  if (!waiting_) return;
  const call again{waiting_->channel, waiting_->head, waiting_->data, {}};
  const auto sent = send_message(again);
  if (!sent && sent.error() == errc::again) return;
  answer_data a = answer_of(sent);
  if (sent) a.result = static_cast<int>(*sent);
  const waiting_send done = std::move(*waiting_);
  waiting_.reset();
  owner_.answer_later(done.channel, done.head, std::move(a));
}

void datagram_client::give_up(u64 channel) {
  if (waiting_ && waiting_->channel == channel) waiting_.reset();
}

void datagram_client::pump_out() {
  for (int i = 0; end_.fd && i < datagrams_a_turn; ++i) {
    if (!outgoing_) {
      std::vector<u8> payload(max_payload);
      const ssize_t got = ::recv(end_.fd.get(), payload.data(), payload.size(), MSG_DONTWAIT);
      if (got < 0) return;
      payload.resize(static_cast<std::size_t>(got));
      outgoing_ = std::move(payload);
    }
    const byte_view piece{*outgoing_};
    send_msg msg;
    msg.iov = {&piece, 1};
    msg.flags = uapi::msg_dontwait | uapi::msg_nosignal;
    const auto sent = host_.sendmsg(s_, msg);
    if (!sent && sent.error() == errc::again) return;  // woken when there is room
    outgoing_.reset();
    if (!sent) note_error(sent.error());
  }
  if (end_.fd) owner_.mark(*this);
}

// --- stack to program -------------------------------------------------------------------------

bool datagram_client::take_from_stack() {
  std::vector<u8> payload(max_payload);
  std::vector<u8> control(256);
  sockaddr_buf from;
  const byte_span room{payload};
  recv_msg msg;
  msg.name = &from;
  msg.iov = {&room, 1};
  msg.control = control;
  msg.flags = uapi::msg_dontwait;
  const auto got = host_.recvmsg(s_, msg);
  if (!got) {
    if (got.error() != errc::again) note_error(got.error());
    return false;
  }
  payload.resize(std::min(*got, payload.size()));
  next_ = arrived{name_of(name_kind::source, 0), std::move(payload)};
  store(next_->source.remote, from);
  (void)for_each_cmsg(byte_view(control).first(msg.control_len),
                      [&](int level, int type, byte_view value) -> result<void> {
                        add_control(next_->source, static_cast<u16>(level), static_cast<u16>(type),
                                    value.data(), value.size());
                        return {};
                      });
  return true;
}

/// False when the anchor has no room now.
bool datagram_client::give_to_program() {
  if (end_.fd) {
    const ssize_t n = ::send(end_.fd.get(), next_->payload.data(), next_->payload.size(),
                             MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno == EAGAIN) return false;
    next_.reset();
    return true;
  }
  const auto sent = owner_.senders().send(reach_.get(), next_->source, next_->payload);
  if (!sent && sent.error() == errc::again) {
    if (!room_) {
      if (auto watch = watch_room(reach_.get())) room_ = std::move(*watch);
    }
    if (room_) owner_.poll_room(room_.get(), id_);
    return false;
  }
  next_.reset();
  return true;
}

/// A pending error of the stack (an ICMP answer) makes the paired anchor fail once.
void datagram_client::check_error() {
  if ((host_.poll(s_) & uapi::pollerr) == 0) return;
  const errc error = stack_error();
  if (error != errc::ok) note_error(error);
}

void datagram_client::note_error(errc error) {
  pending_error_ = static_cast<int>(error);
  if (end_.fd) signal_error(end_.fd.get(), end_.reach.get(), reach_.get());
}

void datagram_client::say_goodbye() {
  if (end_.fd) return signal_error(end_.fd.get(), end_.reach.get(), reach_.get());
  client::say_goodbye();
}

void datagram_client::pump() {
  retry_send();
  check_error();
  pump_out();
  for (int i = 0; i < datagrams_a_turn; ++i) {
    if (!next_ && !take_from_stack()) return;
    if (!give_to_program()) return;
  }
  owner_.mark(*this);
}

void datagram_client::on_end(u32) { pump(); }

void datagram_client::on_room() { pump(); }

void datagram_client::all_closed() {
  pump_out();
  owner_.remove(*this);
}

}  // namespace ph::dropin
