// The AF_UNIX side of drop-in. Errors of the kernel come back as errc.
#include "daemon/anchor.h"

#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>

namespace ph::dropin {
namespace {

errc last_error() { return static_cast<errc>(errno); }

struct unix_address {
  sockaddr_un sun{};
  socklen_t len = 0;
  explicit unix_address(const anchor_name& name) {
    u8 path[max_name_len];
    const std::size_t n = encode_name(name, path);
    sun.sun_family = AF_UNIX;
    std::memcpy(sun.sun_path, path, n);
    len = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + n);
  }
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&sun); }
};

result<anchor_name> decode(const sockaddr_un& sun, socklen_t len) {
  constexpr std::size_t path_at = offsetof(sockaddr_un, sun_path);
  anchor_name out;
  if (sun.sun_family != AF_UNIX || len <= path_at ||
      !decode_name(reinterpret_cast<const u8*>(sun.sun_path), len - path_at, out)) {
    return fail(errc::badf);
  }
  return out;
}

result<unique_fd> named_socket(int type, const anchor_name& name) {
  unique_fd fd(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail(last_error());
  const unix_address address(name);
  if (::bind(fd.get(), address.get(), address.len) != 0) return fail(last_error());
  return fd;
}

result<void> connect_to(int fd, const anchor_name& name) {
  const unix_address address(name);
  if (::connect(fd, address.get(), address.len) != 0) return fail(last_error());
  return {};
}

void disconnect(int fd) {
  sockaddr none{};
  none.sa_family = AF_UNSPEC;
  ::connect(fd, &none, sizeof none);
}

int unix_type(const anchor_name& name) {
  return name.type == SOCK_STREAM ? SOCK_STREAM : SOCK_DGRAM;
}

/// Bytes that make an AF_UNIX stream unwritable: it is writable while used * 4 <= SO_SNDBUF.
std::size_t holding_size(int anchor) {
  int size = 0;
  socklen_t len = sizeof size;
  ::getsockopt(anchor, SOL_SOCKET, SO_SNDBUF, &size, &len);
  return static_cast<std::size_t>(size) / 4 + 1;
}

std::size_t put_filler(int anchor, std::size_t len) {
  const std::vector<u8> filler(len);
  const ssize_t n = ::send(anchor, filler.data(), len, MSG_DONTWAIT | MSG_NOSIGNAL);
  return n < 0 ? 0 : static_cast<std::size_t>(n);
}

}  // namespace

result<unique_fd> make_anchor(const anchor_name& name, bool nonblocking) {
  const int flags = SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0);
  unique_fd fd(::socket(AF_UNIX, unix_type(name) | flags, 0));
  if (!fd) return fail(last_error());
  const unix_address address(name);
  if (::bind(fd.get(), address.get(), address.len) != 0) return fail(last_error());
  return fd;
}

result<anchor_name> identify_anchor(int fd) {
  sockaddr_un sun{};
  socklen_t len = sizeof sun;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&sun), &len) != 0) return fail(errc::badf);
  TRY(anchor_name own, decode(sun, len));
  if (own.kind != name_kind::anchor) return fail(errc::badf);
  sun = {};
  len = sizeof sun;
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&sun), &len) != 0) return own;
  auto peer = decode(sun, len);
  return peer && peer->kind == name_kind::stream && peer->instance == own.instance ? *peer : own;
}

result<stream_end> link_stream(int anchor, const anchor_name& name, bool hold) {
  TRY(unique_fd listener, named_socket(SOCK_STREAM, name));
  if (::listen(listener.get(), 1) != 0) return fail(last_error());
  TRY_VOID(connect_to(anchor, name));
  stream_end out;
  out.fd = unique_fd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!out.fd) return fail(last_error());
  if (hold) out.filler = put_filler(anchor, holding_size(anchor));
  out.filler += put_filler(anchor, 1);
  return out;
}

result<unique_fd> offer_stream(const anchor_name& listener, const anchor_name& name) {
  TRY(unique_fd fd, named_socket(SOCK_STREAM, name));
  TRY_VOID(connect_to(fd.get(), listener));
  return fd;
}

