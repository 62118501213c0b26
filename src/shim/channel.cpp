// Channels to the daemon: kept in four slots, each taken and returned with one atomic operation, so
// nobody ever waits for a lock. Whoever finds no free channel opens one for the occasion.
//
// A slot says whose process the channel is (a fork child must not mix its requests with its
// parent's) and which inode it had, because programs close and replace descriptors that they do not
// know. A process that is not the registered owner of the slots (a vfork child, a raw clone) uses a
// channel of its own and leaves the slots as they are: its memory may be its parent's.
//
// Only who has no descriptors left for another channel waits, for one to come back to its slot.
#include "shim/channel.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <time.h>

#include <atomic>
#include <cerrno>
#include <cstring>

#include "shim/config.h"
#include "shim/next.h"
#include "shim/orphaned.h"
#include "shim/raw.h"
#include "shim/settling.h"

namespace ph::shim {
namespace {

using dropin::request_kind;

/// A slot's content: process id (22 bits: the kernel's largest), descriptor, low bits of the inode.
struct channel {
  int pid = 0;
  int fd = -1;
  u32 inode = 0;
  [[nodiscard]] u64 pack() const {
    return (u64{static_cast<u32>(pid)} << 42) | (u64{static_cast<u32>(fd)} << 26) | inode;
  }
  static channel unpack(u64 word) {
    return {static_cast<int>(word >> 42), static_cast<int>((word >> 26) & 0xffff),
            static_cast<u32>(word & 0x3ffffff)};
  }
};

constexpr std::size_t slot_count = 4;
constinit std::atomic<u64> slots[slot_count];
constinit std::atomic<int> owner{0};
constinit std::atomic<int> lent{0};      // channels in use that may come back to a slot
constinit std::atomic<u32> returned{0};  // counts those that came back, and is a futex
constinit std::atomic<int> waiters{0};   // on it
constinit thread_local int calls = 0;    // of this thread that use a channel: a handler nests

void take_ownership() {
  owner.store(raw::getpid(), std::memory_order_relaxed);
  lent.store(0, std::memory_order_relaxed);
  calls = 0;
}

[[gnu::constructor]] void watch_forks() {
  take_ownership();
  pthread_atfork(nullptr, nullptr, take_ownership);
}

u32 inode_bits(int fd) {
  struct stat st {};
  if (raw::fstat(fd, st) != 0 || !S_ISSOCK(st.st_mode)) return 0;
  return static_cast<u32>(st.st_ino & 0x3ffffff);
}

/// A kept channel of this process that is still what it was, or fd -1.
channel take_channel(int pid) {
  for (std::atomic<u64>& slot : slots) {
    const u64 word = slot.exchange(0, std::memory_order_acquire);
    if (word == 0) continue;
    const channel c = channel::unpack(word);
    const bool same = inode_bits(c.fd) == c.inode;
    if (same && c.pid == pid) return c;
    if (same) raw::close(c.fd);  // inherited by fork: the parent's
  }
  return {};
}

void keep_channel(const channel& c) {
  for (std::atomic<u64>& slot : slots) {
    u64 empty = 0;
    if (slot.compare_exchange_strong(empty, c.pack(), std::memory_order_release)) return;
  }
  raw::close(c.fd);
}

/// Before a channel is looked for: whoever finds none then sees that one is on its way.
void begin_use() {
  lent.fetch_add(1, std::memory_order_seq_cst);
  ++calls;
}

/// When none was found.
void give_up_use() {
  --calls;
  lent.fetch_sub(1, std::memory_order_seq_cst);
}

/// After the channel has gone back to its slot, or was closed.
void end_use() {
  give_up_use();
  returned.fetch_add(1, std::memory_order_seq_cst);
  if (waiters.load(std::memory_order_seq_cst) == 0) return;
  raw::call(SYS_futex, raw::arg(&returned), FUTEX_WAKE_PRIVATE, 1);
}

/// Until a channel comes back, or for a moment.
void wait_for_return(u32 seen) {
  timespec moment{0, 10'000'000};
  waiters.fetch_add(1, std::memory_order_seq_cst);
  raw::call(SYS_futex, raw::arg(&returned), FUTEX_WAIT_PRIVATE, static_cast<long>(seen),
            raw::arg(&moment));
  waiters.fetch_sub(1, std::memory_order_relaxed);
}

}  // namespace

bool owns_memory() { return owner.load(std::memory_order_relaxed) == raw::getpid(); }

int move_high(int fd) {
  rlimit limit{};
  if (raw::call(SYS_prlimit64, 0, RLIMIT_NOFILE, 0, raw::arg(&limit)) != 0) return fd;
  const long room = limit.rlim_cur > 65000 ? 65000 : static_cast<long>(limit.rlim_cur);
  const long lowest = room > 1100 ? 1030 : room - 16;
  if (lowest <= fd) return fd;
  const int high = raw::fcntl(fd, F_DUPFD_CLOEXEC, lowest);
  if (high < 0) return fd;
  raw::close(fd);
  return high;
}

namespace {

/// The thread is cancelled: nothing of the call is left.
void close_channel(void* fd) {
  raw::close(*static_cast<int*>(fd));
  end_use();
}

/// The receive in which a blocking call waits: restarted or interrupted as the kernel does it.
long wait_for_reply(int fd, msghdr& message, int flags, long timeout_us) {
  timeval limit{timeout_us / 1000000, timeout_us % 1000000};
  if (timeout_us > 0) raw::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  const int saved = errno;
  long got = 0;
  pthread_cleanup_push(close_channel, &fd);
  got = next::recvmsg(fd, &message, flags);
  if (got < 0) got = -errno;
  pthread_cleanup_pop(0);
  errno = saved;
  if (timeout_us > 0) {
    limit = {0, 0};
    raw::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  }
  return got;
}

long receive(int fd, const exchange& x, reply_frame& reply) {
  if ((x.flags & dropin::flag_wait) != 0) {
    return wait_for_reply(fd, reply.message(), reply.flags(), x.timeout_us);
  }
  long got;
  do {
    got = raw::recvmsg(fd, reply.message(), reply.flags());
  } while (got == -EINTR);
  return got;
}

/// A send that waits at the daemon was interrupted, or its time is over (`why`): it may have been
/// done all the same, which the daemon's answer tells. False when the channel is of no more use.
/// (Not inlined, as others here: its frames would lie on the stack of every request.)
[[gnu::noinline]] bool stop_waiting(int fd, exchange& x, long why, int& result) {
  exchange stop;
  stop.kind = dropin::request_kind::stop_waiting;
  request_frame request;
  if (request.build(stop) < 0 || raw::sendmsg(fd, request.message(), MSG_NOSIGNAL) < 0)
    return false;
  reply_frame reply(x);
  long got = -EINTR;
  while (got == -EINTR) got = raw::recvmsg(fd, reply.message(), reply.flags());
  if (!reply.take(got)) return false;
  result = reply.result() == -EINTR ? static_cast<int>(why) : reply.result();
  return true;
}

/// True for a send that is wholly done or not at all. One that opens a connection (Fast Open) goes
/// on by itself, like connect().
bool can_be_stopped(const exchange& x) {
  return x.kind == dropin::request_kind::sendmsg && (x.arg[0] & MSG_FASTOPEN) == 0;
}

/// One request on one channel. False when the channel is of no more use; the result says why.
bool converse(int fd, exchange& x, int& result) {
  request_frame request;
  result = request.build(x);
  if (result < 0) return true;
  long sent;
  do {
    sent = raw::sendmsg(fd, request.message(), MSG_NOSIGNAL);
  } while (sent == -EINTR);
  if (sent == -ENOBUFS || sent == -EBADF || sent == -ETOOMANYREFS || sent == -EFAULT) {
    result = static_cast<int>(sent);
    return sent != -EBADF;
  }
  result = -ECONNRESET;
  if (sent < 0) return false;
  reply_frame reply(x);
  const long got = receive(fd, x, reply);
  if (reply.take(got)) {
    result = reply.result();
    return true;
  }
  if (x.reply_fd >= 0) raw::close(x.reply_fd);
  x.reply_fd = -1;
  const bool waited = (x.flags & dropin::flag_wait) != 0 && (got == -EINTR || got == -EAGAIN);
  if (!waited) return false;
  if (can_be_stopped(x) && stop_waiting(fd, x, got, result)) return true;
  result = static_cast<int>(got);
  return false;
}

/// A user of this process's user namespace, as the namespace above it numbers him; ~0: not at all.
[[gnu::noinline]] u32 outside_user(u32 user) {
  char text[512];
  const long fd =
      raw::call(SYS_openat, AT_FDCWD, raw::arg("/proc/self/uid_map"), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return ~0u;
  const long len = raw::call(SYS_read, fd, raw::arg(&text[0]), sizeof text);
  raw::close(static_cast<int>(fd));
  u64 line[3] = {};  // inside, outside, how many
  int field = 0;
  bool digits = false;
  for (long i = 0; i < len; ++i) {
    const bool digit = text[i] >= '0' && text[i] <= '9';
    if (digit) line[field] = line[field] * 10 + static_cast<u64>(text[i] - '0');
    if (!digit && digits && ++field == 3) {
      if (user >= line[0] && user - line[0] < line[2]) {
        return static_cast<u32>(line[1] + user - line[0]);
      }
      field = 0;
      line[0] = line[1] = line[2] = 0;
    }
    digits = digit;
  }
  return ~0u;
}

socklen_t daemon_address(sockaddr_un& address) {
  address = {};
  address.sun_family = AF_UNIX;
  const std::size_t len = std::strlen(config().socket);
  std::memcpy(address.sun_path, config().socket, len);
  if (address.sun_path[0] != '@') {  // a path counts with its end, as the kernel tells it
    return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + len + 1);
  }
  address.sun_path[0] = 0;
  return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + len);
}

/// The user whom the daemon runs as: the number before the token's '-'.
u32 daemon_user() {
  u64 user = 0;
  const char* c = config().token;
  for (; *c >= '0' && *c <= '9' && user <= 0xffffffff; ++c) {
    user = user * 10 + static_cast<u64>(*c - '0');
  }
  return *c == '-' && c != config().token ? static_cast<u32>(user)
                                          : static_cast<u32>(raw::call(SYS_geteuid));
}

/// Who listens at the other end. An impostor who has taken the daemon's name is not told the token,
/// nor is any program given sockets of his.
enum class listener { daemon, impostor, unknown };

listener who_listens(int fd) {
  constexpr u32 overflow_user = 65534;  // kernel.overflowuid
  ucred who{};
  socklen_t len = sizeof who;
  if (raw::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, len) != 0) return listener::impostor;
  const u32 outside = outside_user(who.uid);
  if (who.uid == daemon_user() || outside == daemon_user()) return listener::daemon;
  // In a user namespace that does not map him, he is nobody in particular.
  return who.uid == overflow_user && outside == ~0u ? listener::unknown : listener::impostor;
}

