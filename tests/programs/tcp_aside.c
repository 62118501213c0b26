/* What comes beside the bytes of a stream: MSG_ZEROCOPY's notices and transmit time stamps in the
   error queue, how poll, select and epoll show them, receive time stamps, TCP_INQ, and readiness
   that TCP does not show. */
#include "check.h"

#include <linux/errqueue.h>
#include <linux/net_tstamp.h>
#include <sys/mman.h>
#include <sys/select.h>

#ifndef TCP_INQ
#define TCP_INQ 36
#endif

static void set(int fd, int level, int name, int value) {
  CHECK(setsockopt(fd, level, name, &value, sizeof value) == 0);
}

struct notice {
  int origin, first, last, stamped;
};

/* The next entry of the error queue; origin -1: none. */
static struct notice take(int fd) {
  char bytes[4096], control[512];
  struct iovec v = {bytes, sizeof bytes};
  struct msghdr m = {
      .msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  struct notice out = {-1, 0, 0, 0};
  const ssize_t got = recvmsg(fd, &m, MSG_ERRQUEUE);
  const int error = errno;
  if (got < 0) {
    CHECK(error == EAGAIN);
    return out;
  }
  CHECK(m.msg_flags & MSG_ERRQUEUE);
  for (struct cmsghdr* c = CMSG_FIRSTHDR(&m); c != NULL; c = CMSG_NXTHDR(&m, c)) {
    if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPING) out.stamped = 1;
    if (c->cmsg_level != SOL_IP || c->cmsg_type != IP_RECVERR) continue;
    struct sock_extended_err e;
    memcpy(&e, CMSG_DATA(c), sizeof e);
    out.origin = e.ee_origin;
    out.first = (int)e.ee_info;
    out.last = (int)e.ee_data;
  }
  return out;
}

/* Takes notices up to the one that ends with `last`; they must be in order and without a gap. */
static void take_until(int fd, int first, int last) {
  while (first <= last) {
    CHECK(events(fd, 0, 5000) == POLLERR);
    struct notice n = take(fd);
    CHECK(n.origin == SO_EE_ORIGIN_ZEROCOPY && n.first == first && n.last <= last);
    if (n.origin != SO_EE_ORIGIN_ZEROCOPY) return;
    first = n.last + 1;
  }
  CHECK(events(fd, 0, 0) == 0);
  CHECK(take(fd).origin == -1);
}

static void drain(int fd, size_t len) {
  static char bin[65536];
  while (len > 0) {
    ssize_t n = read(fd, bin, len < sizeof bin ? len : sizeof bin);
    CHECK(n > 0);
    if (n <= 0) return;
    len -= (size_t)n;
  }
}

static void zerocopy(void) {
  static char many[500000];
  int a, b;
  tcp_pair(&a, &b);
  CHECK(send(a, "x", 1, MSG_ZEROCOPY) == 1); /* not asked for: plain bytes */
  drain(b, 1);
  CHECK(events(a, POLLIN, 100) == 0 && take(a).origin == -1);
  set(a, SOL_SOCKET, SO_ZEROCOPY, 1);
  CHECK(send(a, "abc", 3, MSG_ZEROCOPY) == 3);
  drain(b, 3);
  take_until(a, 0, 0);
  pid_t child = fork();
  if (child == 0) {
    drain(b, 2 * sizeof many);
    _exit(failures);
  }
  CHECK(send(a, many, sizeof many, MSG_ZEROCOPY) == (ssize_t)sizeof many);
  struct iovec v[2] = {{many, 400000}, {many, 100000}};
  struct msghdr m = {.msg_iov = v, .msg_iovlen = 2};
  CHECK(sendmsg(a, &m, MSG_ZEROCOPY) == (ssize_t)sizeof many);
  take_until(a, 1, 2); /* one of each call, however long */
  int status = -1;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  close(a);
  close(b);
}

static int epoll_events(int set, int ms, void** data) {
  struct epoll_event e[8];
  int n = epoll_wait(set, e, 8, ms), all = 0;
  for (int i = 0; i < n; ++i) {
    all |= (int)e[i].events;
    *data = e[i].data.ptr;
  }
  return all;
}

/* An error is no exceptional condition: who asks for those alone waits until the time is over. And
   pointers that lead nowhere are EFAULT. */
