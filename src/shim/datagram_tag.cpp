// Receiving takes a free number in the table of descriptors, for about a microsecond. Where there
// is none, a child process receives: its table is a copy, in which it closes something. Parent and
// child share a page for what came.
#include "shim/datagram_tag.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstring>
#include <new>

#include "shim/message.h"
#include "shim/next.h"
#include "shim/program_memory.h"
#include "shim/raw.h"

namespace ph::shim {
namespace {

/// Room for what the kernel says beside a datagram.
struct control_room {
  alignas(cmsghdr) char bytes[256];
  void offer(msghdr& message) {
    message.msg_control = bytes;
    message.msg_controllen = sizeof bytes;
  }
};

/// Reads the tag and closes its descriptor.
void read_beside(msghdr& message, received_tag& to) {
  int file = -1;
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level != SOL_SOCKET) continue;
    if (c->cmsg_type == SCM_RIGHTS) std::memcpy(&file, CMSG_DATA(c), sizeof file);
    const bool time = c->cmsg_type == SCM_TIMESTAMPNS && c->cmsg_len >= CMSG_LEN(sizeof to.given);
    if (time) std::memcpy(&to.given, CMSG_DATA(c), sizeof to.given);
  }
  if (file < 0) return;
  const long got = raw::call(SYS_pread64, file, raw::arg(&to.bytes[0]), sizeof to.bytes, 0);
  raw::close(file);
  to.len = got > 0 ? static_cast<std::size_t>(got) : 0;
}

bool table_is_full(int fd) {
  const int spare = raw::fcntl(fd, F_DUPFD_CLOEXEC);
  if (spare >= 0) raw::close(spare);
  return spare == -EMFILE;
}

/// Waits until there is something to receive. False: it is not to be waited for.
bool wait_for_datagram(int fd, int flags) {
  const int status = raw::fcntl(fd, F_GETFL);
  if ((flags & MSG_DONTWAIT) != 0 || (status & O_NONBLOCK) != 0) return false;
  timeval limit{};
  socklen_t len = sizeof limit;
  raw::getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, len);
  const long ms = limit.tv_sec * 1000 + (limit.tv_usec + 999) / 1000;
  pollfd ready{fd, POLLIN, 0};
  const int n = poll(&ready, 1, ms > 0 && ms < 0x7fffffff ? static_cast<int>(ms) : -1);
  if (n == 0) errno = EAGAIN;
  return n > 0;
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

[[noreturn]] void receive_in_child(int fd, std::size_t room, int flags, shared_receive& to) {
  raw::close(fd == 0 ? 1 : 0);  // in a full table both are something
  iovec piece{to.payload(), room};
  control_room control;
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  control.offer(message);
  to.result = raw::recvmsg(fd, message, flags | MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  to.flags = message.msg_flags;
  if (to.result >= 0) read_beside(message, to.tag);
  for (;;) raw::call(SYS_exit_group, 0);
}

/// Without a signal at its end, so that no wait(2) of the program sees the child.
bool run_child(int fd, std::size_t room, int flags, shared_receive& to) {
  const long child = raw::call(SYS_clone, 0, 0, 0, 0, 0);
  if (child == 0) receive_in_child(fd, room, flags, to);
  if (child < 0) return false;
  while (raw::call(SYS_wait4, child, 0, __WALL, 0) == -EINTR) {}
  return true;
}

/// Copies a payload to the pieces of a message. False: EFAULT.
bool scatter(int fd, const u8* from, std::size_t len, const piece_list& to) {
  for (const iovec& v : to) {
    const std::size_t part = v.iov_len < len ? v.iov_len : len;
    if (!copy_out(fd, v.iov_base, from, part)) return false;
    from += part;
    len -= part;
  }
  return true;
}

ssize_t receive_in_full_table(int fd, msghdr& room, int flags, received_tag& tag) {
  constexpr std::size_t longest = 65535;
  piece_list pieces;
  if (const int error = pieces.read(room); error != 0) return error;
  const std::size_t len = pieces.total() < longest ? pieces.total() : longest;
  const shared_room shared(len);
  if (!shared.works()) return -ENOMEM;
  for (;;) {
    shared_receive& got = shared.make();
    if (!run_child(fd, len, flags, got)) return -ENOMEM;
    if (got.result == -EAGAIN && wait_for_datagram(fd, flags)) continue;
    if (got.result < 0) return got.result;
    room.msg_flags = got.flags;
    tag = got.tag;
    const auto all = static_cast<std::size_t>(got.result);
    if (!scatter(fd, got.payload(), all < len ? all : len, pieces)) return -EFAULT;
    return got.result;
  }
}

void parse(received_tag& tag) {
  if (!dropin::parse_message(tag.bytes, tag.len, tag.parts)) tag.len = 0;
}

}  // namespace

ssize_t receive_tagged(int fd, msghdr& room, int flags, received_tag& tag) {
  ssize_t got = 0;
  if (table_is_full(fd)) {
    got = receive_in_full_table(fd, room, flags, tag);
  } else {
    control_room control;
    control.offer(room);
    got = next::recvmsg(fd, &room, flags | MSG_CMSG_CLOEXEC);
    if (got < 0) return -errno;
    read_beside(room, tag);
  }
  if (got >= 0) parse(tag);
  return got;
}

int peek_tag(int fd, received_tag& tag) {
  const int saved = errno;
  msghdr nothing{};
  const ssize_t got = receive_tagged(fd, nothing, MSG_PEEK | MSG_DONTWAIT, tag);
  errno = saved;
  return got < 0 ? static_cast<int>(got) : 0;
}

}  // namespace ph::shim
