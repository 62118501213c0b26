// The AF_UNIX side of drop-in. Errors of the kernel come back as errc.
#include "daemon/anchor.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>

namespace ph::dropin {
namespace {

constexpr std::size_t path_at = offsetof(sockaddr_un, sun_path);

errc last_error() { return static_cast<errc>(errno); }

struct unix_address {
  sockaddr_un sun{};
  socklen_t len = 0;
  unix_address() { sun.sun_family = AF_UNIX; }
  /// An abstract name; len is 0 when it does not fit.
  explicit unix_address(const anchor_name& name) : unix_address() {
    u8 path[max_name_len];
    const std::size_t n = encode_name(name, path);
    std::memcpy(sun.sun_path, path, n);
    len = static_cast<socklen_t>(n == 0 ? 0 : path_at + n);
  }
  /// The socket that was bound to the file behind an O_PATH descriptor, or a file in a folder.
  explicit unix_address(int path_fd, std::string_view file = {}) : unix_address() {
    std::string path = "/proc/self/fd/" + std::to_string(path_fd);
    if (!file.empty()) path.append("/").append(file);
    if (path.size() > sizeof sun.sun_path) return;
    std::memcpy(sun.sun_path, path.data(), path.size());
    len = static_cast<socklen_t>(path_at + path.size());
  }
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&sun); }
};

result<anchor_name> decode(const sockaddr_un& sun, socklen_t len) {
  anchor_name out;
  if (sun.sun_family != AF_UNIX || len <= path_at ||
      !decode_name(reinterpret_cast<const u8*>(sun.sun_path),
                   std::min<std::size_t>(len - path_at, sizeof sun.sun_path), out)) {
    return fail(errc::badf);
  }
  return out;
}

result<unique_fd> unix_socket(int type) {
  unique_fd fd(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return fail(last_error());
  return fd;
}

/// A socket that only sends: its abstract name is for others to read.
result<unique_fd> named_socket(int type, const anchor_name& name) {
  TRY(unique_fd fd, unix_socket(type));
  const unix_address address(name);
  if (address.len == 0) return fail(errc::nametoolong);
  if (::bind(fd.get(), address.get(), address.len) != 0) return fail(last_error());
  return fd;
}

result<void> connect_to(int fd, int reach) {
  const unix_address address(reach);
  if (::connect(fd, address.get(), address.len) != 0) return fail(last_error());
  return {};
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

result<u64> cookie_of(int fd) {
  u64 cookie = 0;
  socklen_t len = sizeof cookie;
  if (::getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len) != 0) return fail(last_error());
  return cookie;
}

/// True when the peer's connect() was this process's.
bool connected_by_us(int fd) {
  ucred who{};
  socklen_t len = sizeof who;
  return ::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0 && who.pid == ::getpid();
}

int most_descriptors() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return std::numeric_limits<int>::max();
  return static_cast<int>(std::min<rlim_t>(limit.rlim_cur, std::numeric_limits<int>::max()));
}

/// The last quarter of the table of descriptors, but no more than are needed.
int reserve_begin() {
  constexpr int enough = 400;  // one message passes up to 253 (SCM_MAX_FD)
  const int most = most_descriptors();
  return most - std::min(most / 4, enough);
}

/// What lies before that is for channels in which nobody has spoken yet.
int sockets_end() { return reserve_begin() - std::clamp(most_descriptors() / 8, 8, 256); }

std::size_t put_filler(int anchor, std::size_t len) {
  const std::vector<u8> filler(len);
  const ssize_t n = ::send(anchor, filler.data(), len, MSG_DONTWAIT | MSG_NOSIGNAL);
  return n < 0 ? 0 : static_cast<std::size_t>(n);
}

}  // namespace

// --- the folder ---------------------------------------------------------------------------------

std::vector<std::string> anchor_folder::parents() {
  std::vector<std::string> out{"/dev/shm"};
  const char* const run_folder = std::getenv("XDG_RUNTIME_DIR");
  if (run_folder != nullptr && *run_folder == '/') out.emplace_back(run_folder);
  out.emplace_back("/tmp");
  return out;
}

