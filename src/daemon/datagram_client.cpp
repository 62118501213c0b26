// The pump of datagram sockets. A datagram goes to the anchor with a tag that says where it came
// from; plain sends of the program come from the anchor's end while its socket is connected.
#include "daemon/datagram_client.h"

#include <sys/epoll.h>

#include <algorithm>

#include "uapi/inet.h"
#include "uapi/socket.h"

namespace ph::dropin {
namespace {

constexpr int datagrams_a_turn = 64;
/// The kernel takes a datagram of any size that is 32 bytes smaller than the sender's buffer.
constexpr u32 least_limit = 2 * (max_datagram_payload + 65);
/// Until it is looked again whether other programs have read.
constexpr unsigned memory_patience_ms = 100;
/// Plain sends that are taken out of the end before the stack has room for them. A program fills
/// the end's queue again at once, and would have the daemon keep all that it sends.
constexpr std::size_t most_departing = std::size_t{256} * 1024;

void append(std::vector<u8>& to, byte_view bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}

/// A tag (datagram_tags.h).
std::vector<u8> make_tag(byte_view from, byte_view items) {
  message_head head;
  head.name_len = static_cast<u16>(from.size());
  head.control_len = static_cast<u32>(items.size());
  std::vector<u8> tag;
  append(tag, bytes_of(head));
  append(tag, from);
  append(tag, items);
  return tag;
}

byte_view items_of(const message_parts& parts) { return {parts.control, parts.head.control_len}; }

}  // namespace

datagram_client::~datagram_client() {
  host_.set_outside(s_, nullptr);
  owner_.datagrams().in_flight.forget(*this);
}

void datagram_client::say_goodbye() {
  if (end_) end_.show_error();
}

result<void> datagram_client::anchor_made(int anchor) {
  TRY(end_, datagram_end::create(anchor, reach_.get(), name_of(name_kind::pair, anchor_id_),
                                 owner_.datagrams().door));
  control_options::ask_for_all(host_, s_);
  host_.set_outside(s_, this);
  read_buffer_size();
  poll_end();
  return {};
}

void datagram_client::poll_end() {
  polls_room_ = wants_room_;
  owner_.poll_for(end_.fd(), id_, EPOLLIN | (polls_room_ ? EPOLLOUT : 0u));
}

/// The anchor holds as much as SO_RCVBUF says. The kernel tells of room when a quarter of the end's
/// buffer is left, which is thus half of SO_RCVBUF.
void datagram_client::read_buffer_size() {
  le32 size;
  const auto got = host_.getsockopt(s_, uapi::sol_socket, uapi::so_rcvbuf,
                                    {reinterpret_cast<u8*>(&size), sizeof size});
  rcvbuf_ = got ? size.value() : u32{212992};
  end_.set_limit(std::max(std::min(rcvbuf_, u32{1} << 29) * 2, least_limit));
}

std::optional<answer_data> datagram_client::connect(call& c) {
  if (!drain_out()) return refusal(errc::nobufs);
  const auto before = host_.name(s_, true);
  const auto done = host_.connect(s_, c.data);
  if (!done) return refusal(done.error());
  for (departing& d : to_stack_) {
    if (d.to.len == 0 && before) d.to = *before;
  }
  connected_ = sockaddr_family(c.data) != uapi::af_unspec;
  open_end();
  note_peer();
  owner_.mark(*this);
  return with_home({}, c.data);
}

/// Plain sends are for sockets of which every datagram leaves as it is: where the stack looks into
/// what is sent (raw and ping sockets), or gathers a datagram, the program is to hear at once what
/// became of its call.
void datagram_client::open_end() {
  const bool whole = kind_.type == uapi::sock_dgram && kind_.protocol != uapi::ipproto_icmp;
  end_.open(connected_ && whole && !corked_ && !gathers_);
}

answer_data datagram_client::listen(call& c) { return answer_of(host_.listen(s_, c.head.arg[0])); }

answer_data datagram_client::shutdown(call& c) {
  if (!drain_out()) return refusal(errc::nobufs);
  const int how = c.head.arg[0];
  const auto shut = host_.shutdown(s_, how);
  const bool done = shut || shut.error() == errc::notconn;
  if (done && how != uapi::shut_wr) stop_giving();
  return answer_of(shut);
}

/// Nothing can be sent to an anchor that is shut for reading, but Linux gives what still arrives:
/// it stays in the stack, where a receive that found the anchor's end asks for it.
void datagram_client::stop_giving() {
  reading_shut_ = true;
  for (; !to_program_.empty(); to_program_.pop_front()) host_.count_lost(s_);
}

// --- options ----------------------------------------------------------------------------------

answer_data datagram_client::set_option(call& c) {
  (void)drain_out();  // what was sent plainly before goes as the options were
  const int level = c.head.arg[0], name = c.head.arg[1];
  const auto set = host_.setsockopt(s_, level, name, c.data);
  if (!set) return answer_of(set);
  if (control_options::covers(level, name)) {
    options_.set(host_, s_, level, name, c.data);
    return tell_choice();
  } else if (datagram_stamps::covers(level, name)) {
    stamps_.start(host_, s_);
    return tell_choice();
  } else if (level == uapi::sol_socket &&
             (name == uapi::so_rcvbuf || name == uapi::so_rcvbufforce)) {
    read_buffer_size();
  } else if (level == uapi::sol_ip && name == uapi::ip_recverr) {
    error_told(c, 0);  // turning it off empties the error queue
  } else if ((level == uapi::sol_udp || level == uapi::sol_udplite) && name == uapi::udp_cork) {
    corked_ = byte_reader(c.data).take<u32>() != 0;
    gathers_ = gathers_ && corked_;
    open_end();
  }
  return answer_data{};
}

answer_data datagram_client::get_option(const call& c) {
  answer_data a = client::get_option(c);
  const int level = c.head.arg[0], name = c.head.arg[1];
  if (a.result >= 0 && control_options::covers(level, name)) options_.get(level, name, a.data);
  return a;
}

/// What the program asks for now is kept at the anchor, where whoever receives finds it.
answer_data datagram_client::tell_choice() {
  const u32 choice = options_.chosen() | datagram_stamps::choice(host_, s_);
  const anchor_option told{uapi::so_rcvlowat, sizeof(s32), {anchor_value(choice), 0}};
  answer_data a;
  a.flags = reply_set_anchor;
  append(a.data, bytes_of(told));
  return a;
}

result<time_stamp> datagram_client::stamp_of_last_read(byte_view next_tag) const {
  const bool here = next_tag.empty() && !to_program_.empty();
  const byte_view tag = here ? byte_view(to_program_.front().tag) : next_tag;
  message_parts parts;
  if (!parse_message(tag.data(), tag.size(), parts)) return stamps_.last_read({});
  return stamps_.last_read(items_of(parts));
}

/// SIOCGSTAMP is about the datagram that the program read last, not about the one that the daemon
/// took last from the stack.
answer_data datagram_client::do_ioctl(const call& c) {
  const auto command = static_cast<u32>(c.head.arg[0]);
  if (!datagram_stamps::asks(command)) return client::do_ioctl(c);
  const byte_view argument = c.data.first(std::min(c.data.size(), sizeof(time_stamp)));
  if (c.head.arg[1] != 0) {
    error_due_ = true;
    owner_.mark(*this);
  }
  if (!stamps_.on()) {
    stamps_.start(host_, s_);
    return client::do_ioctl({c.channel, c.head, argument, {}});
  }
  const auto last = stamp_of_last_read(c.data.subspan(argument.size()));
  answer_data a = answer_of(last);
  if (!last) return a;
  const bool nano = command == uapi::siocgstampns || command == uapi::siocgstampns_new;
  append(a.data, bytes_of(time_stamp{last->sec, nano ? last->nsec : last->nsec / 1000}));
  return a;
}

// --- program to stack -------------------------------------------------------------------------

std::optional<answer_data> datagram_client::send(call& c) {
  if (host_.memory_low() && !c.wait()) return refusal(errc::again);
  (void)drain_out();  // what was sent plainly before goes first
  // raw(7) sockets send whatever is pending.
  if (pending_error_ != 0 && kind_.type != uapi::sock_raw) {
    const auto error = static_cast<errc>(std::exchange(pending_error_, 0));
    error_told(c, static_cast<int>(error));
    return refusal(error);
  }
  const bool in_turn = to_stack_.empty() && !host_.memory_low();
  const auto sent = in_turn ? send_now(c) : result<std::size_t>(fail(errc::again));
  if (!sent && sent.error() == errc::again && c.wait()) {
    if (host_.memory_low()) owner_.mark_starving(*this);
    waiting_.push_back({c.channel, c.head, {c.data.begin(), c.data.end()}});
    return std::nullopt;
  }
  answer_data a = answer_of(sent);
  if (sent) a.result = static_cast<int>(*sent);
  if (!sent || has_error()) error_told(c, -a.result);
  return a;
}

result<std::size_t> datagram_client::send_now(const call& c) {
  const auto sent = send_message(c);
  if (!sent) return sent;
  gathers_ = (static_cast<u32>(c.head.arg[0]) & uapi::msg_more) != 0;
  open_end();
  return sent;
}

void datagram_client::retry_sends() {
  while (!waiting_.empty() && !host_.memory_low()) {
    const waiting_send& first = waiting_.front();
    const call again{first.channel, first.head, first.data, {}};
    const auto sent = send_now(again);
    if (!sent && sent.error() == errc::again) return;
    answer_data a = answer_of(sent);
    if (sent) a.result = static_cast<int>(*sent);
    const waiting_send done = std::move(waiting_.front());
    waiting_.pop_front();
    owner_.answer_later(done.channel, done.head, std::move(a));
  }
}

void datagram_client::give_up(u64 channel) {
  std::erase_if(waiting_, [channel](const waiting_send& w) { return w.channel == channel; });
  owner_.mark(*this);
}

/// False when the stack has no room: it wakes us when there is.
bool datagram_client::to_stack(byte_view payload, byte_view to) {
  send_msg msg;
  msg.name = to;
  msg.iov = {&payload, 1};
  msg.flags = uapi::msg_dontwait | uapi::msg_nosignal;
  const bool had_error = has_error();
  auto sent = host_.sendmsg(s_, msg);
  if (!sent && sent.error() == errc::again) return false;
  if (!sent) note_error(sent.error());
  // An error that was pending is not this datagram's, which was on its way before.
  if (!sent && had_error) sent = host_.sendmsg(s_, msg);
  return sent || sent.error() != errc::again;
}

/// One plain send. False when none waits or the stack has no room.
bool datagram_client::pump_one_out() {
  if (host_.memory_low()) return false;
  if (!to_stack_.empty()) {
    if (!to_stack(to_stack_.front().payload, to_stack_.front().to.view())) return false;
    departing_bytes_ -= sizeof(departing) + to_stack_.front().payload.size();
    to_stack_.pop_front();
    return true;
  }
  std::vector<u8>& buffer = owner_.datagrams().buffer;
  const auto got = end_.receive(buffer);
  if (!got) return false;
  if (*got > buffer.size()) {
    note_error(errc::msgsize);
    return true;
  }
  const byte_view payload = byte_view(buffer).first(*got);
  if (to_stack(payload, {})) return true;
  depart(payload);
  return false;
}

/// Empties the end's queue, whatever room the stack has. False when the end holds more.
bool datagram_client::receive_plain_sends() {
  if (host_.memory_low()) return false;
  std::vector<u8>& buffer = owner_.datagrams().buffer;
  while (departing_bytes_ < most_departing) {
    const auto got = end_.receive(buffer);
    if (!got) return true;
    if (*got > buffer.size()) {
      note_error(errc::msgsize);
      continue;
    }
    depart(byte_view(buffer).first(*got));
  }
  return false;
}

void datagram_client::depart(byte_view payload) {
  to_stack_.push_back({{payload.begin(), payload.end()}, {}});
  departing_bytes_ += sizeof(departing) + payload.size();
}

/// What was sent plainly is on its way before what follows. False when the end holds more than may
/// be on its way.
bool datagram_client::drain_out() {
  while (pump_one_out()) {}
  return receive_plain_sends();
}

std::size_t datagram_client::unpumped() {
  std::size_t bytes = 0;
  for (const departing& d : to_stack_) bytes += d.payload.size();
  return bytes;
}

// --- stack to program -------------------------------------------------------------------------

/// False when nothing was taken, or it could not be given at once.
bool datagram_client::take_from_stack() {
  std::vector<u8>& buffer = owner_.datagrams().buffer;
  std::array<u8, 1024> control;
  sockaddr_buf from;
  const byte_span room{buffer};
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
  if (*got == 0 && from.len == 0) return false;  // it is shut down: an empty datagram has a source
  const byte_view payload = byte_view(buffer).first(std::min(*got, buffer.size()));
  // The forms of a time stamp are the shim's to make, from our own item.
  std::vector<u8> items =
      to_items(byte_view(control).first(msg.control_len),
               [](int level, int type) { return !datagram_stamps::covers(level, type); });
  append(items, stamps_.items_of_received(host_, s_, msg.came));
  std::vector<u8> tag = make_tag(from.view(), items);
  if (give(tag, payload)) return true;
  to_program_.push_back({std::move(tag), {payload.begin(), payload.end()}});
  return false;
}

/// A descriptor for the tag may be on its way.
bool datagram_client::may_pass_tag() {
  const auto granted = owner_.datagrams().in_flight.take(*this);
  if (granted == in_flight_budget::grant::given) return true;
  wants_room_ = true;
  if (granted == in_flight_budget::grant::all_used) owner_.mark_starving(*this);
  return false;
}

/// What the kernel below charges at most for a datagram in flight: its bytes in a power of two, and
/// its own descriptions of them.
u32 datagram_client::most_memory(std::size_t payload) {
  return static_cast<u32>(2 * payload + 2048);
}

/// False when the datagram must wait.
bool datagram_client::give(byte_view tag, byte_view payload) {
  if (!may_pass_tag()) return false;
  const auto file = owner_.datagrams().tags.find(tag);
  const auto given = file ? end_.give(payload, *file) : result<void>(fail(file.error()));
  if (given) {
    handed(most_memory(payload.size()));
    anchored_.grew();
    return true;
  }
  owner_.datagrams().in_flight.give_back(*this);
  switch (given.error()) {
    case errc::again: wants_room_ = true; return false;
    case errc::connrefused:  // the anchor is gone, and the news of its last close on its way
    case errc::notconn:
    case errc::pipe:  // nobody will read
      return true;
    case errc::msgsize:  // net.core.wmem_max lets no sender have a buffer for it
      host_.count_lost(s_);
      return true;
    default:  // want of memory or of descriptors, which nothing tells the end of
      owner_.mark_starving(*this);
      return false;
  }
}

/// False while the host's anchors hold as much as they may: it looks again later, and no sooner for
/// all that arrives meanwhile.
bool datagram_client::may_anchor_more() {
  if (anchored_.has_room()) return true;
  const auto now = std::chrono::steady_clock::now();
  if (now < looks_again_) return false;
  looks_again_ = now + std::chrono::milliseconds(memory_patience_ms);
  owner_.mark_later(*this, memory_patience_ms + 1);
  return false;
}

/// Datagrams for which the anchor has no room stay in the stack, under its limits and counters.
void datagram_client::pump_in() {
  wants_room_ = false;
  for (int i = 0; i < datagrams_a_turn && !reading_shut_; ++i) {
    if (most() >= rcvbuf_ && ask() >= rcvbuf_) {
      wants_room_ = true;
      break;
    }
    if (!may_anchor_more()) break;
    if (to_program_.empty()) {
      if (!take_from_stack()) break;
    } else {
      if (!give(to_program_.front().tag, to_program_.front().payload)) break;
      to_program_.pop_front();
    }
    if (i + 1 == datagrams_a_turn) owner_.mark(*this);
  }
  if (wants_room_ != polls_room_) poll_end();
}

// --- errors -----------------------------------------------------------------------------------

bool datagram_client::has_error() {
  return pending_error_ != 0 || (host_.poll(s_) & uapi::pollerr) != 0;
}

void datagram_client::note_error(errc error) {
  pending_error_ = static_cast<int>(error);
  error_due_ = true;
}

/// An error of the stack (an ICMP answer) makes the anchor show POLLERR and fail once.
void datagram_client::show_error() {
  if (!error_due_) return;
  if (has_error()) {
    if (!receive_plain_sends()) return;  // they would be lost; pump() shows it later
    end_.show_error();
  }
  error_due_ = false;
}

void datagram_client::woken(u32 events) {
  if ((events & uapi::pollerr) == 0) return;
  error_due_ = true;
  shown_to_waiting_ = 0;
}

/// What was sent plainly before may have failed.
void datagram_client::before_error(const call&) { (void)drain_out(); }

/// The program heard of an error otherwise than by a failing call on the anchor, or reads the error
/// queue: the anchor shows what is left.
void datagram_client::error_told(const call& c, int told) {
  const auto kind = static_cast<request_kind>(c.head.kind);
  if (kind == request_kind::take_error && told == 0) {
    // A report waits in the error queue, which is no error for a receive: the caller repeats it,
    // and the anchor shows the report again when he has (show_error). To one who waits in the
    // kernel it does so more and more seldom, as that wakes him.
    constexpr unsigned most_doublings = 10;
    if (!has_error() || c.head.arg[0] == 0) return;
    error_due_ = true;
    return owner_.mark_later(*this, 1u << std::min(shown_to_waiting_++, most_doublings));
  }
  if (kind == request_kind::recvmsg &&
      (static_cast<u32>(c.head.arg[0]) & uapi::msg_errqueue) != 0) {
    pending_error_ = 0;  // the next one's is the socket's own now
    shown_to_waiting_ = 0;
  }
  take_anchor_error(c.anchor.get());
  error_due_ = true;
  show_error();
}

answer_data datagram_client::show_again() {
  error_due_ = true;
  show_error();
  return {};
}

// ----------------------------------------------------------------------------------------------

void datagram_client::pump() {
  if (!end_) return;
  if (host_.memory_low()) owner_.mark_starving(*this);  // what it sends waits
  retry_sends();
  for (int i = 0; i < datagrams_a_turn && pump_one_out(); ++i) {
    if (i + 1 == datagrams_a_turn) owner_.mark(*this);
  }
  if (closing_) {
    if (!drain_out()) return;  // it goes on when there is room, or memory
    if (to_stack_.empty() && waiting_.empty()) owner_.remove(*this);
    return;
  }
  pump_in();
  show_error();
}

void datagram_client::on_end(u32) { pump(); }

void datagram_client::all_closed() {
  closing_ = true;
  pump();
}

}  // namespace ph::dropin
