/* Urgent data, MSG_MORE, low-water marks, MSG_TRUNC, control data, buffers; listeners that end. */
#include "check.h"

#include <linux/sockios.h>

static int ioctl_int(int fd, unsigned long request) {
  int value = -1;
  CHECK(ioctl(fd, request, &value) == 0);
  return value;
}

static void urgent(int in_line) {
  int a, b;
  char buf[10];
  tcp_pair(&a, &b);
  CHECK(setsockopt(b, SOL_SOCKET, SO_OOBINLINE, &in_line, sizeof in_line) == 0);
  CHECK(send(a, "ab", 2, 0) == 2);
  CHECK(send(a, "!", 1, MSG_OOB) == 1);
  CHECK(send(a, "cd", 2, 0) == 2);
  CHECK(events(b, POLLPRI, 5000) & POLLPRI);
  CHECK(recv(b, buf, 10, MSG_WAITALL) == 2 && memcmp(buf, "ab", 2) == 0);
  CHECK(ioctl_int(b, SIOCATMARK) == 1);
  if (in_line) {
    FAILS(recv(b, buf, 1, MSG_OOB), EINVAL);
    CHECK(recv(b, buf, 3, MSG_WAITALL) == 3 && memcmp(buf, "!cd", 3) == 0);
  } else {
    CHECK(recv(b, buf, 1, MSG_OOB) == 1 && buf[0] == '!');
    FAILS(recv(b, buf, 1, MSG_OOB), EINVAL);
    CHECK(recv(b, buf, 2, MSG_WAITALL) == 2 && memcmp(buf, "cd", 2) == 0);
  }
  close(a);
  close(b);
}

/* An urgent byte that was read does not come back when another one follows. */
static void urgent_again(void) {
  int a, b;
  char buf[10];
  tcp_pair(&a, &b);
  CHECK(send(a, "a", 1, MSG_OOB) == 1);
  CHECK(events(b, POLLPRI, 5000) & POLLPRI);
  CHECK(recv(b, buf, 1, MSG_OOB) == 1 && buf[0] == 'a');
  CHECK(events(b, POLLIN | POLLPRI, 0) == 0);
  FAILS(recv(b, buf, 10, MSG_DONTWAIT), EAGAIN);
  CHECK(send(a, "xyz", 3, MSG_OOB) == 3);
  CHECK(events(b, POLLPRI, 5000) & POLLPRI);
  CHECK(recv(b, buf, 10, MSG_WAITALL) == 2 && memcmp(buf, "xy", 2) == 0);
  CHECK(recv(b, buf, 1, MSG_OOB) == 1 && buf[0] == 'z');
  CHECK(send(a, "c", 1, 0) == 1);
  CHECK(recv(b, buf, 10, 0) == 1 && buf[0] == 'c');
  close(a);
  close(b);
}

/* What comes after a shutdown for reading is read all the same. */
static void shut_for_reading(void) {
  int a, b;
  char buf[10];
  tcp_pair(&a, &b);
  CHECK(shutdown(b, SHUT_RD) == 0);
  CHECK(events(b, POLLIN | POLLRDHUP, 0) == (POLLIN | POLLRDHUP));
  CHECK(recv(b, buf, 10, 0) == 0);
  CHECK(send(a, "abc", 3, 0) == 3);
  ssize_t got = 0;
  for (int i = 0; got == 0 && i < 500; ++i, usleep(10000)) got = recv(b, buf, 10, 0);
  CHECK(got == 3 && memcmp(buf, "abc", 3) == 0);
  CHECK(recv(b, buf, 10, 0) == 0);
  CHECK(send(a, "d", 1, 0) == 1 && shutdown(a, SHUT_WR) == 0);
  for (got = 0; got == 0; usleep(10000)) got = read(b, buf, 10);
  CHECK(got == 1 && read(b, buf, 10) == 0);
  CHECK(send(b, "x", 1, 0) == 1 && recv(a, buf, 1, 0) == 1);
  close(a);
  close(b);
}

static int pipes;
static void on_pipe(int signal) {
  (void)signal;
  ++pipes;
}

