/* What a program sends to its own host is there when the call returns: a question that does not
   wait finds it, whoever asks and in whatever way. */
#include "check.h"

#include <sys/select.h>
#include <sys/sendfile.h>

enum { rounds = 100 };

/* --- ways to send -------------------------------------------------------------------------- */

static int file_fd, pipe_fds[2];

static ssize_t by_send(int fd, const char* bytes, size_t n) { return send(fd, bytes, n, 0); }
static ssize_t by_write(int fd, const char* bytes, size_t n) { return write(fd, bytes, n); }
static ssize_t by_sendto(int fd, const char* bytes, size_t n) {
  return sendto(fd, bytes, n, 0, NULL, 0);
}
static ssize_t by_writev(int fd, const char* bytes, size_t n) {
  struct iovec v = {(void*)bytes, n};
  return writev(fd, &v, 1);
}
static ssize_t by_sendmsg(int fd, const char* bytes, size_t n) {
  struct iovec v = {(void*)bytes, n};
  struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
  return sendmsg(fd, &m, 0);
}
static ssize_t by_sendmmsg(int fd, const char* bytes, size_t n) {
  struct iovec v = {(void*)bytes, n};
  struct mmsghdr m = {.msg_hdr = {.msg_iov = &v, .msg_iovlen = 1}};
  return sendmmsg(fd, &m, 1, 0) == 1 ? (ssize_t)m.msg_len : -1;
}
static ssize_t by_sendfile(int fd, const char* bytes, size_t n) {
  if (pwrite(file_fd, bytes, n, 0) != (ssize_t)n) return -1;
  off_t at = 0;
  return sendfile(fd, file_fd, &at, n);
}
static ssize_t by_splice(int fd, const char* bytes, size_t n) {
  if (write(pipe_fds[1], bytes, n) != (ssize_t)n) return -1;
  return splice(pipe_fds[0], NULL, fd, NULL, n, 0);
}

/* --- ways to ask --------------------------------------------------------------------------- */

static int set_fd;

