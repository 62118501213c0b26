// Serving control channels: accepting them, reading requests, passing descriptors, and calling the
// clients when their ends, their sockets or their anchors have something new.
#include "daemon/drop_in.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>

#include "daemon/datagram_client.h"
#include "daemon/drop_in_state.h"
#include "daemon/stream_client.h"
#include "uapi/socket.h"

namespace ph::dropin {
namespace {

constexpr u64 tag_shift = 56;
constexpr std::size_t max_channels = 16384;

answer_data refuse(errc e) { return {-static_cast<int>(e), {}, {}, 0}; }

std::string hex(u64 value) {
  static constexpr char digits[] = "0123456789abcdef";
  std::string out;
  for (int shift = 60; shift >= 0; shift -= 4) out += digits[(value >> shift) & 15];
  return out;
}

/// The text in a fixed field.
template <std::size_t N>
std::string_view text_in(const char (&field)[N]) {
  return {field, static_cast<std::size_t>(std::find(field, field + N, '\0') - field)};
}

unique_fd take_passed_fd(msghdr& message) {
  unique_fd out;
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
      out.reset(fd);  // all but the last are closed
    }
  }
  return out;
}

}  // namespace

drop_in_state::drop_in_state(u64 instance, std::string token, anchor_folder anchors,
                             find_host hosts)
    : instance_(instance),
      token_(std::move(token)),
      anchors_(std::move(anchors)),
      hosts_(std::move(hosts)),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      timer_(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)),
      buffer_(max_message) {
  poll(EPOLL_CTL_ADD, closes_.fd(), EPOLLIN, source::closes, 0);
  poll(EPOLL_CTL_ADD, timer_.get(), EPOLLIN | EPOLLET, source::timer, 0);
}

drop_in_state::~drop_in_state() {
  for (const auto& [id, c] : clients_) c->say_goodbye();
}

u64 drop_in_state::new_id() {
  for (;;) {
    const u64 id = random_u64() >> (64 - tag_shift);
    if (id != 0 && !clients_.contains(id) && !aliases_.contains(id) && !channels_.contains(id)) {
      return id;
    }
  }
}

result<void> drop_in_state::listen_at(const std::string& address) {
  address_ = address.empty() ? "@posthaste-" + hex(instance_) : address;
  sockaddr_un sun{};
  sun.sun_family = AF_UNIX;
  if (address_.size() >= sizeof sun.sun_path) return fail(errc::nametoolong);
  std::memcpy(sun.sun_path, address_.data(), address_.size());
  socklen_t len = sizeof sun;
  if (address_.front() == '@') {
    sun.sun_path[0] = 0;
    len = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address_.size());
  }
  listener_.reset(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener_ || ::bind(listener_.get(), reinterpret_cast<sockaddr*>(&sun), len) != 0 ||
      ::listen(listener_.get(), 4096) != 0) {
    return fail(static_cast<errc>(errno));
  }
  poll(EPOLL_CTL_ADD, listener_.get(), EPOLLIN, source::listener, 0);
  return {};
}

// --- events -----------------------------------------------------------------------------------

void drop_in_state::poll(int operation, int fd, u32 events, source what, u64 id) {
  epoll_event e{};
  e.events = events;
  e.data.u64 = (static_cast<u64>(what) << tag_shift) | id;
  if (::epoll_ctl(epoll_.get(), operation, fd, &e) != 0 && operation == EPOLL_CTL_MOD) {
    ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &e);
  }
}

void drop_in_state::poll_end(int fd, u64 id) {
  poll(EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, source::end, id);
}

void drop_in_state::poll_room(int fd, u64 id) {
  poll(EPOLL_CTL_MOD, fd, EPOLLOUT | EPOLLONESHOT, source::room, id);
}

void drop_in_state::on_event(u32 events, u64 tag) {
  const u64 id = tag & ((u64{1} << tag_shift) - 1);
  switch (static_cast<source>(tag >> tag_shift)) {
    case source::listener: return accept_channels();
    case source::channel: return serve_channel(id);
    case source::closes: return serve_closes();
    case source::end:
      if (client* c = find(id)) c->on_end(events);
      return;
    case source::room:
      if (client* c = find(id)) c->on_room();
      return;
    case source::timer:
      marked_.insert(marked_.end(), later_.begin(), later_.end());
      later_.clear();
      return;
  }
}