/* Writing where no connection is raises SIGPIPE, like any broken pipe. */
static void nowhere(void) {
  int s = socket(AF_INET, SOCK_STREAM, 0), unknown = 1;
  socklen_t n = sizeof unknown;
  signal(SIGPIPE, on_pipe);
  FAILS(write(s, "x", 1), EPIPE);
  FAILS(send(s, "x", 1, 0), EPIPE);
  CHECK(pipes == 2);
  FAILS(send(s, "x", 1, MSG_NOSIGNAL), EPIPE);
  CHECK(pipes == 2);
  signal(SIGPIPE, SIG_IGN);
  FAILS(setsockopt(s, 99, 1, &unknown, n), ENOPROTOOPT);
  FAILS(getsockopt(s, 99, 1, &unknown, &n), EOPNOTSUPP);
  FAILS(getsockopt(s, IPPROTO_UDP, 1, &unknown, &n), EOPNOTSUPP);
  close(s);
}

/* Flags that TCP knows nothing of, and arguments that no call takes. */
static void odd_arguments(void) {
  int a, b;
  char buf[10];
  struct iovec v = {buf, 1};
  struct sockaddr_in to = loopback(9);
  void* volatile none = NULL;
  volatile int negative = -1, many = 1025;
  tcp_pair(&a, &b);
  const int flags[] = {MSG_DONTROUTE, MSG_CONFIRM, MSG_EOR, MSG_PROXY, MSG_RST, MSG_SYN};
  for (unsigned i = 0; i < sizeof flags / sizeof *flags; ++i) {
    CHECK(send(a, "x", 1, flags[i]) == 1);
    CHECK(recv(b, buf, 10, 0) == 1);
  }
  FAILS(readv(b, &v, negative), EINVAL);
  FAILS(writev(a, &v, negative), EINVAL);
  FAILS(writev(a, &v, many), EINVAL);
  FAILS(sendto(a, "x", 1, 0, (struct sockaddr*)8, sizeof to), EFAULT);
  FAILS(sendto(a, "x", 1, 0, (struct sockaddr*)&to, 1000), EINVAL);
  CHECK(sendto(a, "x", 1, 0, (struct sockaddr*)&to, sizeof to) == 1);
  CHECK(sendto(a, "y", 1, 0, none, 1000) == 1);
  CHECK(recv(b, buf, 2, MSG_WAITALL) == 2);
  FAILS(recv(b, buf, 2, MSG_DONTWAIT), EAGAIN);
  close(a);
  close(b);
}

static void low_water(void) {
  int a, b, mark = 10;
  char buf[100];
  socklen_t n = sizeof mark;
  tcp_pair(&a, &b);
  CHECK(setsockopt(b, SOL_SOCKET, SO_RCVLOWAT, &mark, sizeof mark) == 0);
  mark = 0;
  CHECK(getsockopt(b, SOL_SOCKET, SO_RCVLOWAT, &mark, &n) == 0 && mark == 10);
  CHECK(send(a, "123456789", 9, 0) == 9);
  CHECK(events(b, POLLIN, 200) == 0);
  CHECK(send(a, "0", 1, 0) == 1);
  CHECK(events(b, POLLIN, 5000) == POLLIN);
  CHECK(recv(b, buf, 100, 0) == 10);
  CHECK(send(a, "abc", 3, 0) == 3);
  ssize_t got = -1;
  for (int i = 0; got < 0 && i < 500; ++i, usleep(10000)) got = recv(b, buf, 100, MSG_DONTWAIT);
  CHECK(got == 3 && memcmp(buf, "abc", 3) == 0);
  CHECK(send(a, "x", 1, 0) == 1 && shutdown(a, SHUT_WR) == 0);
  CHECK(events(b, POLLIN, 5000) & POLLIN);
  CHECK(recv(b, buf, 100, 0) == 1 && recv(b, buf, 100, 0) == 0);
  close(a);
  close(b);
}

static void discarded(void) {
  int a, b;
  char buf[10];
  static char many[40000];
  tcp_pair(&a, &b);
  many[39999] = 'z';
  CHECK(send(a, many, sizeof many, 0) == (ssize_t)sizeof many);
  CHECK(recv(b, NULL, 39999, MSG_TRUNC | MSG_WAITALL) == 39999);
  CHECK(recv(b, buf, 10, 0) == 1 && buf[0] == 'z');
  struct iovec v = {buf, 3};
  struct msghdr m = {0};
  m.msg_iov = &v;
  m.msg_iovlen = 1;
  CHECK(send(a, "abcd", 4, 0) == 4);
  memset(buf, 'q', sizeof buf);
  CHECK(recvmsg(b, &m, MSG_TRUNC | MSG_WAITALL) == 3 && buf[0] == 'q');
  CHECK(recv(b, buf, 10, 0) == 1 && buf[0] == 'd');
  close(a);
  close(b);
}

