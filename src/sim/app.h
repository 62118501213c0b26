// Simulated programs: coroutines on a host that make system calls and wait as a real program with
// blocking sockets would. Written for tests:
//
//   w.spawn("client", "wget", [](app& a) -> co<> {
//     const int fd = co_await a.connect("10.0.0.2:80");
//     co_await a.send_all(fd, bytes_of("GET /\r\n"));
//     const auto page = co_await a.recv_to_end(fd);
//   });
//
// A call that fails throws call_error; its try_ twin returns the error instead. O_NONBLOCK,
// MSG_DONTWAIT, SO_RCVTIMEO and SO_SNDTIMEO mean what socket(7) says. Times are virtual.
// On a host that has died a program is not run any more; one whose call it died of gets ENETDOWN.
// Lambdas must not capture what dies before the world; parameters beyond the app are no problem.
#pragma once

#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "net/socket/syscall.h"
#include "sim/co.h"
#include "sim/event_queue.h"
#include "sim/host.h"
#include "uapi/socket.h"
#include "wire/inet_addr.h"

namespace ph::sim {

class app;
class world;

/// An IPv4 address and a port.
struct endpoint {
  ipv4_addr addr;
  u16 port = 0;
  endpoint() = default;
  endpoint(ipv4_addr a, u16 p) : addr(a), port(p) {}
  /// "10.0.0.2:80"; throws std::invalid_argument.
  endpoint(const char* text);
  [[nodiscard]] sockaddr_buf sockaddr() const;
  /// Throws std::invalid_argument when it is no sockaddr_in.
  static endpoint of(const sockaddr_buf& raw);
  [[nodiscard]] std::string to_string() const;
  friend bool operator==(const endpoint&, const endpoint&) = default;
};

/// A system call failed.
class call_error : public std::runtime_error {
 public:
  call_error(const std::string& what, errc code);
  const errc code;
};

/// A wait of a coroutine: tries, and is tried again whenever something may have changed.
class blocked_call {
 public:
  virtual ~blocked_call() = default;
  /// True when the call is over. `time_over`: the last try.
  virtual bool attempt(bool time_over) = 0;
};

/// One system call that may block, as something to co_await.
template <class R>
class [[nodiscard]] pending : public blocked_call {
 public:
  /// Makes the call once; errc::again (and inprogress, for connect) means "not yet".
  using call = std::function<result<R>()>;
  pending(app& by, const char* name, int fd, wait_for what, u32 flags, call fn)
      : app_(by), name_(name), fd_(fd), what_(what), flags_(flags), call_(std::move(fn)) {}
  bool await_ready();
  void await_suspend(std::coroutine_handle<> self);
  result<R> await_resume() { return std::move(outcome_); }
  bool attempt(bool time_over) override;
  [[nodiscard]] const char* name() const { return name_; }

 private:
  app& app_;
  const char* name_;
  int fd_;
  wait_for what_;
  u32 flags_;
  call call_;
  result<R> outcome_ = fail(errc::again);
  wait_policy policy_;
};

/// The same, but an error is thrown.
template <class R>
class [[nodiscard]] pending_or_throw : public pending<R> {
 public:
  explicit pending_or_throw(pending<R> p) : pending<R>(std::move(p)) {}
  R await_resume() {
    result<R> out = pending<R>::await_resume();
    if (!out) throw call_error(this->name(), out.error());
    if constexpr (!std::is_void_v<R>) return std::move(*out);
  }
};

struct received_from {
  std::size_t len = 0;
  endpoint from;
};

struct poll_item {
  int fd = -1;
  u32 events = 0;   ///< wanted, uapi::pollin …
  u32 revents = 0;  ///< seen
};

class app {
 public:
  using body = std::function<co<void>(app&)>;
  /// Made by world::spawn and app::spawn.
  app(world& w, host& where, std::shared_ptr<task> process, std::string name, body main);
  app(const app&) = delete;
  app& operator=(const app&) = delete;
  ~app();

  [[nodiscard]] const std::string& name() const { return name_; }
  [[nodiscard]] host& at() const { return host_; }
  [[nodiscard]] task& process() const { return *process_; }
  [[nodiscard]] instant now() const;
  [[nodiscard]] bool done() const { return done_; }
  /// "waits in recv(3)", for messages.
  [[nodiscard]] std::string waits_for() const;
  /// Another thread of this process: shares its descriptors. They close with its last thread.
  app& spawn(std::string name, body main);

  // --- calls that do not wait; errors are thrown ------------------------------------------------
  int socket(int type, int domain = uapi::af_inet, int protocol = 0);
  int tcp() { return socket(uapi::sock_stream); }
  int udp() { return socket(uapi::sock_dgram); }
  void bind(int fd, const endpoint& local);
  void listen(int fd, int backlog = 128);
  /// socket, SO_REUSEADDR, bind and listen.
  int listener(u16 port, int backlog = 128);
  void close(int fd);
  void shutdown(int fd, int how);
  void setsockopt(int fd, int level, int name, int value);
  int getsockopt(int fd, int level, int name);
  /// SO_RCVTIMEO or SO_SNDTIMEO.
  void set_timeout(int fd, int name, duration timeout);
  void set_linger(int fd, bool on, int seconds);
  void set_nonblock(int fd, bool on);
  endpoint getsockname(int fd);
  endpoint getpeername(int fd);
  u32 poll_now(int fd);
  /// Runs one of the sys_ functions on this process with the clock up to date.
  template <class F>
  auto call(F&& f) {
    return in_host([&] { return f(*process_); });
  }