bool drop_in_state::process() {
  epoll_event events[128];
  for (int round = 0; round < 8; ++round) {
    run_marked();
    bury();
    const int n = ::epoll_wait(epoll_.get(), events, 128, 0);
    for (int i = 0; i < n; ++i) on_event(events[i].events, events[i].data.u64);
    bury();
    if (n <= 0 && marked_.empty()) return false;
  }
  return true;
}

void drop_in_state::mark(client& c) {
  if (c.marked()) return;
  c.set_marked(true);
  marked_.push_back(c.id());
}

void drop_in_state::mark_later(client& c) {
  later_.push_back(c.id());
  itimerspec in_a_moment{};
  in_a_moment.it_value.tv_nsec = 1000000;
  ::timerfd_settime(timer_.get(), 0, &in_a_moment, nullptr);
}

void drop_in_state::run_marked() {
  const std::vector<u64> round = std::exchange(marked_, {});
  for (const u64 id : round) {
    if (client* c = find(id)) {
      c->set_marked(false);
      c->pump();
    }
  }
}

void drop_in_state::remove(client& c) { dead_.push_back(c.id()); }

void drop_in_state::bury() {
  for (const u64 id : std::exchange(dead_, {})) {
    clients_.erase(id);
    std::erase_if(aliases_, [id](const auto& alias) { return alias.second == id; });
  }
}

void drop_in_state::serve_closes() {
  bool overflow = false;
  const std::vector<u64> closed = closes_.closed(overflow);
  for (const u64 id : closed) {
    if (client* c = find(id)) c->anchor_closed();
  }
  if (!overflow) return;
  for (const auto& [id, c] : clients_) c->look_for_anchor();
}

client* drop_in_state::find(u64 id) {
  const auto alias = aliases_.find(id);
  const auto at = clients_.find(alias == aliases_.end() ? id : alias->second);
  if (at == clients_.end()) return nullptr;
  const bool dead = std::find(dead_.begin(), dead_.end(), at->first) != dead_.end();
  return dead ? nullptr : at->second.get();
}

void drop_in_state::alias(u64 id, client& c) {
  if (id != c.id()) aliases_[id] = c.id();
}

void drop_in_state::adopt(host_sockets& host, int s, const anchor_name& end, unique_fd fd) {
  auto made = std::make_unique<stream_client>(
      *this, host, s, end.id, client_kind{end.domain, end.type, end.protocol});
  stream_client& c = *made;
  clients_.emplace(end.id, std::move(made));
  c.accepted(std::move(fd));
}

// --- channels ---------------------------------------------------------------------------------

void drop_in_state::accept_channels() {
  for (int i = 0; i < 64 && channels_.size() < max_channels; ++i) {
    unique_fd fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!fd) return;
    const u64 id = new_id();
    poll(EPOLL_CTL_ADD, fd.get(), EPOLLIN | EPOLLRDHUP, source::channel, id);
    channels_[id].fd = std::move(fd);
  }
}

void drop_in_state::drop_channel(u64 id) {
  const auto at = channels_.find(id);
  if (at == channels_.end()) return;
  const u64 waiting = at->second.waiting_client;
  channels_.erase(at);
  if (waiting == 0) return;
  if (client* c = find(waiting)) c->give_up(id);
}