/// Whoever sweeps up (daemon/leftovers.h) may find the folder before it is locked.
result<anchor_folder> anchor_folder::create_in(const std::string& parent) {
  constexpr int tries = 3;
  errc why = errc::noent;
  for (int i = 0; i < tries; ++i) {
    std::string path = parent + "/" + std::string(prefix) + "XXXXXX";
    if (::mkdtemp(path.data()) == nullptr) return fail(last_error());
    anchor_folder out;
    out.path_ = std::move(path);
    out.folder_.reset(::open(out.path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW));
    struct stat st {};
    if (out.folder_ && ::flock(out.folder_.get(), LOCK_EX | LOCK_NB) == 0 &&
        ::fstat(out.folder_.get(), &st) == 0 && st.st_nlink != 0) {
      return out;
    }
    why = last_error();
  }
  return fail(why);
}

result<void> anchor_folder::open_meeting(u64 instance) {
  TRY(meeting_, unix_socket(SOCK_STREAM));
  anchor_name name;
  name.kind = name_kind::link;
  name.instance = instance;
  TRY(meeting_reach_, bind(meeting_.get(), name));
  take_descriptors(meeting_.get(), false);  // and so do those that it accepts
  if (::listen(meeting_.get(), 1) != 0) return fail(last_error());
  sockets_to_ = sockets_end();
  reserve_from_ = reserve_begin();
  return {};
}

result<anchor_folder> anchor_folder::create(u64 instance) {
  errc why = errc::noent;
  for (const std::string& parent : parents()) {
    auto out = create_in(parent);
    const auto opened = out ? out->open_meeting(instance) : result<void>(fail(out.error()));
    if (opened) return out;
    why = opened.error();
  }
  return fail(why);
}

anchor_folder::~anchor_folder() {
  if (!path_.empty()) ::rmdir(path_.c_str());
}

result<unique_fd> anchor_folder::bind(int socket, const anchor_name& name) const {
  u8 text[max_name_len];
  const std::size_t n = encode_name(name, text);
  const std::string file(reinterpret_cast<const char*>(text), n);
  const unix_address address(folder_.get(), file);
  if (n == 0 || address.len == 0) return fail(errc::nametoolong);
  if (::bind(socket, address.get(), address.len) != 0) return fail(last_error());
  unique_fd reach(::openat(folder_.get(), file.c_str(), O_PATH | O_CLOEXEC | O_NOFOLLOW));
  const errc why = reach ? errc::ok : last_error();
  ::unlinkat(folder_.get(), file.c_str(), 0);
  if (!reach) return fail(why);
  return reach;
}

result<unique_fd> anchor_folder::unless_crowded(unique_fd fd) const {
  // The kernel gives the lowest number that is free.
  if (fd.get() >= sockets_to_) return fail(errc::nfile);
  return fd;
}

bool anchor_folder::crowded() const {
  const unique_fd next(::fcntl(folder_.get(), F_DUPFD_CLOEXEC, 0));
  return !next || next.get() >= reserve_from_;
}

std::size_t anchor_folder::channel_room() const {
  return static_cast<std::size_t>(reserve_from_ - sockets_to_);
}

std::size_t anchor_folder::socket_room() const {
  const unique_fd next(::fcntl(folder_.get(), F_DUPFD_CLOEXEC, 0));
  return next && next.get() < sockets_to_ ? static_cast<std::size_t>(sockets_to_ - next.get()) : 0;
}

result<made_anchor> anchor_folder::make_anchor(const anchor_name& name, bool nonblocking) const {
  const int flags = SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0);
  made_anchor out;
  out.fd.reset(::socket(AF_UNIX, unix_type(name) | flags, 0));
  if (!out.fd) return fail(last_error());
  TRY(out.reach, bind(out.fd.get(), name));
  TRY(out.reach, unless_crowded(std::move(out.reach)));  // what stays here
  TRY(out.cookie, cookie_of(out.fd.get()));
  return out;
}