/// Says hello. The daemon lets its own user in without a token, and then says it itself: so it is
/// known where its number is not.
int say_hello(int fd, int pid, listener who) {
  dropin::hello_data hello{};
  std::memcpy(hello.host, config().host, sizeof hello.host);
  if (who == listener::daemon) std::memcpy(hello.token, config().token, sizeof hello.token);
  iovec data{&hello, sizeof hello};
  dropin::welcome_data welcome{};
  exchange x;
  x.kind = request_kind::hello;
  x.arg[0] = pid;
  x.arg[1] = owns_memory() && wants_settling_page() ? 1 : 0;
  x.data = &data;
  x.data_pieces = 1;
  x.out = &welcome;
  x.out_room = sizeof welcome;
  if (who == listener::unknown) {  // who never answers is not waited for
    const timeval patience{10, 0};
    raw::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  }
  int result = -1;
  if (!converse(fd, x, result)) return -ECONNRESET;
  const bool proved = who == listener::daemon ||
                      (x.out_len == sizeof welcome &&
                       std::memcmp(welcome.token, config().token, sizeof welcome.token) == 0);
  if (result >= 0 && !proved) result = -ECONNRESET;
  if (x.reply_fd >= 0 && result >= 0) take_settling_page(x.reply_fd);
  if (x.reply_fd >= 0 && result < 0) raw::close(x.reply_fd);
  if (who == listener::unknown) {
    const timeval for_ever{};
    raw::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &for_ever, sizeof for_ever);
  }
  return result;
}