void drop_in_state::serve_channel(u64 id) {
  const auto at = channels_.find(id);
  if (at == channels_.end()) return;
  iovec piece{buffer_.data(), buffer_.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(8 * sizeof(int))];
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  const ssize_t got =
      ::recvmsg(at->second.fd.get(), &message, MSG_DONTWAIT | MSG_TRUNC | MSG_CMSG_CLOEXEC);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  unique_fd anchor = got > 0 ? take_passed_fd(message) : unique_fd();
  request r;
  const bool good = got > 0 && static_cast<std::size_t>(got) <= buffer_.size() &&
                    (message.msg_flags & MSG_CTRUNC) == 0 && at->second.waiting_client == 0 &&
                    parse_request(buffer_.data(), static_cast<std::size_t>(got), r);
  const bool greeted = at->second.host != nullptr ||
                       (good && r.head.kind == static_cast<u16>(request_kind::hello));
  if (!good || !greeted) return drop_channel(id);
  if (r.head.kind == static_cast<u16>(request_kind::bind)) {
    serve_closes();  // a socket closed before this call no longer has its port
    bury();
  }
  serve(id, at->second, r, std::move(anchor));
}

void drop_in_state::serve(u64 id, channel& ch, const request& r, unique_fd anchor) {
  auto answer = dispatch(id, ch, r, std::move(anchor));
  if (answer && !reply(ch, r.head, std::move(*answer))) drop_channel(id);
}

void drop_in_state::answer_later(u64 channel, const request_head& head, answer_data&& a) {
  const auto at = channels_.find(channel);
  if (at == channels_.end()) return;
  at->second.waiting_client = 0;
  if (!reply(at->second, head, std::move(a))) drop_channel(channel);
}

bool drop_in_state::reply(channel& ch, const request_head& head, answer_data&& a) {
  reply_head out;
  out.kind = head.kind;
  out.sequence = head.sequence;
  out.flags = a.flags;
  out.result = a.result;
  out.data_len = static_cast<u32>(a.data.size());
  iovec pieces[2] = {{&out, sizeof out}, {a.data.data(), a.data.size()}};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = pieces;
  message.msg_iovlen = 2;
  if (a.fd) {
    const int fd = a.fd.get();
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* rights = CMSG_FIRSTHDR(&message);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof fd);
    std::memcpy(CMSG_DATA(rights), &fd, sizeof fd);
  }
  return ::sendmsg(ch.fd.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0;
}

// --- requests ---------------------------------------------------------------------------------

std::optional<answer_data> drop_in_state::dispatch(u64 id, channel& ch, const request& r,
                                                   unique_fd anchor) {
  switch (static_cast<request_kind>(r.head.kind)) {
    case request_kind::hello: return hello(ch, r);
    case request_kind::socket: return make_socket(ch, r);
    case request_kind::interfaces: return interfaces(ch);
    case request_kind::resolve: return resolve(ch, r);
    case request_kind::resolve_addr: return resolve_address(ch, r);
    case request_kind::ioctl:
      if (!anchor) return host_ioctl(ch, r);
      break;
    default: break;
  }
  const auto c = find_by(anchor, ch);
  if (!c) return refuse(c.error());
  call made{id, r.head, {r.data, r.head.data_len}, std::move(anchor)};
  auto answer = (*c)->serve(made);
  if (!answer) ch.waiting_client = (*c)->id();
  return answer;
}

/// The client of a passed anchor. A program can give a socket of its own any name: an anchor is
/// what was made here, and an accepted one what was connected from here.
result<client*> drop_in_state::find_by(const unique_fd& anchor, const channel& ch) {
  if (!anchor) return fail(errc::badf);
  const auto what = identify_anchor(anchor.get());
  if (!what || what->name.instance != instance_) return fail(errc::connreset);
  client* const c = find(what->name.id);
  // What is left of a connection that is over on both sides has no client any more.
  if (c == nullptr) return fail(errc::notconn);
  const bool proved = what->accepted ? c->id() == what->name.id : c->has_anchor(what->cookie);
  if (!proved || &c->host() != ch.host) return fail(errc::badf);
  return c;
}

answer_data drop_in_state::hello(channel& ch, const request& r) {
  hello_data hello;
  if (r.head.data_len != sizeof hello) return refuse(errc::inval);
  std::memcpy(&hello, r.data, sizeof hello);
  ucred who{};
  socklen_t len = sizeof who;
  ::getsockopt(ch.fd.get(), SOL_SOCKET, SO_PEERCRED, &who, &len);
  if (who.uid != ::geteuid() && text_in(hello.token) != token_) return refuse(errc::perm);
  ch.host = hosts_(text_in(hello.host));
  if (ch.host == nullptr) return refuse(errc::noent);
  const welcome_data welcome{instance_};
  answer_data a;
  a.data.assign(bytes_of(welcome).begin(), bytes_of(welcome).end());
  return a;
}

