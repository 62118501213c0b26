// The calls of the table on the machine, and the rules of time and waiting.
#include "judge/stack.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <thread>

#include "kernel/epoll.h"
#include "sim/packetdrill/pieces.h"
#include "uapi/inet.h"
#include "uapi/socket.h"

namespace ph::judge {
namespace {

/// How long a waiting thread believes that another one moves the clock; once it moves it itself, it
/// need not believe that any more.
constexpr std::chrono::milliseconds others_turn{300};
constexpr std::chrono::milliseconds own_turn{1};
/// How long the clock's thread waits for another one to make its call.
constexpr std::chrono::seconds call_time{1};
/// How long a thread may take from the end of its call to what it does with the result.
constexpr std::chrono::milliseconds return_time{2};

result<s64> number_of(const result<void>& r) {
  if (!r) return fail(r.error());
  return 0;
}

template <class T>
result<s64> number_of(const result<T>& r) {
  if (!r) return fail(r.error());
  return static_cast<s64>(*r);
}

}  // namespace

stack_config read_flags(const char* flags) {
  stack_config out;
  if (const char* folder = std::getenv("PH_PACKETDRILL_SYSCTLS")) out.settings = folder;
  std::istringstream words(flags == nullptr ? "" : flags);
  for (std::string word; std::getline(words, word, ',');) {
    const std::size_t equals = std::min(word.find('='), word.size());
    const std::string name = word.substr(0, equals);
    const std::string value = equals < word.size() ? word.substr(equals + 1) : "";
    if (name == "local") out.local = ipv4_addr::parse(value).value_or(out.local);
    if (name == "mtu") out.mtu = static_cast<u32>(std::atoi(value.c_str()));
    if (name == "settings") out.settings = value;
    if (name == "patience_ms") out.patience = milliseconds(std::atoll(value.c_str()));
  }
  return out;
}

judged_stack::judged_stack(stack_config config)
    : config_(std::move(config)),
      host_(config_.local, config_.mtu),
      settings_(config_.settings) {}

// --- time and waiting ---------------------------------------------------------------------------

void judged_stack::let_waiters_try(guard& held) {
  ++round_;
  if (waiters_.empty()) return;
  changed_.notify_all();
  tried_.wait_for(held, std::chrono::seconds(1), [this] {
    return std::all_of(waiters_.begin(), waiters_.end(), [this](u64 r) { return r == round_; });
  });
}

void judged_stack::pass_time(guard& held, instant t) {
  while (host_.now() < t) {
    const instant next = std::min(t, host_.next_deadline());
    const bool due = host_.next_deadline() <= t;
    host_.advance(next, [] { return false; });
    if (due) let_waiters_try(held);
  }
}

template <class Attempt>
std::optional<result<s64>> judged_stack::wait_until(guard& held, instant limit,
                                                    Attempt&& attempt) {
  for (bool mine = false;;) {
    std::optional<result<s64>> got = attempt();
    host_.settle();
    if (got || host_.now() >= limit) {
      ++calls_ended_;
      last_caller_ = std::this_thread::get_id();
      tried_.notify_all();
      return got;
    }
    const auto me = waiters_.insert(waiters_.end(), round_);
    tried_.notify_all();
    const auto turn = mine ? own_turn : others_turn;
    mine = !changed_.wait_for(held, turn, [&] { return round_ != *me; });
    waiters_.erase(me);
    if (!mine) continue;
    const instant step = std::min({limit, host_.next_deadline(), host_.now() + seconds(1)});
    host_.advance(std::max(step, host_.now() + microseconds(1)), [] { return false; });
    ++round_;
    changed_.notify_all();
  }
}

template <class Attempt>
result<s64> judged_stack::blocking(int fd, wait_for what, u32 flags, Attempt&& attempt) {
  guard held(lock_);
  TRY(const int first, live(fd));
  settings_.apply(host_);
  const wait_policy policy = sys_wait_policy(host_.program(), first, what, flags);
  const instant limit = !policy.wait              ? host_.now()
                        : policy.timeout.ns == 0 ? never
                                                 : host_.now() + policy.timeout;
  const auto got = wait_until(held, limit, [&]() -> std::optional<result<s64>> {
    const auto file = live(fd);
    if (!file) return result<s64>(fail(file.error()));  // closed meanwhile
    result<s64> r = attempt(*file, policy.wait);
    if (!r && r.error() == errc::again) return std::nullopt;
    return r;
  });
  if (!got) return fail(errc::again);
  return *got;
}

void judged_stack::yield() {
  guard held(lock_);
  const auto moved = [this, me = std::this_thread::get_id()] {
    return !waiters_.empty() || (calls_ended_ != calls_seen_ && last_caller_ != me);
  };
  tried_.wait_for(held, call_time, moved);
  calls_seen_ = calls_ended_;
}

instant judged_stack::look_at_clock() {
  guard held(lock_);
  pass_time(held, host_.now() + microseconds(1));
  return host_.now();
}

void judged_stack::sleep(duration d) {
  guard held(lock_);
  pass_time(held, host_.now() + d);
  const bool ended = std::exchange(calls_slept_, calls_ended_) != calls_ended_;
  held.unlock();
  // Virtual time has passed at once; who came back from a call needs real time to say so.
  if (ended) std::this_thread::sleep_for(return_time);
}

// --- the wire -----------------------------------------------------------------------------------

void judged_stack::inject(byte_view datagram) {
  guard held(lock_);
  // RFC 791: the destination stands at byte 16 of the header. IPv6 is not in this stack.
  if (datagram.size() < 20 || datagram[0] >> 4 != 4) return;
  know_address(ipv4_addr(view_as<be32>(datagram, 16)->value()));
  settings_.apply(host_);
  host_.arrive(datagram);
  host_.settle();
  let_waiters_try(held);
  settings_.show_counters(host_);
}

/// packetdrill asks again without end after an error: the second time it is told for good.
result<s64> judged_stack::nothing_comes() {
  if (std::exchange(silent_, true)) {
    std::fprintf(stderr, "libph_packetdrill: the host sends nothing for %.0f s\n",
                 config_.patience.seconds());
    std::_Exit(1);
  }
  return fail(errc::timedout);
}

result<s64> judged_stack::next_packet(byte_span out, instant* when) {
  guard held(lock_);
  const instant limit = host_.now() + config_.patience;
  host_.settle();
  let_waiters_try(held);
  while (host_.sent.empty()) {
    if (host_.now() >= limit) return nothing_comes();
    host_.advance(std::min(limit, host_.next_deadline()), [] { return false; });
    let_waiters_try(held);
  }
  silent_ = false;
  const packetdrill::sent_packet packet = std::move(host_.sent.front());
  host_.sent.pop_front();
  if (packet.bytes.size() > out.size()) return fail(errc::msgsize);
  copy_bytes(out, packet.bytes);
  *when = packet.when;
  return static_cast<s64>(packet.bytes.size());
}

// --- descriptors --------------------------------------------------------------------------------

result<int> judged_stack::live(int fd) const {
  const auto found = files_.find(fd);
  if (found == files_.end()) return fail(errc::badf);
  return found->second.file;
}

bool judged_stack::owns(int fd) {
  const guard held(lock_);
  return files_.contains(fd);
}

/// A descriptor of this process for one of the task: a number that nothing else will get.
result<s64> judged_stack::adopt(result<int> file) {
  if (!file) return fail(file.error());
  unique_fd place(::eventfd(0, EFD_CLOEXEC));
  if (!place) {
    static_cast<void>(sys_close(host_.program(), *file));
    return fail(errc::mfile);
  }
  const int fd = place.get();
  files_[fd] = open_file{*file, std::move(place)};
  return fd;
}

void judged_stack::know_address(ipv4_addr addr) {
  const u8 first = static_cast<u8>(addr.value() >> 24);
  if (first == 0 || first == 127 || first >= 224) return;
  host_.add_address(addr);
}

void judged_stack::know_address(byte_view sockaddr) {
  if (sockaddr_family(sockaddr) != uapi::af_inet) return;
  if (const be32* addr = view_as<be32>(sockaddr, 4)) know_address(ipv4_addr(addr->value()));
}

result<s64> judged_stack::socket(int domain, int type, int protocol) {
  const guard held(lock_);
  settings_.apply(host_, true);
  return adopt(sys_socket(host_.program(), domain, type, protocol));
}

result<s64> judged_stack::close(int fd) {
  guard held(lock_);
  TRY(const int file, live(fd));
  const result<s64> out = number_of(sys_close(host_.program(), file));
  files_.erase(fd);
  host_.settle();
  let_waiters_try(held);
  return out;
}

// --- sockets ------------------------------------------------------------------------------------

result<s64> judged_stack::bind(int fd, byte_view addr) {
  const guard held(lock_);
  TRY(const int file, live(fd));
  know_address(addr);
  return number_of(sys_bind(host_.program(), file, addr));
}

result<s64> judged_stack::listen(int fd, int backlog) {
  const guard held(lock_);
  TRY(const int file, live(fd));
  settings_.apply(host_);
  return number_of(sys_listen(host_.program(), file, backlog));
}

result<s64> judged_stack::accept(int fd, sockaddr_buf* peer) {
  return blocking(fd, wait_for::accept, 0, [&](int file, bool) -> result<s64> {
    const auto got = sys_accept4(host_.program(), file, peer, 0);
    return got ? adopt(got) : result<s64>(fail(got.error()));
  });
}

/// What a connection in progress came to; again: it still is.
result<s64> judged_stack::connected(int file) {
  task& t = host_.program();
  if ((sys_poll(t, file) & (uapi::pollout | uapi::pollerr | uapi::pollhup)) == 0) {
    return fail(errc::again);
  }
  const auto error = sys_getsockopt_int(t, file, uapi::sol_socket, uapi::so_error);
  if (error && *error != 0) return fail(static_cast<errc>(*error));
  return 0;
}

result<s64> judged_stack::connect(int fd, byte_view addr) {
  bool asked = false;
  result<s64> out = blocking(fd, wait_for::connect, 0, [&](int file, bool waits) -> result<s64> {
    if (asked) return connected(file);
    asked = true;
    const auto r = sys_connect(host_.program(), file, addr);
    if (!r && r.error() == errc::inprogress && waits) return fail(errc::again);
    return number_of(r);
  });
  if (!out && out.error() == errc::again) return fail(errc::inprogress);
  return out;
}

result<s64> judged_stack::receive(int fd, recv_msg& msg) {
  const u32 flags = msg.flags;
  const bool waits = (flags & uapi::msg_errqueue) == 0;
  const u32 policy = waits ? flags : flags | uapi::msg_dontwait;
  return blocking(fd, wait_for::receive, policy, [&](int file, bool) -> result<s64> {
    msg.flags = flags;
    return number_of(sys_recvmsg(host_.program(), file, msg));
  });
}

result<s64> judged_stack::send(int fd, const send_msg& msg) {
  send_msg rest = msg;
  std::size_t done = 0;
  bool opening = false;
  const auto result_so_far = [&](errc error) -> result<s64> {
    if (done != 0) return static_cast<s64>(done);
    return fail(error);
  };
  const auto attempt = [&](int file, bool waits) -> result<s64> {
    if (opening) {
      TRY(const s64 ok, connected(file));
      static_cast<void>(ok);
      opening = false;
      rest.flags &= ~static_cast<u32>(uapi::msg_fastopen);
      rest.name = {};
    }
    // As long as it takes anything: a part that went may have made room for the next.
    do {
      const std::vector<byte_view> pieces = packetdrill::rest_of(msg.iov, done);
      rest.iov = pieces;
      const auto got = sys_sendmsg(host_.program(), file, rest);
      if (!got && got.error() == errc::inprogress && waits) {
        opening = true;  // MSG_FASTOPEN without a cookie: first a handshake
        return fail(errc::again);
      }
      if (!got && got.error() == errc::again) return fail(errc::again);
      if (!got) return result_so_far(got.error());
      done += *got;
      host_.settle();
    } while (done < msg.size() && waits);
    return static_cast<s64>(done);
  };
  const result<s64> out = blocking(fd, wait_for::send, msg.flags, attempt);
  return out ? out : result_so_far(out.error());
}

result<s64> judged_stack::receive_into(int fd, int pipe, std::size_t len, u32 flags) {
  std::array<u8, 4> mark{};
  // splice(2) never passes the urgent byte.
  if (ioctl(fd, uapi::siocatmark, mark) && mark[0] != 0) return 0;
  int waiting = 0;
  const int room = ::fcntl(pipe, F_GETPIPE_SZ);
  if (room < 0 || ::ioctl(pipe, FIONREAD, &waiting) != 0) return fail(errc::inval);
  std::vector<u8> data(std::min(len, static_cast<std::size_t>(std::max(room - waiting, 0))));
  const byte_span piece(data);
  recv_msg msg;
  msg.iov = {&piece, 1};
  msg.flags = flags;
  TRY(const s64 got, receive(fd, msg));
  if (::write(pipe, data.data(), static_cast<std::size_t>(got)) != got) return fail(errc::pipe);
  return got;
}

result<s64> judged_stack::send_from(int fd, int file, s64* offset, std::size_t len, u32 flags) {
  std::vector<u8> data(std::min<std::size_t>(len, 1 << 24));
  const ssize_t n = offset != nullptr ? ::pread(file, data.data(), data.size(), *offset)
                                      : ::read(file, data.data(), data.size());
  if (n < 0) return fail(static_cast<errc>(errno));
  const byte_view piece = byte_view(data).first(static_cast<std::size_t>(n));
  send_msg msg;
  msg.iov = {&piece, 1};
  msg.flags = flags;
  TRY(const s64 sent, send(fd, msg));
  if (offset != nullptr) *offset += sent;
  return sent;
}

result<s64> judged_stack::shutdown(int fd, int how) {
  guard held(lock_);
  TRY(const int file, live(fd));
  const auto out = number_of(sys_shutdown(host_.program(), file, how));
  host_.settle();
  let_waiters_try(held);
  return out;
}

result<s64> judged_stack::getsockopt(int fd, int level, int name, byte_span out) {
  const guard held(lock_);
  TRY(const int file, live(fd));
  return number_of(sys_getsockopt(host_.program(), file, level, name, out));
}

result<s64> judged_stack::setsockopt(int fd, int level, int name, byte_view value) {
  const guard held(lock_);
  TRY(const int file, live(fd));
  settings_.apply(host_);
  const auto out = number_of(sys_setsockopt(host_.program(), file, level, name, value));
  host_.settle();
  return out;
}

result<s64> judged_stack::get_flags(int fd) {
  const guard held(lock_);
  TRY(const int file, live(fd));
  TRY(const bool nonblocking, sys_get_nonblock(host_.program(), file));
  return O_RDWR | (nonblocking ? O_NONBLOCK : 0);
}

result<s64> judged_stack::set_flags(int fd, int flags) {
  const guard held(lock_);
  TRY(const int file, live(fd));
  return number_of(sys_set_nonblock(host_.program(), file, (flags & O_NONBLOCK) != 0));
}

result<s64> judged_stack::ioctl(int fd, u32 command, byte_span argument) {
  const guard held(lock_);
  TRY(const int file, live(fd));
  return number_of(sys_ioctl(host_.program(), file, command, argument));
}

// --- readiness ----------------------------------------------------------------------------------

instant judged_stack::limit_of(int timeout_ms) const {
  return timeout_ms < 0 ? never : host_.now() + milliseconds(timeout_ms);
}

result<s64> judged_stack::poll(std::span<pollfd> fds, int timeout_ms) {
  guard held(lock_);
  const auto got = wait_until(held, limit_of(timeout_ms), [&]() -> std::optional<result<s64>> {
    s64 ready = 0;
    for (pollfd& entry : fds) {
      entry.revents = 0;
      if (entry.fd < 0) continue;
      const auto file = live(entry.fd);
      const u32 asked = static_cast<u16>(entry.events) | uapi::pollerr | uapi::pollhup |
                        uapi::pollnval;
      const u32 bits = file ? sys_poll(host_.program(), *file) & asked : uapi::pollnval;
      entry.revents = static_cast<short>(bits);
      ready += bits != 0 ? 1 : 0;
    }
    if (ready == 0) return std::nullopt;
    return result<s64>(ready);
  });
  return got ? *got : result<s64>(0);
}

result<s64> judged_stack::epoll_create() {
  const guard held(lock_);
  return adopt(host_.program().install(ref<file>(make_ref<epoll>())));
}

result<s64> judged_stack::epoll_ctl(int epfd, int operation, int fd, u32 events, u64 data) {
  const guard held(lock_);
  TRY(const int instance, live(epfd));
  TRY(const int target_fd, live(fd));
  TRY(const ref<file> set, host_.program().get(instance));
  TRY(const ref<file> target, host_.program().get(target_fd));
  epoll* ep = set->as_epoll();
  if (ep == nullptr) return fail(errc::inval);
  switch (operation) {
    case EPOLL_CTL_ADD: return number_of(ep->add(fd, *target, events, data));
    case EPOLL_CTL_MOD: return number_of(ep->mod(fd, *target, events, data));
    case EPOLL_CTL_DEL: return number_of(ep->del(fd, *target));
    default: return fail(errc::inval);
  }
}

result<s64> judged_stack::epoll_wait(int epfd, std::span<epoll_event> out, int timeout_ms) {
  guard held(lock_);
  std::vector<epoll_ready> ready(out.size());
  const auto got = wait_until(held, limit_of(timeout_ms), [&]() -> std::optional<result<s64>> {
    const auto instance = live(epfd);
    if (!instance) return result<s64>(fail(instance.error()));
    const auto set = host_.program().get(*instance);
    epoll* ep = set ? (*set)->as_epoll() : nullptr;
    if (ep == nullptr) return result<s64>(fail(errc::inval));
    const auto n = ep->wait(ready);
    if (n && *n == 0) return std::nullopt;
    return number_of(n);
  });
  if (!got) return 0;
  for (s64 i = 0; *got && i < **got; ++i) {
    const auto at = static_cast<std::size_t>(i);
    out[at].events = ready[at].events;
    out[at].data.u64 = ready[at].data;
  }
  return *got;
}

}  // namespace ph::judge
