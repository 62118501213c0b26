// What stream and datagram clients have in common: names, options, ioctls, special messages.
#include "daemon/client.h"

#include <algorithm>
#include <utility>

#include "uapi/socket.h"

namespace ph::dropin {
namespace {

/// Our control items as a cmsghdr sequence.
std::vector<u8> to_cmsgs(const message_parts& parts) {
  std::vector<u8> out;
  control_walk walk{parts.control, parts.head.control_len};
  control_item item;
  const u8* value = nullptr;
  while (walk.next(item, value)) {
    uapi::cmsghdr head;
    head.cmsg_len = uapi::cmsg_len(item.len);
    head.cmsg_level = static_cast<s32>(item.level);
    head.cmsg_type = static_cast<s32>(item.type);
    const std::size_t at = out.size();
    out.resize(at + uapi::cmsg_space(item.len));
    std::memcpy(out.data() + at, &head, sizeof head);
    if (item.len != 0) std::memcpy(out.data() + at + sizeof head, value, item.len);
  }
  return out;
}

void append(std::vector<u8>& to, byte_view bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}

}  // namespace

std::vector<u8> to_items(byte_view control,
                         const std::function<bool(int level, int type)>& wanted) {
  std::vector<u8> out;
  (void)for_each_cmsg(control, [&](int level, int type, byte_view value) -> result<void> {
    if (!wanted(level, type)) return {};
    const control_item item{static_cast<u32>(level), static_cast<u32>(type),
                            static_cast<u32>(value.size())};
    append(out, bytes_of(item));
    append(out, value);
    return {};
  });
  return out;
}

client::client(client_owner& owner, host_sockets& host, int s, u64 id, client_kind kind)
    : owner_(owner),
      host_(host),
      s_(s),
      id_(id),
      kind_(kind),
      anchor_id_(id),
      wait_([this](u32 events) {
        woken(events);
        owner_.mark(*this);
      }) {
  host_.watch(s_, wait_);
}

client::~client() {
  if (s_ >= 0) host_.close(s_);
}

std::unique_ptr<closed_socket> client::close_socket() {
  return host_.close_watched(std::exchange(s_, -1), wait_);
}

std::optional<answer_data> client::await_end(u64, const request_head&) { return answer_data{}; }

anchor_name client::name_of(name_kind kind, u64 id) const {
  anchor_name name;
  name.kind = kind;
  name.instance = owner_.instance();
  name.id = id;
  name.domain = kind_.domain;
  name.type = kind_.type;
  name.protocol = kind_.protocol;
  return name;
}

result<unique_fd> client::new_anchor(bool nonblocking) {
  if (anchors_ != 0 || anchor_id_ != id_) anchor_id_ = owner_.new_id();
  TRY(made_anchor made,
      owner_.anchors().make_anchor(name_of(name_kind::anchor, anchor_id_), nonblocking));
  reach_ = std::move(made.reach);
  TRY_VOID(anchor_made(made.fd.get()));
  if (!owner_.closes().add(made.fd.get(), anchor_id_)) return fail(errc::nobufs);
  owner_.know_anchor(anchor_id_, made.cookie, *this);
  ++anchors_;
  return std::move(made.fd);
}

result<void> client::anchor_made(int) { return {}; }

void client::before_error(const call&) {}

void client::error_told(const call&, int) {}

void client::woken(u32) {}

bool client::wants_control(int, int) const { return true; }

void client::anchor_closed() {
  if (anchors_ > 0 && --anchors_ == 0) all_closed();
}

void client::look_for_anchor() {
  if (anchors_ == 0) return;
  if (reach_ ? anchor_alive(reach_.get()) : !looks_closed()) return;
  anchors_ = 0;
  all_closed();
}

void client::say_goodbye() {
  if (reach_) leave_tombstones(reach_.get(), name_of(name_kind::anchor, anchor_id_));
}

answer_data client::received(const call&) { return answer_of(result<void>(fail(errc::opnotsupp))); }

answer_data client::give_error_flag() { return answer_of(result<void>(fail(errc::opnotsupp))); }

answer_data client::renew(call&) { return answer_of(result<void>(fail(errc::already))); }

answer_data client::show_again() { return answer_of(result<void>(fail(errc::inval))); }

std::optional<answer_data> client::serve(call& c) {
  before_request(c);
  switch (static_cast<request_kind>(c.head.kind)) {
    case request_kind::bind: return answer_of(host_.bind(s_, c.data));
    case request_kind::connect: return connect(c);
    case request_kind::listen: return listen(c);
    case request_kind::shutdown: return shutdown(c);
    case request_kind::getsockname: return get_name(false);
    case request_kind::getpeername: return get_name(true);
    case request_kind::getsockopt: return get_option(c);
    case request_kind::setsockopt: return set_option(c);
    case request_kind::ioctl: return do_ioctl(c);
    case request_kind::take_error: return tell_error(c);
    case request_kind::sendmsg: return send(c);
    case request_kind::recvmsg: {
      answer_data a = receive(c);
      if (a.result != -static_cast<int>(errc::again)) error_told(c, 0);
      return a;
    }
    case request_kind::received: return received(c);
    case request_kind::error_flag: return give_error_flag();
    case request_kind::renew: return renew(c);
    case request_kind::show_error: return show_again();
    default: return answer_of(result<void>(fail(errc::inval)));
  }
}

errc client::stack_error() {
  le32 error;
  const auto got = host_.getsockopt(s_, uapi::sol_socket, uapi::so_error,
                                    {reinterpret_cast<u8*>(&error), sizeof error});
  return got ? static_cast<errc>(error.value()) : errc::ok;
}

void client::note_peer() {
  const auto peer = host_.name(s_, true);
  const bool own = peer && host_.has_address(peer->view());
  settling* const home = own ? owner_.settling_of(host_) : nullptr;
  home_ = home != nullptr ? local_mark(*home) : local_mark();
}

answer_data client::with_home(answer_data&& a, byte_view peer) {
  if (host_.has_address(peer)) a.flags |= reply_goes_home;
  return std::move(a);
}

int client::take_error() {
  const int error = std::exchange(pending_error_, 0);
  return error != 0 ? error : static_cast<int>(stack_error());
}

answer_data client::tell_error(call& c) {
  before_error(c);
  const int error = take_error();
  error_told(c, error);
  return {error, {}, {}, 0};
}

answer_data client::get_name(bool peer) {
  const auto name = host_.name(s_, peer);
  answer_data a = answer_of(name);
  if (name) append(a.data, name->view());
  return a;
}

answer_data client::set_option(call& c) {
  return answer_of(host_.setsockopt(s_, c.head.arg[0], c.head.arg[1], c.data));
}

answer_data client::get_option(const call& c) {
  const auto room = static_cast<std::size_t>(std::clamp(c.head.arg[2], 0, s32{max_data}));
  answer_data a;
  a.data.assign(c.data.begin(), c.data.end());
  a.data.resize(room);
  const auto len = host_.getsockopt(s_, c.head.arg[0], c.head.arg[1], a.data);
  a.result = len ? 0 : -static_cast<int>(len.error());
  a.data.resize(len ? std::min(*len, room) : 0);
  return a;
}

answer_data client::do_ioctl(const call& c) {
  answer_data a;
  a.data.assign(c.data.begin(), c.data.end());
  const auto command = static_cast<u32>(c.head.arg[0]);
  const auto done = host_.ioctl(s_, command, a.data);
  a.result = done ? *done : -static_cast<int>(done.error());
  if (!done) a.data.clear();
  const bool counts =
      (command == uapi::siocoutq || command == uapi::siocoutqnsd) && a.data.size() == sizeof(u32);
  if (done && counts) {
    le32 queued;
    std::memcpy(&queued, a.data.data(), sizeof queued);
    queued.set(queued.value() + static_cast<u32>(unpumped()));
    std::memcpy(a.data.data(), &queued, sizeof queued);
  }
  return a;
}

result<std::size_t> client::send_message(const call& c) {
  message_parts parts;
  if (!parse_message(c.data.data(), c.data.size(), parts)) return fail(errc::inval);
  const std::vector<u8> control = to_cmsgs(parts);
  const byte_view payload{parts.payload, parts.head.payload_len};
  send_msg msg;
  msg.name = {parts.name, parts.head.name_len};
  msg.iov = {&payload, 1};
  msg.control = control;
  msg.flags = static_cast<u32>(c.head.arg[0]);
  return host_.sendmsg(s_, msg);
}

answer_data client::receive(const call& c) {
  std::vector<u8> payload(static_cast<std::size_t>(std::clamp(c.head.arg[1], 0, s32{65536})));
  std::vector<u8> control(1024);
  sockaddr_buf from;
  const byte_span room{payload};
  recv_msg msg;
  msg.name = &from;
  msg.iov = {&room, 1};
  msg.control = control;
  msg.flags = static_cast<u32>(c.head.arg[0]);
  const auto got = host_.recvmsg(s_, msg);
  answer_data a = answer_of(got);
  if (!got) return a;
  a.result = static_cast<int>(*got);
  const std::vector<u8> items =
      to_items(byte_view(control).first(msg.control_len),
               [this](int level, int type) { return wants_control(level, type); });
  message_head head;
  head.name_len = static_cast<u16>(from.len);
  head.flags = static_cast<u16>(msg.out_flags);
  head.control_len = static_cast<u32>(items.size());
  head.payload_len = static_cast<u32>(std::min(*got, payload.size()));
  append(a.data, bytes_of(head));
  append(a.data, from.view());
  append(a.data, items);
  append(a.data, byte_view(payload).first(head.payload_len));
  return a;
}

}  // namespace ph::dropin