result<unique_fd> pair_datagram(int anchor, const anchor_name& anchor_name,
                                const struct anchor_name& name) {
  TRY(unique_fd end, named_socket(SOCK_DGRAM, name));
  TRY_VOID(connect_to(anchor, name));
  TRY_VOID(connect_to(end.get(), anchor_name));
  return end;
}

void unpair_datagram(int anchor) { disconnect(anchor); }

void signal_error(int end, const anchor_name& own, const anchor_name& anchor) {
  // A pair that is cut while the cutter has a message waiting reports the loss to the other side.
  disconnect(end);
  unique_fd helper(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const unix_address to(own);
  ::sendto(helper.get(), "", 1, MSG_DONTWAIT | MSG_NOSIGNAL, to.get(), to.len);
  (void)connect_to(end, anchor);
  disconnect(end);
  (void)connect_to(end, anchor);
}

result<int> source_senders::find(const anchor_name& source) {
  u8 path[max_name_len];
  const std::size_t n = encode_name(source, path);
  if (n == 0) return fail(errc::nametoolong);
  const std::string key(reinterpret_cast<const char*>(path), n);
  auto at = senders_.find(key);
  if (at == senders_.end()) {
    TRY(unique_fd fd, named_socket(SOCK_DGRAM, source));
    if (senders_.size() >= most_) {
      auto oldest = senders_.begin();
      for (auto i = senders_.begin(); i != senders_.end(); ++i) {
        if (i->second.used < oldest->second.used) oldest = i;
      }
      senders_.erase(oldest);
    }
    at = senders_.emplace(key, sender{std::move(fd), 0}).first;
  }
  at->second.used = ++clock_;
  return at->second.fd.get();
}

result<void> source_senders::send(const anchor_name& to, const anchor_name& source,
                                  byte_view payload) {
  TRY(const int fd, find(source));
  const unix_address address(to);
  const ssize_t sent = ::sendto(fd, payload.data(), payload.size(), MSG_DONTWAIT | MSG_NOSIGNAL,
                                address.get(), address.len);
  if (sent < 0) return fail(last_error());
  return {};
}

result<unique_fd> watch_room(const anchor_name& anchor) {
  unique_fd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail(last_error());
  TRY_VOID(connect_to(fd.get(), anchor));
  return fd;
}

last_close_watch::last_close_watch() : inotify_(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)) {}

result<void> last_close_watch::add(int fd, u64 id) {
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  const int wd = ::inotify_add_watch(inotify_.get(), path.c_str(), IN_CLOSE);
  if (wd < 0) return fail(last_error());
  ids_[wd] = id;
  return {};
}

std::vector<u64> last_close_watch::closed(bool& overflow) {
  std::vector<u64> out;
  overflow = false;
  alignas(inotify_event) char buffer[16384];
  for (;;) {
    const ssize_t got = ::read(inotify_.get(), buffer, sizeof buffer);
    if (got <= 0) return out;
    for (ssize_t at = 0; at < got;) {
      inotify_event event;
      std::memcpy(&event, buffer + at, sizeof event);
      at += static_cast<ssize_t>(sizeof event + event.len);
      if ((event.mask & IN_Q_OVERFLOW) != 0) overflow = true;
      const auto id = ids_.find(event.wd);
      if ((event.mask & IN_CLOSE) == 0 || id == ids_.end()) continue;
      out.push_back(id->second);
      ids_.erase(id);
      ::inotify_rm_watch(inotify_.get(), event.wd);
    }
  }
}

bool anchor_alive(const anchor_name& name) {
  unique_fd probe(::socket(AF_UNIX, unix_type(name) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!probe) return true;
  if (unix_type(name) == SOCK_DGRAM) {
    const auto found = connect_to(probe.get(), name);
    return found || found.error() != errc::connrefused;
  }
  // A stream probe would be accepted: ask by binding the name, which fails while it is in use.
  const unix_address address(name);
  return ::bind(probe.get(), address.get(), address.len) != 0;
}

}  // namespace ph::dropin
