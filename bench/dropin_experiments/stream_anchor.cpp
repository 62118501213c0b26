// A stream anchor: how one AF_UNIX stream socket shows every state of a TCP socket to poll, read
// and write.
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>

#include <csignal>

#include "lab.h"

using namespace lab;

static int fresh(char const* text) {
  int const p = socket(AF_UNIX, SOCK_STREAM, 0);
  name n(text);
  bind(p, n.addr(), n.len);
  return p;
}

// Connects `p` to a one-use listener called `peer`, fills p's send buffer with `fill` bytes and one
// more byte.
static int link_up(int p, char const* peer, std::size_t fill) {
  int const l = socket(AF_UNIX, SOCK_STREAM, 0);
  name n(peer);
  bind(l, n.addr(), n.len);
  listen(l, 1);
  if (connect(p, n.addr(), n.len) != 0) return -1;
  int const d = accept4(l, nullptr, nullptr, SOCK_NONBLOCK);
  close(l);
  static char junk[262144];
  if (fill != 0) send(p, junk, fill, MSG_DONTWAIT | MSG_NOSIGNAL);
  send(p, junk, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
  return d;
}

static int sock_err(int fd) {
  int e = 0;
  socklen_t n = sizeof e;
  getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &n);
  return e;
}

static void drain(int d, std::size_t n) {
  static char junk[262144];
  while (n > 0) {
    ssize_t const got = recv(d, junk, n < sizeof junk ? n : sizeof junk, MSG_DONTWAIT);
    if (got <= 0) return;
    n -= static_cast<std::size_t>(got);
  }
}

int main() {
  signal(SIGPIPE, SIG_IGN);
  char buf[65536];
  int p = fresh("ph-exp-1");
  short e = events_of(p);
  saw(e == (POLLOUT | POLLHUP), "fresh socket: %s (TCP: OUT HUP)", event_names(e));
  saw_errno(read(p, buf, 1) < 0, "read on a fresh socket: %s (TCP: ENOTCONN)");
  saw_errno(write(p, buf, 1) < 0, "write on a fresh socket: %s (TCP: EPIPE)");

  std::size_t const fill = 65536;
  int d = link_up(p, "ph-exp-1-peer", fill);
  e = events_of(p);
  saw(e == 0, "connecting, send buffer held full with %zu bytes: [%s] (TCP: nothing)", fill,
      event_names(e));
  int queued = 0;
  ioctl(d, FIONREAD, &queued);
  saw(queued == static_cast<int>(fill) + 1, "daemon sees exactly the filler: %d bytes", queued);
  drain(d, fill);
  e = events_of(p);
  saw(e == POLLOUT, "connected, filler read except the last byte: %s", event_names(e));
  sockaddr_un sun{};
  socklen_t len = sizeof sun;
  getpeername(p, reinterpret_cast<sockaddr*>(&sun), &len);
  saw(std::strncmp(sun.sun_path + 1, "ph-exp-1-peer", 13) == 0,
      "getpeername gives the one-use listener's name");

  // The held byte: d always keeps one unread byte, so that closing d is a reset.
  send(d, "hello", 5, 0);
  close(d);
  e = events_of(p);
  saw((e & (POLLERR | POLLHUP | POLLIN)) == (POLLERR | POLLHUP | POLLIN),
      "reset (held byte unread): %s", event_names(e));
  ssize_t got = read(p, buf, 5);
  saw(got == 5, "data received before the reset is still readable: %zd", got);
  got = read(p, buf, 5);
  saw(got < 0 && errno == ECONNRESET, "then read gives %s",
      got < 0 ? strerrorname_np(errno) : "no error");
  got = read(p, buf, 5);
  saw(got == 0, "then read gives %zd (TCP: 0)", got);
  got = write(p, buf, 5);
  saw(got < 0 && errno == EPIPE, "then write gives EPIPE");
  close(p);

  p = fresh("ph-exp-2");
  d = link_up(p, "ph-exp-2-peer", fill);
  close(d);
  e = events_of(p);
  saw((e & (POLLIN | POLLOUT | POLLERR | POLLHUP)) == (POLLIN | POLLOUT | POLLERR | POLLHUP),
      "connect refused: %s (TCP: IN OUT ERR HUP)", event_names(e));
  int first = sock_err(p), second = sock_err(p);
  saw(first == ECONNRESET && second == 0, "SO_ERROR: %s once, then %d", strerrorname_np(first),
      second);
  name again("ph-exp-2-peer");
  saw(connect(p, again.addr(), again.len) < 0,
      "a second connect on that anchor: %s (so it must be replaced)", strerrorname_np(errno));
  close(p);

  p = fresh("ph-exp-3");
  d = link_up(p, "ph-exp-3-peer", 0);
  write(p, "abc", 3);
  shutdown(p, SHUT_WR);
  e = events_of(d);
  saw((e & POLLRDHUP) && !(e & POLLHUP), "program's SHUT_WR at the daemon: %s", event_names(e));
  got = recv(d, buf, 4, 0);
  saw(got == 4 && recv(d, buf, 1, 0) == 0, "daemon reads held byte + 3 bytes, then 0");
  send(d, "xyz", 3, 0);
  shutdown(d, SHUT_WR);
  e = events_of(p);
  saw((e & POLLHUP) && (e & POLLIN), "both sides half-closed: %s", event_names(e));
  saw(read(p, buf, 9) == 3 && read(p, buf, 9) == 0, "program reads the rest, then 0");
  close(p);
  e = events_of(d);
  saw((e & POLLHUP) != 0 && recv(d, buf, 1, 0) == 0, "clean close at the daemon: %s, read 0",
      event_names(e));
  close(d);

  p = fresh("ph-exp-4");
  d = link_up(p, "ph-exp-4-peer", 0);
  send(d, "unread", 6, 0);
  write(p, "last", 4);
  close(p);
  got = recv(d, buf, sizeof buf, 0);
  int const err = (errno = 0, recv(d, buf, sizeof buf, 0) < 0) ? errno : 0;
  saw(got == 5 && err == ECONNRESET, "close with unread data: daemon reads the %zd bytes, then %s",
      got, err ? strerrorname_np(err) : "0");
  close(d);

  p = fresh("ph-exp-5");
  d = link_up(p, "ph-exp-5-peer", 0);
  int const ep = epoll_create1(0);
  epoll_event ev{EPOLLIN | EPOLLET | EPOLLRDHUP, {}};
  epoll_ctl(ep, EPOLL_CTL_ADD, d, &ev);
  epoll_wait(ep, &ev, 1, 0);
  int edges = 0;
  for (int i = 0; i < 100; ++i) {
    write(p, buf, 10);
    edges += epoll_wait(ep, &ev, 1, 0);
    drain(d, 10);
  }
  saw(edges == 100, "with one byte always held, each write still gives an edge: %d of 100", edges);
  int big = 0;
  fcntl(p, F_SETFL, O_NONBLOCK);
  for (ssize_t n; (n = write(p, buf, sizeof buf)) > 0;) big += static_cast<int>(n);
  saw(events_of(p) == 0, "buffer full after %d bytes", big);
  drain(d, static_cast<std::size_t>(big));
  e = events_of(p);
  saw(e == POLLOUT, "read by the daemon up to the held byte (the last byte of a large write): [%s]",
      event_names(e));
  return report();
}
