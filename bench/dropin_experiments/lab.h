// Shared by the drop-in experiments: checks that print what was seen, and a stopwatch.
// Not a library: each experiment is one short program that exits 0 when the kernel behaved as
// docs/dropin.md says.
#pragma once

#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>

namespace lab {

inline int failures = 0;

[[gnu::format(printf, 2, 3)]] inline void saw(bool as_expected, char const* format, ...) {
  va_list args;
  va_start(args, format);
  std::printf("%s  ", as_expected ? "ok  " : "DIFF");
  std::vprintf(format, args);
  std::printf("\n");
  va_end(args);
  if (!as_expected) ++failures;
}

// As saw(), for a call that must fail: the %s in `format` is the name of the errno that it left.
inline void saw_errno(bool failed, char const* format) {
  std::printf("%s  ", failed ? "ok  " : "DIFF");
  std::printf(format, strerrorname_np(errno));
  std::printf("\n");
  if (!failed) ++failures;
}

inline double now_us() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) * 1e6 + static_cast<double>(t.tv_nsec) / 1e3;
}

// Runs body() `rounds` times and prints the mean cost of one.
template <typename Body>
double cost(char const* what, int rounds, Body body) {
  for (int i = 0; i < rounds / 10 + 1; ++i) body();
  double const begin = now_us();
  for (int i = 0; i < rounds; ++i) body();
  double const each = (now_us() - begin) / rounds;
  std::printf("cost  %-58s %8.3f us\n", what, each);
  return each;
}

inline short events_of(int fd, short wanted = POLLIN | POLLOUT | POLLRDHUP) {
  pollfd p{fd, wanted, 0};
  poll(&p, 1, 0);
  return p.revents;
}

inline char const* event_names(short e) {
  static char text[8][64];
  static int turn = 0;
  char* out = text[turn = (turn + 1) % 8];
  std::snprintf(out, 64, "%s%s%s%s%s", e & POLLIN ? "IN " : "", e & POLLOUT ? "OUT " : "",
                e & POLLRDHUP ? "RDHUP " : "", e & POLLHUP ? "HUP " : "",
                e & POLLERR ? "ERR " : "");
  return out;
}

// An abstract AF_UNIX address made of `text`.
struct name {
  sockaddr_un sun{};
  socklen_t len = 0;
  explicit name(char const* text) {
    sun.sun_family = AF_UNIX;
    std::size_t const n = std::strlen(text);
    std::memcpy(sun.sun_path + 1, text, n);
    len = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + n);
  }
  sockaddr const* addr() const { return reinterpret_cast<sockaddr const*>(&sun); }
};

inline int send_fd(int channel, int fd) {
  char byte = 'f';
  iovec iov{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr m{};
  m.msg_iov = &iov;
  m.msg_iovlen = 1;
  m.msg_control = control;
  m.msg_controllen = sizeof control;
  cmsghdr* c = CMSG_FIRSTHDR(&m);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(c), &fd, sizeof fd);
  return static_cast<int>(sendmsg(channel, &m, 0));
}

inline int recv_fd(int channel) {
  char byte;
  iovec iov{&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr m{};
  m.msg_iov = &iov;
  m.msg_iovlen = 1;
  m.msg_control = control;
  m.msg_controllen = sizeof control;
  if (recvmsg(channel, &m, 0) <= 0) return -1;
  cmsghdr* c = CMSG_FIRSTHDR(&m);
  if (c == nullptr) return -1;
  int fd;
  std::memcpy(&fd, CMSG_DATA(c), sizeof fd);
  return fd;
}

inline int report() {
  if (failures != 0) std::printf("%d observation(s) differ from docs/dropin.md\n", failures);
  return failures == 0 ? 0 : 1;
}

}  // namespace lab