/// A new connection that has said hello, into `fd`. Returns 0 or an errno.
[[gnu::noinline]] int open_channel(int pid, int& fd) {
  fd = -1;
  const int made = raw::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (made < 0) return -made;
  const int high = move_high(made);
  sockaddr_un address;
  const socklen_t len = daemon_address(address);
  int connected;
  do {
    connected = raw::connect(high, address, len);
  } while (connected == -EINTR);
  const listener who = connected == 0 ? who_listens(high) : listener::impostor;
  const int result = who != listener::impostor ? say_hello(high, pid, who) : -ECONNRESET;
  if (result >= 0) {
    fd = high;
    return 0;
  }
  raw::close(high);
  return result == -ENFILE ? ENFILE : ECONNRESET;
}

/// A channel to use, kept or `fresh`. Returns 0 or an errno.
int find_channel(int pid, bool may_keep, channel& c, bool& fresh) {
  c = may_keep ? take_channel(pid) : channel{};
  fresh = c.fd < 0;
  if (!fresh) return 0;
  const int error = open_channel(pid, c.fd);
  if (error != 0) return error;
  c.pid = pid;
  c.inode = inode_bits(c.fd);
  return 0;
}

/// The same, and waits when there are no descriptors left but channels that may come back.
int get_channel(int pid, bool may_keep, channel& c, bool& fresh) {
  if (!may_keep) return find_channel(pid, false, c, fresh);
  for (;;) {
    const u32 seen = returned.load(std::memory_order_seq_cst);
    begin_use();
    const int error = find_channel(pid, true, c, fresh);
    if (error == 0) return 0;
    give_up_use();
    // Who is in a call already, below a signal handler, may hold the only channel.
    const bool full = error == EMFILE || error == ENFILE;
    const bool hope = lent.load(std::memory_order_seq_cst) > 0 ||
                      returned.load(std::memory_order_seq_cst) != seen;
    if (!full || calls > 0 || !hope) return error;
    wait_for_return(seen);
  }
}