  // --- calls that may wait ----------------------------------------------------------------------
  pending<void> try_connect(int fd, const endpoint& peer);
  pending<int> try_accept(int fd, endpoint* peer = nullptr);
  pending<std::size_t> try_send(int fd, byte_view data, u32 flags = 0);
  pending<std::size_t> try_recv(int fd, byte_span data, u32 flags = 0);
  pending<std::size_t> try_sendto(int fd, byte_view data, const endpoint& to, u32 flags = 0);
  pending<received_from> try_recvfrom(int fd, byte_span data, u32 flags = 0);

  pending_or_throw<void> connect(int fd, const endpoint& peer);
  pending_or_throw<int> accept(int fd, endpoint* peer = nullptr);
  pending_or_throw<std::size_t> send(int fd, byte_view data, u32 flags = 0);
  pending_or_throw<std::size_t> recv(int fd, byte_span data, u32 flags = 0);
  pending_or_throw<std::size_t> sendto(int fd, byte_view data, const endpoint& to, u32 flags = 0);
  pending_or_throw<received_from> recvfrom(int fd, byte_span data, u32 flags = 0);

  /// A TCP socket, connected.
  co<int> connect(endpoint peer);
  /// All of it. The bytes must stay until it ends.
  co<void> send_all(int fd, byte_view data);
  /// Exactly n bytes; throws call_error (errc::nodata) when the stream ends before.
  co<std::vector<u8>> recv_exactly(int fd, std::size_t n);
  /// Everything up to the end of the stream.
  co<std::vector<u8>> recv_to_end(int fd);

  /// Waits until one of the items is ready or the time is over; returns how many are ready.
  class poll_call;
  poll_call poll(std::span<poll_item> items, instant until = never);
  class sleep_call;
  sleep_call sleep(duration d);
  sleep_call sleep_until(instant t);

  // --- for awaitables ---------------------------------------------------------------------------
  /// Makes a call into the host. A host that is dead, or dies of it, answers errc::netdown, or
  /// nothing where the call gives no result.
  template <class F>
  auto in_host(F&& f) {
    using answer = decltype(f());
    if constexpr (std::is_void_v<answer>) {
      host_.call(f);
    } else if constexpr (std::is_constructible_v<answer, tl::unexpected<errc>>) {
      answer out = fail(errc::netdown);
      host_.call([&] { out = f(); });
      return out;
    } else {
      answer out{};
      host_.call([&] { out = f(); });
      return out;
    }
  }
  /// Suspends `self` until call.attempt says that it is over; tried again when a file of `fds`
  /// wakes, and finally at `deadline`.
  void block(std::coroutine_handle<> self, blocked_call& call, std::span<const int> fds,
             instant deadline, std::string what);

 private:
  friend class world;
  struct watch {
    ref<file> target;
    wait_entry entry;
  };
  void start();
  void host_died();
  void retry(bool time_over);
  void finish_if_done();
  void rethrow() { main_.result(); }

  world& world_;
  host& host_;
  std::string name_;
  std::shared_ptr<task> process_;
  body body_;
  co<void> main_;
  bool done_ = false;
  event runnable_;
  event time_over_;
  std::coroutine_handle<> suspended_;
  blocked_call* blocked_ = nullptr;
  std::string what_;
  std::vector<std::unique_ptr<watch>> watches_;
};

class [[nodiscard]] app::poll_call final : public blocked_call {
 public:
  poll_call(app& by, std::span<poll_item> items, instant until)
      : app_(by), items_(items), until_(until) {}
  bool await_ready() { return attempt(app_.now() >= until_); }
  void await_suspend(std::coroutine_handle<> self);
  std::size_t await_resume() const { return ready_; }
  bool attempt(bool time_over) override;

 private:
  app& app_;
  std::span<poll_item> items_;
  instant until_;
  std::size_t ready_ = 0;
};

class [[nodiscard]] app::sleep_call final : public blocked_call {
 public:
  sleep_call(app& by, instant until) : app_(by), until_(until) {}
  /// Even a sleep of nothing lets others run first.
  bool await_ready() { return false; }
  void await_suspend(std::coroutine_handle<> self);
  void await_resume() const {}
  bool attempt(bool time_over) override { return time_over; }

 private:
  app& app_;
  instant until_;
};

template <class R>
bool pending<R>::await_ready() {
  outcome_ = app_.in_host(call_);
  if (outcome_ || (outcome_.error() != errc::again && outcome_.error() != errc::inprogress)) {
    return true;
  }
  policy_ = sys_wait_policy(app_.process(), fd_, what_, flags_);
  return !policy_.wait;
}

template <class R>
void pending<R>::await_suspend(std::coroutine_handle<> self) {
  const instant deadline = policy_.timeout.ns > 0 ? app_.now() + policy_.timeout : never;
  app_.block(self, *this, std::span(&fd_, 1), deadline, std::string(name_));
}

template <class R>
bool pending<R>::attempt(bool time_over) {
  result<R> out = app_.in_host(call_);
  const bool over = out || (out.error() != errc::again && out.error() != errc::inprogress &&
                            out.error() != errc::already);
  if (over) outcome_ = std::move(out);
  return over || time_over;
}

}  // namespace ph::sim