static int by_recv(int fd) {
  char c[8];
  return (int)recv(fd, c, sizeof c, MSG_DONTWAIT | MSG_PEEK);
}
static int by_recvfrom(int fd) {
  char c[8];
  struct sockaddr_in from;
  socklen_t len = sizeof from;
  return (int)recvfrom(fd, c, sizeof c, MSG_DONTWAIT | MSG_PEEK, (struct sockaddr*)&from, &len);
}
static int by_recvmsg(int fd) {
  char c[8], control[64];
  struct iovec v = {c, sizeof c};
  struct msghdr m = {
      .msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
  return (int)recvmsg(fd, &m, MSG_DONTWAIT | MSG_PEEK);
}
static int by_fionread(int fd) {
  int n = -1;
  ioctl(fd, FIONREAD, &n);
  return n;
}
static int by_poll(int fd) { return (events(fd, POLLIN, 0) & POLLIN) != 0 ? 3 : 0; }
static int by_ppoll(int fd) {
  struct pollfd p = {fd, POLLIN, 0};
  struct timespec at_once = {0, 0};
  return ppoll(&p, 1, &at_once, NULL) == 1 ? 3 : 0;
}
static int by_select(int fd) {
  fd_set in;
  FD_ZERO(&in);
  FD_SET(fd, &in);
  struct timeval at_once = {0, 0};
  return select(fd + 1, &in, NULL, NULL, &at_once) == 1 && FD_ISSET(fd, &in) ? 3 : 0;
}
static int by_pselect(int fd) {
  fd_set in;
  FD_ZERO(&in);
  FD_SET(fd, &in);
  struct timespec at_once = {0, 0};
  return pselect(fd + 1, &in, NULL, NULL, &at_once, NULL) == 1 && FD_ISSET(fd, &in) ? 3 : 0;
}
static int by_epoll(int fd) {
  struct epoll_event e = {.events = EPOLLIN, .data = {.fd = fd}};
  epoll_ctl(set_fd, EPOLL_CTL_ADD, fd, &e);
  int n = epoll_wait(set_fd, &e, 1, 0);
  epoll_ctl(set_fd, EPOLL_CTL_DEL, fd, NULL);
  return n == 1 ? 3 : 0;
}
static int by_epoll_pwait(int fd) {
  struct epoll_event e = {.events = EPOLLIN, .data = {.fd = fd}};
  epoll_ctl(set_fd, EPOLL_CTL_ADD, fd, &e);
  int n = epoll_pwait(set_fd, &e, 1, 0, NULL);
  epoll_ctl(set_fd, EPOLL_CTL_DEL, fd, NULL);
  return n == 1 ? 3 : 0;
}

struct sender {
  const char* name;
  ssize_t (*send)(int, const char*, size_t);
};
static const struct sender senders[] = {
    {"send", by_send},         {"sendto", by_sendto},   {"write", by_write},
    {"writev", by_writev},     {"sendmsg", by_sendmsg}, {"sendmmsg", by_sendmmsg},
    {"sendfile", by_sendfile}, {"splice", by_splice},
};
struct question {
  const char* name;
  int (*ask)(int);
};
static const struct question questions[] = {
    {"recv", by_recv},        {"recvfrom", by_recvfrom},
    {"recvmsg", by_recvmsg},  {"FIONREAD", by_fionread},
    {"poll", by_poll},        {"ppoll", by_ppoll},
    {"select", by_select},    {"pselect", by_pselect},
    {"epoll_wait", by_epoll}, {"epoll_pwait", by_epoll_pwait},
};
enum { sender_count = sizeof senders / sizeof *senders };
enum { question_count = sizeof questions / sizeof *questions };

static void every_way(const char* what, int from, int to) {
  for (int i = 0; i < rounds; ++i) {
    const struct sender* s = &senders[i % sender_count];
    const struct question* q = &questions[i / sender_count % question_count];
    char c[8];
    ssize_t sent = s->send(from, "abc", 3);
    int seen = q->ask(to);
    if (sent != 3 || seen != 3) {
      printf("%s: %s gave %zd, then %s %d (%s)\n", what, s->name, sent, q->name, seen,
             strerror(errno));
      ++failures;
    }
    CHECK(recv(to, c, sizeof c, 0) == 3);
  }
}

/* --- ends, connections, halves ------------------------------------------------------------- */

static void ends(void) {
  for (int i = 0; i < 10; ++i) {
    int a, b;
    char c;
    tcp_pair(&a, &b);
    CHECK(shutdown(a, SHUT_WR) == 0);
    CHECK(recv(b, &c, 1, MSG_DONTWAIT) == 0);
    close(b);
    CHECK(recv(a, &c, 1, MSG_DONTWAIT) == 0);
    close(a);
    tcp_pair(&a, &b);
    CHECK(send(a, "x", 1, 0) == 1);
    close(a);
    CHECK((events(b, POLLIN | POLLRDHUP, 0) & POLLRDHUP) != 0);
    CHECK(recv(b, &c, 1, MSG_DONTWAIT) == 1 && recv(b, &c, 1, MSG_DONTWAIT) == 0);
    close(b);
  }
}

static void connections(void) {
  int l = listener(8);
  fcntl(l, F_SETFL, O_NONBLOCK);
  for (int i = 0; i < 10; ++i) {
    int a = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    FAILS(connect_to(a, port_of(l)), EINPROGRESS);
    int b = accept(l, NULL, NULL);
    CHECK(b >= 0);
    CHECK(connect_to(a, port_of(l)) == 0);
    CHECK(send(a, "x", 1, 0) == 1);
    close(a);
    close(b);
  }
  close(l);
}

/* Two sends in a row are one receive, also of one that may wait. */
static void halves(void) {
  int a, b, on = 1;
  tcp_pair(&a, &b);
  setsockopt(a, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  for (int i = 0; i < rounds; ++i) {
    char c[8], d[8];
    struct iovec v[2] = {{c, 2}, {d, 6}};
    CHECK(send(a, "x", 1, 0) == 1 && send(a, "yz", 2, 0) == 2);
    int n = i % 3 == 0   ? (int)recv(b, c, sizeof c, 0)
            : i % 3 == 1 ? (int)read(b, c, sizeof c)
                         : (int)readv(b, v, 2);
    if (n != 3) printf("round %d: %d of 3 bytes\n", i, n);
    CHECK(n == 3 && c[0] == 'x' && c[1] == 'y' && (i % 3 == 2 ? d[0] : c[2]) == 'z');
    if (n < 3) CHECK(recv(b, c, (size_t)(3 - n), MSG_WAITALL) == 3 - n);
  }
  close(a);
  close(b);
}

/* Sends that do not wait, more than fit in one go: all that was taken is there. */
static void without_waiting(void) {
  int a, b, on = 1, size = 4608;
  tcp_pair(&a, &b);
  setsockopt(a, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(a, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
  fcntl(a, F_SETFL, O_NONBLOCK);
  for (int i = 0; i < rounds; ++i) {
    int sent = 0, there = 0, got;
    char c[512];
    for (int k = 0; k < 20; ++k) {
      ssize_t n = k % 2 ? by_sendfile(a, "abc", 3) : senders[i % 6].send(a, "abc", 3);
      sent += n > 0 ? (int)n : 0;
    }
    while ((got = (int)recv(b, c, sizeof c, MSG_DONTWAIT)) > 0) there += got;
    if (there != sent) printf("round %d: %d of %d bytes\n", i, there, sent);
    CHECK(there == sent && sent > 0);
    while (there < sent && (got = (int)recv(b, c, (size_t)(sent - there), 0)) > 0) there += got;
  }
  close(a);
  close(b);
}

/* The other process says when it has sent. */
static void other_process(void) {
  int a, b, told[2];
  tcp_pair(&a, &b);
  CHECK(pipe(told) == 0);
  pid_t child = fork();
  if (child == 0) {
    for (int i = 0; i < rounds; ++i) {
      char c;
      if (write(a, "abc", 3) != 3 || write(told[1], "x", 1) != 1) _exit(1);
      if (recv(a, &c, 1, 0) != 1) _exit(2);
    }
    _exit(0);
  }
  for (int i = 0; i < rounds; ++i) {
    char c[8];
    CHECK(read(told[0], c, 1) == 1);
    int n = (int)recv(b, c, sizeof c, MSG_DONTWAIT);
    CHECK(n == 3);
    if (n < 3) CHECK(recv(b, c, 3, MSG_WAITALL) == 3);
    CHECK(write(b, "y", 1) == 1);
  }
  int status = -1;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
}

int main(void) {
  file_fd = open(".", O_TMPFILE | O_RDWR, 0600);
  if (file_fd < 0) file_fd = open("/tmp", O_TMPFILE | O_RDWR, 0600);
  CHECK(file_fd >= 0 && pipe(pipe_fds) == 0);
  set_fd = epoll_create1(0);
  int a, b, on = 1;
  tcp_pair(&a, &b);
  setsockopt(a, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  every_way("TCP", a, b);
  every_way("TCP back", b, a);
  int u = socket(AF_INET, SOCK_DGRAM, 0), s = socket(AF_INET, SOCK_DGRAM, 0);
  CHECK(bind_to(u, 0) == 0 && connect_to(s, port_of(u)) == 0);
  every_way("UDP", s, u);
  ends();
  connections();
  halves();
  without_waiting();
  other_process();
  FINISH();
}