/// One request on a channel. False when a kept channel had died before: the daemon may be a new
/// one, and is to be asked once.
bool ask_on(const channel& c, bool fresh, bool may_keep, exchange& x, int& result) {
  result = -ECONNRESET;
  const bool alive = converse(c.fd, x, result);
  if (alive) daemon_answered();
  if (alive && may_keep && c.fd <= 0xffff) {
    keep_channel(c);
  } else {
    raw::close(c.fd);
  }
  if (may_keep) end_use();
  return alive || fresh || result != -ECONNRESET;
}

}  // namespace

int ask(exchange& x) {
  const int pid = raw::getpid();
  const bool may_keep = owner.load(std::memory_order_relaxed) == pid;
  for (;;) {
    channel c;
    bool fresh = false;
    const int error = get_channel(pid, may_keep, c, fresh);
    if (error != 0) {
      if (error == ECONNRESET) daemon_missing(x);
      return -error;
    }
    int result;
    if (ask_on(c, fresh, may_keep, x, result)) return result;
  }
}

int ask_for_channel(exchange& x) {
  int high = -1;
  if (const int error = open_channel(raw::getpid(), high); error != 0) return -error;
  // The kernel gives the program's end a name of its own, by which both sides can speak of it.
  sockaddr_un unnamed{};
  unnamed.sun_family = AF_UNIX;
  int result = static_cast<int>(
      raw::call(SYS_bind, high, raw::arg(&unnamed), static_cast<long>(sizeof(sa_family_t))));
  if (result >= 0) {
    result = -ECONNRESET;
    converse(high, x, result);
  }
  if (result >= 0) result = raw::fcntl(high, x.cloexec ? F_DUPFD_CLOEXEC : F_DUPFD, 0);
  raw::close(high);
  return result;
}

bool is_asked_channel(int fd, sockaddr_un& own, socklen_t& len) {
  sockaddr_un peer, daemon;
  socklen_t peer_len = sizeof peer;
  if (raw::getpeername(fd, peer, peer_len) != 0) return false;
  const socklen_t daemon_len = daemon_address(daemon);
  if (peer_len != daemon_len || std::memcmp(&peer, &daemon, daemon_len) != 0) return false;
  len = sizeof own;
  return raw::getsockname(fd, own, len) == 0 && len > sizeof(sa_family_t);
}

}  // namespace ph::shim