static void not_exceptional(int fd) {
  fd_set except;
  struct timeval soon = {0, 20 * 1000};
  FD_ZERO(&except);
  FD_SET(fd, &except);
  CHECK(select(fd + 1, NULL, NULL, &except, &soon) == 0);
  CHECK(soon.tv_sec == 0 && soon.tv_usec == 0 && !FD_ISSET(fd, &except));
  FAILS(select(fd + 1, (fd_set*)8, NULL, NULL, &soon), EFAULT);
  struct pollfd* fixed =
      mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  *fixed = (struct pollfd){fd, POLLIN, 0};
  CHECK(mprotect(fixed, 4096, PROT_READ) == 0);
  FAILS(poll(fixed, 1, 0), EFAULT);
  CHECK(poll(fixed, (nfds_t)1 << 61, 0) == 0); /* the kernel looks at 32 bits of it */
  CHECK(mprotect(fixed, 4096, PROT_READ | PROT_WRITE) == 0);
  fd_set* sets = (fd_set*)fixed;
  FD_ZERO(sets);
  FD_SET(fd, sets);
  CHECK(mprotect(fixed, 4096, PROT_READ) == 0);
  FAILS(select(fd + 1, sets, NULL, NULL, &soon), EFAULT);
  munmap(fixed, 4096);
}

/* Each way to wait shows POLLERR, until the queue is empty. */
static void shown(void) {
  int a, b, old = epoll_create1(0), set_of_late = epoll_create1(0);
  void* data = NULL;
  struct epoll_event e = {.events = EPOLLIN, .data.ptr = &a};
  fd_set in, out;
  struct timeval soon = {5, 0};
  tcp_pair(&a, &b);
  CHECK(epoll_ctl(old, EPOLL_CTL_ADD, a, &e) == 0);
  set(a, SOL_SOCKET, SO_ZEROCOPY, 1);
  e.data.ptr = &b;
  CHECK(epoll_ctl(set_of_late, EPOLL_CTL_ADD, a, &e) == 0);
  CHECK(epoll_events(old, 0, &data) == 0 && epoll_events(set_of_late, 0, &data) == 0);
  CHECK(send(a, "abc", 3, MSG_ZEROCOPY) == 3);
  drain(b, 3);
  CHECK(epoll_events(old, 5000, &data) == EPOLLERR && data == &a);
  CHECK(epoll_events(set_of_late, 5000, &data) == EPOLLERR && data == &b);
  FD_ZERO(&in);
  FD_ZERO(&out);
  FD_SET(a, &in);
  CHECK(select(a + 1, &in, &out, NULL, &soon) == 1 && FD_ISSET(a, &in));
  CHECK(soon.tv_sec < 5); /* what is left of it */
  not_exceptional(a);
  e.data.ptr = &e;
  CHECK(epoll_ctl(set_of_late, EPOLL_CTL_MOD, a, &e) == 0);
  CHECK(epoll_events(set_of_late, 5000, &data) == EPOLLERR && data == &e);
  CHECK(epoll_ctl(set_of_late, EPOLL_CTL_DEL, a, NULL) == 0);
  CHECK(epoll_events(set_of_late, 0, &data) == 0);
  take_until(a, 0, 0);
  CHECK(epoll_events(old, 0, &data) == 0);
  FD_ZERO(&in);
  FD_SET(a, &in);
  soon = (struct timeval){0, 1000 * 1000 + 2000};
  CHECK(select(a + 1, &in, NULL, NULL, &soon) == 0 && soon.tv_sec == 0 && soon.tv_usec == 0);
  CHECK(send(a, "abc", 3, MSG_ZEROCOPY) == 3);
  CHECK(epoll_events(old, 5000, &data) == EPOLLERR);
  int copy = dup(a);
  close(a);
  CHECK(epoll_events(old, 5000, &data) == EPOLLERR); /* the copy is still there */
  close(copy);
  CHECK(epoll_events(old, 0, &data) == 0);
  close(b);
  close(old);
  close(set_of_late);
}

static void transmit_stamps(void) {
  int a, b;
  tcp_pair(&a, &b);
  set(a, SOL_SOCKET, SO_TIMESTAMPING,
      SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_TX_ACK | SOF_TIMESTAMPING_SOFTWARE |
          SOF_TIMESTAMPING_OPT_ID | SOF_TIMESTAMPING_OPT_TSONLY);
  CHECK(send(a, "abc", 3, 0) == 3);
  drain(b, 3);
  for (int i = 0; i < 2; ++i) {
    CHECK(events(a, 0, 5000) == POLLERR);
    struct notice n = take(a);
    CHECK(n.origin == SO_EE_ORIGIN_TIMESTAMPING && n.stamped && n.last == 2);
  }
  CHECK(events(a, 0, 0) == 0);
  close(a);
  close(b);
}

struct came {
  ssize_t got;
  int inq, seconds, stamps;
};

