// What the requests on a channel do that are not a socket's own affair (daemon/client.h): they make
// sockets, find the one that a request is about, and answer for the host.
#include <algorithm>
#include <cstring>

#include "daemon/datagram_client.h"
#include "daemon/drop_in_state.h"
#include "daemon/stream_client.h"
#include "uapi/socket.h"

namespace ph::dropin {
namespace {

/// The text in a fixed field.
template <std::size_t N>
std::string_view text_in(const char (&field)[N]) {
  return {field, static_cast<std::size_t>(std::find(field, field + N, '\0') - field)};
}

void wait_for(channel& ch, const client& c, const request& r) {
  ch.waiting_client = c.id();
  ch.waiting_call = r.head;
}

}  // namespace

std::optional<answer_data> drop_in_state::dispatch(u64 id, channel& ch, const request& r,
                                                   result<passed_socket> about) {
  const bool about_none = !about && about.error() == errc::ok;
  switch (static_cast<request_kind>(r.head.kind)) {
    case request_kind::hello: return hello(ch, r);
    case request_kind::socket: return make_socket(ch, r);
    case request_kind::interfaces: return interfaces(ch);
    case request_kind::resolve: return resolve(ch, r);
    case request_kind::resolve_addr: return resolve_address(ch, r);
    case request_kind::await_end: return await_end(id, ch, r);
    case request_kind::settle: return settle(ch);
    case request_kind::read_file: return read_file(ch, r);
    case request_kind::open_file: return open_file(id, ch, r);
    case request_kind::file_error: return file_error(ch, r);
    case request_kind::ioctl:
      if (about_none) return host_ioctl(ch, r);
      break;
    default: break;
  }
  if (!about) return refusal(about_none ? errc::badf : about.error());
  client& c = *about->what;
  call made{id, r.head, {r.data, r.head.data_len}, std::move(about->anchor)};
  auto answer = c.serve(made);
  if (!answer) wait_for(ch, c, r);
  return answer;
}

/// The client of a passed anchor. A program can give a socket of its own any name: an anchor is
/// what was made here, and an accepted one what was connected from here.
result<client*> drop_in_state::find_by(int anchor, const channel& ch) {
  const auto what = identify_anchor(anchor);
  if (!what || what->name.instance != instance_) return fail(errc::connreset);
  client* const c = find(what->name.id);
  // What is left of a connection that is over on both sides has no client any more.
  if (c == nullptr) return fail(errc::notconn);
  const auto known = known_.find(what->name.id);
  const bool proved = what->accepted
                          ? c->id() == what->name.id
                          : known != known_.end() && known->second.cookie == what->cookie;
  if (!proved || &c->host() != ch.host) return fail(errc::badf);
  return c;
}

answer_data drop_in_state::hello(channel& ch, const request& r) {
  hello_data hello;
  if (r.head.data_len != sizeof hello) return refusal(errc::inval);
  std::memcpy(&hello, r.data, sizeof hello);
  if (ch.who.user != ::geteuid() && text_in(hello.token) != token_) return refusal(errc::perm);
  host_sockets* const host = hosts_(text_in(hello.host));
  if (host == nullptr) return refusal(errc::noent);
  // Itself, and an anchor that a call which waits has passed.
  auto share = shares_.take({host, ch.who}, 2);
  if (!share) return refusal(share.error());
  ch.share = std::move(*share);
  ch.host = host;
  gate_.greet(ch.who);
  take_descriptors(ch.fd.get(), true);
  welcome_data welcome{instance_};
  token_.copy(welcome.token, sizeof welcome.token - 1);
  answer_data a;
  a.data.assign(bytes_of(welcome).begin(), bytes_of(welcome).end());
  if (r.head.arg[1] == 1) a.fd = settling_file(ch);
  a.fd_spared = true;
  return a;
}

settling* drop_in_state::settling_of(const host_sockets& host) {
  const auto at = settling_.find(&host);
  return at != settling_.end() ? at->second.page.get() : nullptr;
}

/// The page of a host is made when its first program comes.
unique_fd drop_in_state::settling_file(const channel& ch) {
  settling_host& at = settling_[ch.host];
  if (!at.page) {
    auto share = shares_.take({ch.host, {0, ::geteuid()}}, 1);
    if (!share) return {};
    at.share = std::move(*share);
    at.page = settling::create();
  }
  return at.page ? at.page->file() : unique_fd();
}

answer_data drop_in_state::settle(channel& ch) {
  if (settling* const page = settling_of(*ch.host)) settling_turns_.note(*page);
  return {};
}

answer_data drop_in_state::make_socket(channel& ch, const request& r) {
  const int domain = r.head.arg[0], type = r.head.arg[1] & uapi::sock_type_mask;
  if ((r.head.arg[1] & ~(uapi::sock_type_mask | uapi::sock_nonblock | uapi::sock_cloexec)) != 0) {
    return refusal(errc::inval);
  }
  const bool stream = type == uapi::sock_stream;
  auto share = shares_.take({ch.host, ch.who}, stream ? 1 : 2);  // docs/dropin.md, Reach
  if (!share) return refusal(share.error());
  const auto s = ch.host->open(domain, type, r.head.arg[2]);
  if (!s) return refusal(s.error());
  open_socket opened(*ch.host, *s);
  le32 protocol(static_cast<u32>(r.head.arg[2]));
  (void)ch.host->getsockopt(*s, uapi::sol_socket, uapi::so_protocol,
                            {reinterpret_cast<u8*>(&protocol), sizeof protocol});
  const client_kind kind{static_cast<u8>(domain), static_cast<u8>(type),
                         static_cast<u16>(protocol.value())};
  const u64 id = new_id();
  make_room_for_client();
  std::unique_ptr<client> made;
  if (stream) {
    made = std::make_unique<stream_client>(*this, *ch.host, *s, id, kind);
  } else {
    made = std::make_unique<datagram_client>(*this, *ch.host, *s, id, kind);
  }
  opened.release();
  auto anchor = made->new_anchor((r.head.arg[1] & uapi::sock_nonblock) != 0);
  if (!anchor) return refusal(anchor.error());
  made->set_share(std::move(*share));
  clients_.emplace(id, std::move(made));
  answer_data a;
  a.fd = std::move(*anchor);
  return a;
}

answer_data drop_in_state::host_ioctl(channel& ch, const request& r) {
  answer_data a;
  a.data.assign(r.data, r.data + r.head.data_len);
  const auto done = ch.host->ioctl(-1, static_cast<u32>(r.head.arg[0]), a.data);
  if (!done) return refusal(done.error());
  a.result = *done;
  return a;
}

answer_data drop_in_state::interfaces(channel& ch) {
  answer_data a;
  for (const interface_record& record : ch.host->interfaces()) {
    if (a.data.size() + sizeof record > max_data) break;
    a.data.insert(a.data.end(), bytes_of(record).begin(), bytes_of(record).end());
  }
  return a;
}

answer_data drop_in_state::resolve(channel& ch, const request& r) {
  constexpr std::size_t record_len = 16;
  const auto found = ch.host->resolve(text_of({r.data, r.head.data_len}));
  if (found.empty()) return refusal(errc::noent);
  answer_data a;
  for (const sockaddr_buf& addr : found) {
    const std::size_t at = a.data.size();
    a.data.resize(at + record_len);
    copy_bytes(byte_span(a.data).subspan(at), addr.view());
  }
  return a;
}

answer_data drop_in_state::resolve_address(channel& ch, const request& r) {
  const std::string name = ch.host->name_of({r.data, r.head.data_len});
  if (name.empty()) return refusal(errc::noent);
  answer_data a;
  a.data.assign(name.begin(), name.end());
  return a;
}

std::optional<answer_data> drop_in_state::await_end(u64 id, channel& ch, const request& r) {
  u64 which = 0;
  if (r.head.data_len != sizeof which) return refusal(errc::inval);
  std::memcpy(&which, r.data, sizeof which);
  serve_closes();
  client* const c = find(which);
  if (c == nullptr || &c->host() != ch.host) return answer_data{};
  auto answer = c->await_end(id, r.head);
  if (!answer) wait_for(ch, *c, r);
  return answer;
}

}  // namespace ph::dropin