static ssize_t send_with_control(int fd, int level, int type, const void* data, size_t len) {
  char control[100] = {0};
  struct iovec v = {"x", 1};
  struct msghdr m = {0};
  m.msg_iov = &v;
  m.msg_iovlen = 1;
  m.msg_control = control;
  m.msg_controllen = CMSG_SPACE(len);
  struct cmsghdr* c = CMSG_FIRSTHDR(&m);
  c->cmsg_level = level;
  c->cmsg_type = type;
  c->cmsg_len = CMSG_LEN(len);
  memcpy(CMSG_DATA(c), data, len);
  return sendmsg(fd, &m, MSG_NOSIGNAL);
}

static void control_data(void) {
  int a, b, value = 2;
  char buf[10];
  tcp_pair(&a, &b);
  FAILS(send_with_control(a, SOL_SOCKET, 77, "abcd", 4), EINVAL);
  CHECK(send_with_control(a, IPPROTO_IP, IP_TTL, &value, sizeof value) == 1);
  CHECK(send_with_control(a, SOL_SOCKET, SO_TIMESTAMPING, &value, sizeof value) == 1);
  CHECK(send_with_control(a, SOL_SOCKET, SCM_RIGHTS, &a, sizeof a) == 1);
  CHECK(recv(b, buf, 3, MSG_WAITALL) == 3);
  close(a); /* was not passed on, so this was the last copy */
  CHECK(recv(b, buf, 1, 0) == 0);
  close(b);
}

static void full_buffers(void) {
  int a, b, l = listener(1), size = 4096;
  CHECK(setsockopt(l, SOL_SOCKET, SO_RCVBUF, &size, sizeof size) == 0);
  a = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(setsockopt(a, SOL_SOCKET, SO_SNDBUF, &size, sizeof size) == 0);
  CHECK(connect_to(a, port_of(l)) == 0);
  b = accept(l, NULL, NULL);
  fcntl(a, F_SETFL, O_NONBLOCK);
  char block[1000] = {0};
  long sent = 0;
  for (int quiet = 0; quiet < 30;) {
    ssize_t n = send(a, block, sizeof block, 0);
    if (n > 0) sent += n;
    quiet = n > 0 ? 0 : quiet + 1;
    if (n < 0) usleep(10000);
  }
  CHECK(sent < 65536);
  CHECK(ioctl_int(a, SIOCOUTQ) + ioctl_int(b, FIONREAD) >= sent);
  while (sent > 0) {
    ssize_t n = recv(b, block, sizeof block, 0);
    if (n <= 0) break;
    sent -= n;
  }
  CHECK(sent == 0);
  CHECK(events(a, POLLOUT, 5000) & POLLOUT);
  close(a);
  close(b);
  close(l);
}

static int state_of(int fd) {
  struct tcp_info info;
  socklen_t n = sizeof info;
  CHECK(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &n) == 0);
  return info.tcpi_state;
}

/* An end behind more bytes than the peer has room for is sent as far as the state tells. */
static void end_behind_a_closed_window(void) {
  for (int second = 0; second < 2; ++second) {
    static char bytes[65536];
    int a, b;
    long sent = 0, got = 0;
    ssize_t n;
    tcp_pair(&a, &b);
    CHECK(fcntl(a, F_SETFL, O_NONBLOCK) == 0);
    if (second) CHECK(shutdown(b, SHUT_WR) == 0 && (events(a, POLLRDHUP, 20000) & POLLRDHUP));
    while ((n = write(a, bytes, sizeof bytes)) > 0) sent += n;
    CHECK(state_of(a) == (second ? TCP_CLOSE_WAIT : TCP_ESTABLISHED));
    CHECK(shutdown(a, SHUT_WR) == 0);
    CHECK(state_of(a) == (second ? TCP_LAST_ACK : TCP_FIN_WAIT1));
    while ((n = read(b, bytes, sizeof bytes)) > 0) got += n;
    CHECK(n == 0 && got == sent);
    close(a);
    close(b);
  }
}

