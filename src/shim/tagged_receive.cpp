// Receiving takes a free number in the table of descriptors, for about a microsecond. Where there
// is none, a child process receives: its table is a copy, in which it closes something. Parent and
// child share a page for what came.
#include "shim/tagged_receive.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstring>
#include <new>

#include "calls/message.h"
#include "shim/next.h"
#include "shim/raw.h"

namespace ph::shim {
namespace {

bool table_is_full(int fd) {
  const int spare = raw::fcntl(fd, F_DUPFD_CLOEXEC);
  if (spare >= 0) raw::close(spare);
  return spare == -EMFILE;
}

/// Waits until there is something to receive. 0, or -errno: EAGAIN when it is not to be waited for.
int wait_for_datagram(int fd, int flags) {
  const int status = raw::fcntl(fd, F_GETFL);
  if ((flags & MSG_DONTWAIT) != 0 || (status & O_NONBLOCK) != 0) return -EAGAIN;
  timeval limit{};
  socklen_t len = sizeof limit;
  raw::getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, len);
  const long ms = limit.tv_sec * 1000 + (limit.tv_usec + 999) / 1000;
  pollfd ready{fd, POLLIN, 0};
  const int n = next::poll(&ready, 1, ms > 0 && ms < 0x7fffffff ? static_cast<int>(ms) : -1);
  return n > 0 ? 0 : n == 0 ? -EAGAIN : -errno;
}

/// In memory that parent and child share; the payload follows.
struct shared_receive {
  long result = -ENOMEM;
  int flags = 0;
  received_tag tag;
  [[nodiscard]] u8* payload() { return reinterpret_cast<u8*>(this + 1); }
};

/// A mapping of this process and its children.
class shared_room {
 public:
  explicit shared_room(std::size_t payload) : len_(sizeof(shared_receive) + payload) {
    at_ = raw::call(SYS_mmap, 0, static_cast<long>(len_), PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  }
  shared_room(const shared_room&) = delete;
  shared_room& operator=(const shared_room&) = delete;
  ~shared_room() {
    if (works()) raw::call(SYS_munmap, at_, static_cast<long>(len_));
  }
  [[nodiscard]] bool works() const { return at_ > 0 || at_ < -4095; }
  [[nodiscard]] shared_receive& make() const {
    return *::new (reinterpret_cast<void*>(at_)) shared_receive;
  }

 private:
  std::size_t len_;
  long at_ = 0;
};

[[noreturn]] void receive_in_child(own_caller& c, int fd, std::size_t room, int flags,
                                   shared_receive& to) {
  raw::close(fd == 0 ? 1 : 0);  // in a full table both are something
  iovec piece{to.payload(), room};
  control_room control;
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  control.offer(message);
  to.result = raw::recvmsg(fd, message, flags | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  to.flags = message.msg_flags;
  if (to.result >= 0) read_beside(c, message, to.tag);
  for (;;) raw::call(SYS_exit_group, 0);
}

/// Without a signal at its end, so that no wait(2) of the program sees the child.
bool run_child(own_caller& c, int fd, std::size_t room, int flags, shared_receive& to) {
  const long child = raw::call(SYS_clone, 0, 0, 0, 0, 0);
  if (child == 0) receive_in_child(c, fd, room, flags, to);
  if (child < 0) return false;
  while (raw::call(SYS_wait4, child, 0, __WALL, 0) == -EINTR) {}
  return true;
}

long receive_in_full_table(own_caller& c, int fd, const buffers& room, int flags, int& came,
                           received_tag& tag) {
  constexpr std::size_t longest = 65535;
  piece_list pieces;
  if (const int error = pieces.read(c, room); error != 0) return error;
  const std::size_t len = pieces.total() < longest ? pieces.total() : longest;
  const shared_room shared(len);
  if (!shared.works()) return -ENOMEM;
  for (;;) {
    shared_receive& got = shared.make();
    if (!run_child(c, fd, len, flags, got)) return -ENOMEM;
    if (got.result == -EAGAIN) {
      if (const int error = wait_for_datagram(fd, flags); error != 0) return error;
      continue;
    }
    if (got.result < 0) return got.result;
    came = got.flags;
    tag = got.tag;
    const auto all = static_cast<std::size_t>(got.result);
    if (scatter(c, got.payload(), all < len ? all : len, pieces) < 0) return -EFAULT;
    return got.result;
  }
}

}  // namespace

long tagged_receive(own_caller& c, int fd, const buffers& room, int flags, int& came,
                    received_tag& tag) {
  if (table_is_full(fd)) return receive_in_full_table(c, fd, room, flags, came, tag);
  const int saved = errno;
  control_room control;
  msghdr whole = as_msghdr(room);
  control.offer(whole);
  long got = next::recvmsg(fd, &whole, flags | MSG_CMSG_CLOEXEC);
  if (got < 0) got = -errno;
  errno = saved;
  if (got >= 0) read_beside(c, whole, tag);
  came = whole.msg_flags;
  return got;
}

}  // namespace ph::shim