answer_data drop_in_state::make_socket(channel& ch, const request& r) {
  const int domain = r.head.arg[0], type = r.head.arg[1] & uapi::sock_type_mask;
  if ((r.head.arg[1] & ~(uapi::sock_type_mask | uapi::sock_nonblock | uapi::sock_cloexec)) != 0) {
    return refuse(errc::inval);
  }
  const auto s = ch.host->open(domain, type, r.head.arg[2]);
  if (!s) return refuse(s.error());
  le32 protocol(static_cast<u32>(r.head.arg[2]));
  (void)ch.host->getsockopt(*s, uapi::sol_socket, uapi::so_protocol,
                            {reinterpret_cast<u8*>(&protocol), sizeof protocol});
  const client_kind kind{static_cast<u8>(domain), static_cast<u8>(type),
                         static_cast<u16>(protocol.value())};
  const u64 id = new_id();
  std::unique_ptr<client> made;
  if (type == uapi::sock_stream) {
    made = std::make_unique<stream_client>(*this, *ch.host, *s, id, kind);
  } else {
    made = std::make_unique<datagram_client>(*this, *ch.host, *s, id, kind);
  }
  auto anchor = made->new_anchor((r.head.arg[1] & uapi::sock_nonblock) != 0);
  if (!anchor) return refuse(anchor.error());
  clients_.emplace(id, std::move(made));
  answer_data a;
  a.fd = std::move(*anchor);
  return a;
}

answer_data drop_in_state::host_ioctl(channel& ch, const request& r) {
  answer_data a;
  a.data.assign(r.data, r.data + r.head.data_len);
  const auto done = ch.host->ioctl(-1, static_cast<u32>(r.head.arg[0]), a.data);
  if (!done) return refuse(done.error());
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
  if (found.empty()) return refuse(errc::noent);
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
  if (name.empty()) return refuse(errc::noent);
  answer_data a;
  a.data.assign(name.begin(), name.end());
  return a;
}

std::vector<pid_t> drop_in_state::peers() const {
  std::vector<pid_t> out;
  for (const auto& [id, c] : channels_) {
    ucred who{};
    socklen_t len = sizeof who;
    if (::getsockopt(c.fd.get(), SOL_SOCKET, SO_PEERCRED, &who, &len) == 0) out.push_back(who.pid);
  }
  return out;
}

// --- the outside ------------------------------------------------------------------------------

drop_in::drop_in(std::unique_ptr<drop_in_state> state) : state_(std::move(state)) {}
drop_in::~drop_in() = default;

result<std::unique_ptr<drop_in>> drop_in::create(const drop_in_options& options, find_host hosts) {
  u64 instance = options.instance;
  while (instance == 0) instance = random_u64();
  TRY(anchor_folder anchors, anchor_folder::create(instance));
  auto state = std::make_unique<drop_in_state>(instance, hex(random_u64()) + hex(random_u64()),
                                               std::move(anchors), std::move(hosts));
  TRY_VOID(state->listen_at(options.address));
  return std::make_unique<drop_in>(std::move(state));
}

int drop_in::fd() const { return state_->fd(); }
bool drop_in::process() { return state_->process(); }
std::size_t drop_in::socket_count() const { return state_->client_count(); }
u64 drop_in::instance() const { return state_->instance(); }
const std::string& drop_in::anchor_folder_path() const { return state_->anchors().path(); }
const std::string& drop_in::address() const { return state_->address(); }
std::vector<pid_t> drop_in::peers() const { return state_->peers(); }

std::vector<std::pair<std::string, std::string>> drop_in::environment(
    std::string_view host) const {
  return {{env_socket, state_->address()},
          {env_host, std::string(host)},
          {env_token, state_->token()}};
}

}  // namespace ph::dropin
