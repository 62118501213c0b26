// Waiting and waking of simulated programs, and the calls they make.
#include "sim/app.h"

#include <fmt/format.h>

#include <array>

#include "sim/world.h"

namespace ph::sim {

using namespace uapi;

// --- endpoints ----------------------------------------------------------------------------------

endpoint::endpoint(const char* text) {
  const std::string_view all(text);
  const std::size_t colon = all.rfind(':');
  const auto parsed = ipv4_addr::parse(all.substr(0, colon));
  unsigned long number = 65536;
  if (colon != std::string_view::npos) number = std::stoul(std::string(all.substr(colon + 1)));
  if (!parsed || number > 65535) throw std::invalid_argument(fmt::format("no endpoint: {}", text));
  addr = *parsed;
  port = static_cast<u16>(number);
}

sockaddr_buf endpoint::sockaddr() const {
  sockaddr_in raw{};
  raw.sin_family = le16(af_inet);
  raw.sin_port = be16(port);
  raw.sin_addr = addr.raw;
  sockaddr_buf out;
  out.set(raw);
  return out;
}

endpoint endpoint::of(const sockaddr_buf& raw) {
  const auto* in = view_as<sockaddr_in>(raw.view());
  if (in == nullptr || raw.family() != af_inet) throw std::invalid_argument("no sockaddr_in");
  return {ipv4_addr(in->sin_addr.value()), in->sin_port.value()};
}

std::string endpoint::to_string() const { return fmt::format("{}:{}", addr.to_string(), port); }

call_error::call_error(const std::string& what, errc e)
    : std::runtime_error(fmt::format("{}: {}", what, errc_name(e))), code(e) {}

namespace {

template <class T>
T or_throw(const char* what, result<T> r) {
  if (!r) throw call_error(what, r.error());
  if constexpr (!std::is_void_v<T>) return std::move(*r);
}

/// Makes a call in the program's host.
template <class F>
auto must(app& a, const char* what, F&& f) {
  return or_throw(what, a.in_host(f));
}

}  // namespace

// --- life ---------------------------------------------------------------------------------------

app::app(world& w, host& where, std::shared_ptr<task> process, std::string name, body main)
    : world_(w), host_(where), name_(std::move(name)), process_(std::move(process)),
      body_(std::move(main)), runnable_([this] { retry(false); }),
      time_over_([this] { retry(true); }) {
  ++world_.running_apps_;
  world_.events_.schedule(runnable_, world_.now());
}

app::~app() { host_.enter(); }

app& app::spawn(std::string name, body main) {
  world_.apps_.push_back(
      std::make_unique<app>(world_, host_, process_, std::move(name), std::move(main)));
  return *world_.apps_.back();
}

instant app::now() const { return world_.now(); }

std::string app::waits_for() const {
  if (done_) return "has ended";
  return blocked_ == nullptr ? "has not run" : fmt::format("waits in {}", what_);
}

void app::start() {
  main_ = body_(*this);
  main_.start();
  finish_if_done();
}

/// Its process belongs to a machine that nobody may touch: it is kept as it is.
void app::host_died() {
  keep_forever(process_);
  for (auto& w : watches_) keep_forever(std::move(w));
  watches_.clear();
  world_.events_.cancel(runnable_);
  world_.events_.cancel(time_over_);
  if (!std::exchange(done_, true)) --world_.running_apps_;
}

void app::finish_if_done() {
  if (!main_.done() || done_) return;
  done_ = true;
  --world_.running_apps_;
  process_.reset();
  if (world_.failed_ == nullptr) world_.failed_ = this;
}

void app::block(std::coroutine_handle<> self, blocked_call& call, std::span<const int> fds,
                instant deadline, std::string what) {
  suspended_ = self;
  blocked_ = &call;
  what_ = std::move(what);
  for (const int fd : fds) {
    auto target = process_->get(fd);
    if (!target) continue;  // the call itself says what is wrong with it
    watches_.push_back(std::make_unique<watch>());
    watch& w = *watches_.back();
    w.target = std::move(*target);
    w.entry.set_callback([this](u32) { world_.events_.schedule(runnable_, world_.now()); });
    w.target->waiters().add(w.entry);
    what_ += fmt::format("({})", fd);
  }
  if (deadline != never) world_.events_.schedule(time_over_, deadline);
}

void app::retry(bool time_over) {
  if (host_.dead()) return;
  if (blocked_ == nullptr) return start();
  if (!blocked_->attempt(time_over)) return;
  blocked_ = nullptr;
  watches_.clear();
  world_.events_.cancel(runnable_);
  world_.events_.cancel(time_over_);
  std::exchange(suspended_, nullptr).resume();
  finish_if_done();
}

void app::poll_call::await_suspend(std::coroutine_handle<> self) {
  std::vector<int> fds;
  for (const poll_item& item : items_) fds.push_back(item.fd);
  app_.block(self, *this, fds, until_, "poll");
}

bool app::poll_call::attempt(bool time_over) {
  ready_ = 0;
  for (poll_item& item : items_) {
    const u32 always = pollerr | pollhup | pollnval;
    item.revents = app_.poll_now(item.fd) & (item.events | always);
    if (item.revents != 0) ++ready_;
  }
  return ready_ != 0 || time_over;
}

void app::sleep_call::await_suspend(std::coroutine_handle<> self) {
  app_.block(self, *this, {}, until_, "sleep");
}

app::poll_call app::poll(std::span<poll_item> items, instant until) {
  return {*this, items, until};
}

app::sleep_call app::sleep(duration d) { return {*this, now() + d}; }
app::sleep_call app::sleep_until(instant t) { return {*this, t}; }

// --- calls that do not wait ---------------------------------------------------------------------

int app::socket(int type, int domain, int protocol) {
  return must(*this, "socket", [&] { return sys_socket(*process_, domain, type, protocol); });
}

void app::bind(int fd, const endpoint& local) {
  must(*this, "bind", [&] { return sys_bind(*process_, fd, local.sockaddr().view()); });
}

void app::listen(int fd, int backlog) {
  must(*this, "listen", [&] { return sys_listen(*process_, fd, backlog); });
}

int app::listener(u16 port, int backlog) {
  const int fd = tcp();
  setsockopt(fd, sol_socket, so_reuseaddr, 1);
  bind(fd, {ipv4_addr(), port});
  listen(fd, backlog);
  return fd;
}

void app::close(int fd) {
  must(*this, "close", [&] { return sys_close(*process_, fd); });
}

void app::shutdown(int fd, int how) {
  must(*this, "shutdown", [&] { return sys_shutdown(*process_, fd, how); });
}

void app::setsockopt(int fd, int level, int option, int value) {
  must(*this, "setsockopt",
       [&] { return sys_setsockopt_int(*process_, fd, level, option, value); });
}

int app::getsockopt(int fd, int level, int option) {
  return must(*this, "getsockopt",
              [&] { return sys_getsockopt_int(*process_, fd, level, option); });
}

void app::set_timeout(int fd, int option, duration timeout) {
  const timeval value{timeout.ns / 1'000'000'000, timeout.ns % 1'000'000'000 / 1000};
  must(*this, "setsockopt", [&] {
    return sys_setsockopt(*process_, fd, sol_socket, option, bytes_of(value));
  });
}

void app::set_linger(int fd, bool on, int seconds) {
  const linger value{on ? 1 : 0, seconds};
  must(*this, "setsockopt", [&] {
    return sys_setsockopt(*process_, fd, sol_socket, so_linger, bytes_of(value));
  });
}

void app::set_nonblock(int fd, bool on) {
  must(*this, "fcntl", [&] { return sys_set_nonblock(*process_, fd, on); });
}

endpoint app::getsockname(int fd) {
  return endpoint::of(must(*this, "getsockname", [&] { return sys_getsockname(*process_, fd); }));
}

endpoint app::getpeername(int fd) {
  return endpoint::of(must(*this, "getpeername", [&] { return sys_getpeername(*process_, fd); }));
}

u32 app::poll_now(int fd) {
  return in_host([&] { return sys_poll(*process_, fd); });
}

// --- calls that may wait ------------------------------------------------------------------------

pending<void> app::try_connect(int fd, const endpoint& peer) {
  const auto made = [this, fd, peer, begun = false]() mutable -> result<void> {
    if (!std::exchange(begun, true)) return sys_connect(*process_, fd, peer.sockaddr().view());
    if ((sys_poll(*process_, fd) & (pollout | pollerr | pollhup)) == 0) return fail(errc::again);
    TRY(const int error, sys_getsockopt_int(*process_, fd, sol_socket, so_error));
    return error == 0 ? result<void>{} : fail(static_cast<errc>(error));
  };
  return {*this, "connect", fd, wait_for::connect, 0, made};
}

pending<int> app::try_accept(int fd, endpoint* peer) {
  const auto made = [this, fd, peer]() -> result<int> {
    sockaddr_buf from;
    TRY(const int connection,
        sys_accept4(*process_, fd, peer == nullptr ? nullptr : &from, 0));
    if (peer != nullptr) *peer = endpoint::of(from);
    return connection;
  };
  return {*this, "accept", fd, wait_for::accept, 0, made};
}

pending<std::size_t> app::try_send(int fd, byte_view data, u32 flags) {
  return {*this, "send", fd, wait_for::send, flags,
          [this, fd, data, flags] { return sys_send(*process_, fd, data, flags); }};
}

pending<std::size_t> app::try_recv(int fd, byte_span data, u32 flags) {
  return {*this, "recv", fd, wait_for::receive, flags,
          [this, fd, data, flags] { return sys_recv(*process_, fd, data, flags); }};
}

pending<std::size_t> app::try_sendto(int fd, byte_view data, const endpoint& to, u32 flags) {
  return {*this, "sendto", fd, wait_for::send, flags, [this, fd, data, to, flags] {
            return sys_sendto(*process_, fd, data, flags, to.sockaddr().view());
          }};
}

pending<received_from> app::try_recvfrom(int fd, byte_span data, u32 flags) {
  const auto made = [this, fd, data, flags]() -> result<received_from> {
    sockaddr_buf from;
    TRY(const std::size_t len, sys_recvfrom(*process_, fd, data, flags, &from));
    return received_from{len, from.len == 0 ? endpoint{} : endpoint::of(from)};
  };
  return {*this, "recvfrom", fd, wait_for::receive, flags, made};
}

pending_or_throw<void> app::connect(int fd, const endpoint& peer) {
  return pending_or_throw<void>(try_connect(fd, peer));
}
pending_or_throw<int> app::accept(int fd, endpoint* peer) {
  return pending_or_throw<int>(try_accept(fd, peer));
}
pending_or_throw<std::size_t> app::send(int fd, byte_view data, u32 flags) {
  return pending_or_throw<std::size_t>(try_send(fd, data, flags));
}
pending_or_throw<std::size_t> app::recv(int fd, byte_span data, u32 flags) {
  return pending_or_throw<std::size_t>(try_recv(fd, data, flags));
}
pending_or_throw<std::size_t> app::sendto(int fd, byte_view data, const endpoint& to, u32 flags) {
  return pending_or_throw<std::size_t>(try_sendto(fd, data, to, flags));
}
pending_or_throw<received_from> app::recvfrom(int fd, byte_span data, u32 flags) {
  return pending_or_throw<received_from>(try_recvfrom(fd, data, flags));
}

co<int> app::connect(endpoint peer) {
  const int fd = tcp();
  co_await connect(fd, peer);
  co_return fd;
}

co<void> app::send_all(int fd, byte_view data) {
  while (!data.empty()) {
    const std::size_t sent = co_await send(fd, data);
    data = data.subspan(sent);
  }
}

co<std::vector<u8>> app::recv_exactly(int fd, std::size_t n) {
  std::vector<u8> out(n);
  std::size_t have = 0;
  while (have < n) {
    const std::size_t got = co_await recv(fd, byte_span(out).subspan(have));
    if (got == 0) {
      throw call_error(fmt::format("stream ended after {} of {}", have, n), errc::nodata);
    }
    have += got;
  }
  co_return out;
}

co<std::vector<u8>> app::recv_to_end(int fd) {
  std::vector<u8> out;
  std::vector<u8> piece(64 * 1024);
  for (;;) {
    const std::size_t got = co_await recv(fd, piece);
    if (got == 0) co_return out;
    out.insert(out.end(), piece.begin(), piece.begin() + static_cast<std::ptrdiff_t>(got));
  }
}

}  // namespace ph::sim