result<stream_end> anchor_folder::link_stream(int anchor, bool hold) const {
  TRY_VOID(connect_to(anchor, meeting_reach_.get()));
  stream_end out;
  out.fd.reset(::accept4(meeting_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!out.fd) return fail(last_error());
  if (hold) out.filler = put_filler(anchor, holding_size(anchor));
  out.filler += put_filler(anchor, 1);
  return out;
}

// --- single anchors -----------------------------------------------------------------------------

result<passed_anchor> identify_anchor(int fd) {
  int domain = 0;
  socklen_t len = sizeof domain;
  if (::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) != 0 || domain != AF_UNIX) {
    return fail(errc::badf);
  }
  sockaddr_un sun{};
  len = sizeof sun;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&sun), &len) != 0) return fail(errc::badf);
  passed_anchor out;
  TRY(out.name, decode(sun, len));
  if (out.name.kind != name_kind::anchor) return fail(errc::badf);
  sun = {};
  len = sizeof sun;
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&sun), &len) == 0) {
    const auto peer = decode(sun, len);
    if (peer && peer->kind == name_kind::stream && peer->instance == out.name.instance &&
        connected_by_us(fd)) {
      out.name = *peer;
      out.accepted = true;
      return out;
    }
  }
  TRY(out.cookie, cookie_of(fd));
  return out;
}

result<unique_fd> anchor_folder::offer_stream(int reach, const anchor_name& name) const {
  TRY(unique_fd fd, named_socket(SOCK_STREAM, name));
  TRY(fd, unless_crowded(std::move(fd)));
  TRY_VOID(connect_to(fd.get(), reach));
  return fd;
}

result<unique_fd> anchor_folder::offer_refusal(int reach, const anchor_name& name) const {
  TRY(unique_fd fd, named_socket(SOCK_STREAM, name));
  if (fd.get() >= reserve_from_) return fail(errc::nfile);
  TRY_VOID(connect_to(fd.get(), reach));
  return fd;
}

last_close_watch::last_close_watch() : inotify_(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)) {}

result<void> last_close_watch::add(int fd, u64 id) {
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  // What is read of closed ones is read nowhere else: closed() finds room for all of them.
  if (closed_.capacity() <= ids_.size()) closed_.reserve(2 * ids_.size() + 1);
  const int wd = ::inotify_add_watch(inotify_.get(), path.c_str(), IN_CLOSE);
  if (wd < 0) return fail(last_error());
  try {
    ids_[wd] = id;
  } catch (const std::bad_alloc&) {
    ::inotify_rm_watch(inotify_.get(), wd);
    throw;
  }
  return {};
}

const std::vector<u64>& last_close_watch::closed(bool& overflow) {
  closed_.clear();
  overflow = false;
  alignas(inotify_event) char buffer[16384];
  for (;;) {
    const ssize_t got = ::read(inotify_.get(), buffer, sizeof buffer);
    if (got <= 0) return closed_;
    for (ssize_t at = 0; at < got;) {
      inotify_event event;
      std::memcpy(&event, buffer + at, sizeof event);
      at += static_cast<ssize_t>(sizeof event + event.len);
      if ((event.mask & IN_Q_OVERFLOW) != 0) overflow = true;
      const auto id = ids_.find(event.wd);
      if ((event.mask & IN_CLOSE) == 0 || id == ids_.end()) continue;
      closed_.push_back(id->second);
      ids_.erase(id);
      ::inotify_rm_watch(inotify_.get(), event.wd);
    }
  }
}

bool anchor_alive(int reach) {
  // A probe of a type that no anchor has: the kernel finds the socket first, and then refuses.
  const auto probe = unix_socket(SOCK_SEQPACKET);
  if (!probe) return true;
  const auto found = connect_to(probe->get(), reach);
  return found || found.error() != errc::connrefused;
}

bool take_descriptors(int fd, bool on) {
  constexpr int so_passrights = 83;
  const int value = on ? 1 : 0;
  return ::setsockopt(fd, SOL_SOCKET, so_passrights, &value, sizeof value) == 0;
}

bool leave_tombstones(int reach, const anchor_name& anchor) {
  constexpr int longest_queue = 4096;
  anchor_name name = anchor;
  name.kind = name_kind::tombstone;
  int sent = 0;
  for (; sent <= longest_queue; ++sent) {
    name.id = random_u64();
    const auto fd = named_socket(SOCK_STREAM, name);
    if (!fd || !connect_to(fd->get(), reach)) break;
  }
  return sent > 0;
}

u64 random_u64() {
  u64 out = 0;
  while (::getrandom(&out, sizeof out, 0) != sizeof out) {}
  return out;
}

}  // namespace ph::dropin