static void ended_listener(int by_close) {
  char c;
  int l = listener(4), port = port_of(l), waiting = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(connect_to(waiting, port) == 0);
  CHECK(events(l, POLLIN, 5000) == POLLIN);
  if (by_close) {
    close(l);
  } else {
    CHECK(shutdown(l, SHUT_RDWR) == 0);
    CHECK(events(l, POLLIN | POLLOUT, 0) == (POLLOUT | POLLHUP));
    FAILS(accept(l, NULL, NULL), EINVAL);
  }
  CHECK(events(waiting, POLLIN, 5000) & POLLERR);
  FAILS(read(waiting, &c, 1), ECONNRESET);
  close(waiting);
  int late = socket(AF_INET, SOCK_STREAM, 0);
  FAILS(connect_to(late, port), ECONNREFUSED);
  if (by_close) return;
  int value = 1;
  socklen_t n = sizeof value;
  CHECK(getsockopt(l, SOL_SOCKET, SO_ACCEPTCONN, &value, &n) == 0 && value == 0);
  CHECK(listen(l, 4) == 0);
  CHECK(connect_to(late, port_of(l)) == 0);
  CHECK(events(l, POLLIN, 5000) == POLLIN);
  int b = accept(l, NULL, NULL);
  CHECK(write(late, "x", 1) == 1 && read(b, &c, 1) == 1);
  close(b);
  close(late);
  close(l);
}

/* What was written before a close with unread bytes arrives before the reset. */
static void last_words(void) {
  char buf[20];
  for (int i = 0; i < 40; ++i) {
    int a, b;
    tcp_pair(&a, &b);
    int first = i & 1 ? a : b, other = i & 1 ? b : a;
    CHECK(write(other, "nobody reads this", 17) == 17);
    CHECK(events(first, POLLIN, 5000) == POLLIN);
    CHECK(write(first, "413", 3) == 3);
    if (i & 2) {
      struct linger hard = {1, 0};
      CHECK(recv(first, buf, 17, MSG_WAITALL) == 17);
      CHECK(setsockopt(first, SOL_SOCKET, SO_LINGER, &hard, sizeof hard) == 0);
    }
    close(first);
    CHECK(recv(other, buf, 3, MSG_WAITALL) == 3);
    FAILS(recv(other, buf, 3, 0), ECONNRESET);
    close(other);
  }
}

static void on_alarm(int number) { (void)number; }

/* A send by the daemon that is interrupted, or whose time is over, was done or was not: what the
 * calls tell is what arrives. */
static void interrupted_sends(int by_signal) {
  enum { calls = 300 };
  static char bytes[200000];
  int a, b, buffer = 60000;
  tcp_pair(&a, &b);
  pid_t child = fork();
  if (child == 0) {
    long long all = 0;
    close(a);
    for (ssize_t n; (n = recv(b, bytes, sizeof bytes, 0)) > 0; usleep(1000)) all += n;
    _exit(send(b, &all, sizeof all, 0) != sizeof all);
  }
  close(b);
  CHECK(setsockopt(a, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer) == 0);
  struct sigaction action = {.sa_handler = on_alarm}, before;
  CHECK(sigaction(SIGALRM, &action, &before) == 0);
  struct itimerval often = {{0, 3000}, {0, 3000}}, never = {{0, 0}, {0, 0}}, rest;
  struct timeval limit = {0, 3000};
  CHECK(getitimer(ITIMER_REAL, &rest) == 0);
  if (by_signal) {
    CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
  } else {
    CHECK(setsockopt(a, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) == 0);
  }
  long long told = 0, arrived = -1;
  for (int i = 0; i < calls; ++i) {
    ssize_t n = send(a, bytes, sizeof bytes, MSG_MORE);
    if (n < 0 && errno != EINTR && errno != EAGAIN) CHECK(n >= 0);
    if (n > 0) told += n;
  }
  CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0 && sigaction(SIGALRM, &before, NULL) == 0);
  CHECK(setitimer(ITIMER_REAL, &rest, NULL) == 0);
  CHECK(shutdown(a, SHUT_WR) == 0 && recv(a, &arrived, sizeof arrived, 0) == sizeof arrived);
  CHECK(arrived == told);
  int status = -1;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  close(a);
}

int main(void) {
  alarm(60);
  signal(SIGPIPE, SIG_IGN);
  urgent(0);
  urgent(1);
  urgent_again();
  shut_for_reading();
  nowhere();
  odd_arguments();
  low_water();
  discarded();
  control_data();
  full_buffers();
  interrupted_sends(0);
  interrupted_sends(1);
  end_behind_a_closed_window();
  ended_listener(0);
  ended_listener(1);
  last_words();
  FINISH();
}