static struct came receive(int fd, size_t len, int flags) {
  char bytes[64], control[256];
  struct iovec v = {bytes, len};
  struct msghdr m = {
      .msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  struct came out = {0, -1, 0, 0};
  out.got = recvmsg(fd, &m, flags);
  for (struct cmsghdr* c = CMSG_FIRSTHDR(&m); c != NULL; c = CMSG_NXTHDR(&m, c)) {
    if (c->cmsg_level == IPPROTO_TCP && c->cmsg_type == TCP_INQ) memcpy(&out.inq, CMSG_DATA(c), 4);
    if (c->cmsg_level != SOL_SOCKET) continue;
    struct timespec t;
    memcpy(&t, CMSG_DATA(c), sizeof t);
    out.seconds = (int)t.tv_sec;
    ++out.stamps;
  }
  return out;
}

static void received(void) {
  int a, b;
  struct came c;
  tcp_pair(&a, &b);
  set(b, IPPROTO_TCP, TCP_INQ, 1);
  CHECK(send(a, "0123456789", 10, 0) == 10);
  CHECK(events(b, POLLIN, 5000) == POLLIN);
  c = receive(b, 4, 0);
  CHECK(c.got == 4 && c.inq == 6 && c.stamps == 0);
  c = receive(b, 64, MSG_PEEK);
  CHECK(c.got == 6);
  c = receive(b, 64, 0);
  CHECK(c.got == 6 && c.inq == 0);
  time_t now = time(NULL);
  for (int option = 0; option < 3; ++option) {
    const int names[] = {SO_TIMESTAMP, SO_TIMESTAMPNS, SO_TIMESTAMPING};
    const int value = option == 2 ? SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE : 1;
    set(b, SOL_SOCKET, names[option], value);
    c.stamps = 0;
    for (int i = 0; c.stamps == 0 && i < 500; ++i, usleep(10000)) { /* Linux begins a bit later */
      if (i != 0) CHECK(receive(b, 64, 0).got == 2);
      CHECK(send(a, "ab", 2, 0) == 2);
      CHECK(events(b, POLLIN, 5000) == POLLIN);
      c = receive(b, 1, MSG_PEEK);
    }
    CHECK(c.got == 1 && c.stamps == 1 && c.seconds >= now - 1 && c.seconds <= now + 60);
    c = receive(b, 64, 0);
    CHECK(c.got == 2 && c.stamps == 1 && c.seconds >= now - 1 && c.seconds <= now + 60);
    set(b, SOL_SOCKET, names[option], 0);
  }
  CHECK(send(a, "x", 1, 0) == 1 && shutdown(a, SHUT_WR) == 0);
  CHECK(events(b, POLLRDHUP, 5000) & POLLRDHUP);
  c = receive(b, 64, 0);
  CHECK(c.got == 1 && c.inq == 1 && c.stamps == 0); /* something to come back for: the end */
  c = receive(b, 64, 0);
  CHECK(c.got == 0 && c.inq == 1);
  close(a);
  close(b);
}

/* A new connection is writable, and tells so once. */
static void one_edge(void) {
  for (int i = 0; i < 20; ++i) {
    int pair[2], set_of = epoll_create1(0);
    void* data = NULL;
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET};
    tcp_pair(&pair[0], &pair[1]);
    for (int k = 0; k < 2; ++k) CHECK(epoll_ctl(set_of, EPOLL_CTL_ADD, pair[k], &e) == 0);
    CHECK(epoll_events(set_of, 5000, &data) == EPOLLOUT);
    CHECK(epoll_events(set_of, 20, &data) == 0);
    for (int k = 0; k < 2; ++k) close(pair[k]);
    close(set_of);
  }
}

/* Who writes small pieces to a peer that has closed is told so, and not that there is no room. */
static void gone_peer(void) {
  for (int i = 0; i < 20; ++i) {
    int a, b, error;
    tcp_pair(&a, &b);
    CHECK(fcntl(a, F_SETFL, O_NONBLOCK) == 0);
    close(b);
    while (write(a, "meow", 4) > 0) continue;
    error = errno;
    CHECK(error == EPIPE || error == ECONNRESET);
    close(a);
  }
}

static void no_band(void) {
  int a, b, set_of = epoll_create1(0);
  void* data = NULL;
  struct epoll_event e = {.events = EPOLLOUT | EPOLLWRBAND | EPOLLWRNORM, .data.ptr = &a};
  tcp_pair(&a, &b);
  CHECK(events(a, POLLOUT | POLLWRBAND | POLLWRNORM, 5000) == (POLLOUT | POLLWRNORM));
  CHECK(events(a, POLLWRBAND, 50) == 0);
  CHECK(epoll_ctl(set_of, EPOLL_CTL_ADD, a, &e) == 0);
  CHECK(epoll_events(set_of, 5000, &data) == (EPOLLOUT | EPOLLWRNORM));
  close(a);
  close(b);
  close(set_of);
}

int main(void) {
  signal(SIGPIPE, SIG_IGN);
  zerocopy();
  shown();
  transmit_stamps();
  received();
  one_edge();
  gone_peer();
  no_band();
  FINISH();
}
