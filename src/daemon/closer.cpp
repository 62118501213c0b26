// A child that receives descriptors and closes them one after the other. It closes each when the
// next message comes, which is sent after the daemon's own copy was closed: the last close, the one
// that may wait, is then always the child's.
#include "daemon/closer.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "platform/passed_fd.h"

namespace ph {
namespace {

/// Children that hang in a close that not even their death ends.
constexpr std::size_t most_killed = 8;

/// The descriptor that came with a message, or -1.
int passed_in(msghdr& message) {
  int found = -1;
  for_each_passed_fd(message, [&](int fd) { found = fd; });
  return found;
}

[[noreturn]] void close_for_ever(int from) {
  ::setsid();
  ::prctl(PR_SET_NAME, "ph-closer");
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) ::signal(signal, SIG_IGN);
  if (from != 0) ::dup2(from, 0);
  ::close_range(1, ~0u, 0);
  static_cast<void>(!::send(0, "", 1, MSG_NOSIGNAL));  // holds nothing of the daemon's any more
  for (int held = -1;;) {
    char byte;
    iovec piece{&byte, 1};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    const ssize_t got = ::recvmsg(0, &message, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) ::_exit(0);
    if (held >= 0) ::close(held);
    held = passed_in(message);
  }
}

}  // namespace

void closer::start() {
  if (to_) return;
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return;
  unique_fd ours(ends[0]);
  const unique_fd theirs(ends[1]);
  process_ = ::fork();
  if (process_ == 0) close_for_ever(theirs.get());
  char ready;
  if (process_ > 0 && ::recv(ours.get(), &ready, 1, 0) == 1) to_ = std::move(ours);
}

closer::~closer() {
  to_.reset();
  if (process_ <= 0) return;
  ::kill(process_, SIGKILL);
  killed_.push_back(process_);
  reap();
}

/// Sends a message; a descriptor of -1: without one.
bool closer::send(int fd) {
  char byte = 0;
  iovec piece{&byte, 1};
  passed_fd_room room;
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  if (fd >= 0) room.put(message, fd);
  return ::sendmsg(to_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL) == 1;
}

void closer::close(unique_fd fd) {
  if (!fd) return;
  start();
  if (!to_ || !send(fd.get())) {
    replace();
    if (!to_) return;  // no process to be had: what may wait is closed here
    if (!send(fd.get())) return kept_.push_back(std::move(fd));
  }
  fd.reset();
  send(-1);  // when there is no room for it, the next message does as well
}

void closer::replace() {
  reap();
  if (killed_.size() >= most_killed) return;
  if (process_ > 0) {
    ::kill(process_, SIGKILL);
    killed_.push_back(std::exchange(process_, -1));
  }
  to_.reset();
  start();
}

void closer::reap() {
  std::erase_if(killed_, [](pid_t child) { return ::waitpid(child, nullptr, WNOHANG) != 0; });
}

}  // namespace ph
