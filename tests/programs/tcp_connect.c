/* connect(): repeated, refused, dissolved, interrupted, shut down by another thread; the descriptor
 * stays what it is for its copies and for epoll. */
#include "check.h"
#include <sys/sendfile.h>

#include <dirent.h>
#include <pthread.h>

static int open_descriptors(void) {
  int n = 0;
  DIR* d = opendir("/proc/self/fd");
  while (readdir(d)) ++n;
  closedir(d);
  return n;
}

static int closed_port(void) {
  int s = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(bind_to(s, 0) == 0);
  int port = port_of(s);
  close(s);
  return port;
}

static int dissolve(int s) {
  struct sockaddr a;
  memset(&a, 0, sizeof a);
  a.sa_family = AF_UNSPEC;
  return connect(s, &a, sizeof a);
}

/* A byte there and back through s, whose other end is accepted from l. */
static void talk(int l, int s) {
  char c = 0;
  CHECK(events(l, POLLIN, 5000) & POLLIN);
  int b = accept(l, NULL, NULL);
  CHECK(b >= 0);
  CHECK(events(s, POLLOUT, 5000) & POLLOUT);
  CHECK(send(s, "x", 1, MSG_NOSIGNAL) == 1);
  CHECK(recv(b, &c, 1, 0) == 1 && c == 'x');
  CHECK(send(b, "y", 1, MSG_NOSIGNAL) == 1);
  CHECK(events(s, POLLIN, 5000) & POLLIN);
  CHECK(recv(s, &c, 1, 0) == 1 && c == 'y');
  close(b);
}

static void repeated_after_success(int l) {
  for (int blocking = 0; blocking < 2; ++blocking) {
    int s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), copy = dup(s);
    int ep = epoll_create1(0);
    struct epoll_event e = {EPOLLOUT, {.u64 = 77}};
    CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, s, &e) == 0);
    FAILS(connect_to(s, port_of(l)), EINPROGRESS);
    CHECK(epoll_wait(ep, &e, 1, 5000) == 1);
    while (!(events(s, POLLOUT, 5000) & POLLOUT)) {}
    if (blocking) fcntl(s, F_SETFL, 0);
    CHECK(connect_to(s, port_of(l)) == 0);
    FAILS(connect_to(s, port_of(l)), EISCONN);
    e.events = EPOLLIN;
    CHECK(epoll_ctl(ep, EPOLL_CTL_MOD, s, &e) == 0);
    int b = accept(l, NULL, NULL);
    char c;
    CHECK(write(b, "z", 1) == 1);
    CHECK(epoll_wait(ep, &e, 1, 5000) == 1 && (e.events & EPOLLIN));
    CHECK(read(copy, &c, 1) == 1 && c == 'z');
    CHECK(write(copy, "w", 1) == 1 && read(b, &c, 1) == 1 && c == 'w');
    close(b);
    close(s);
    close(copy);
    close(ep);
  }
}

static void refused(int l) {
  int port = closed_port();
  int s = socket(AF_INET, SOCK_STREAM, 0);
  for (int i = 0; i < 4; ++i) FAILS(connect_to(s, port), ECONNREFUSED);
  CHECK(connect_to(s, port_of(l)) == 0);
  talk(l, s);
  close(s);

  /* Without blocking: told by connect() or by SO_ERROR, once; then it may try again. */
  for (int by_option = 0; by_option < 2; ++by_option) {
    s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    int copy = dup(s), high = fcntl(s, F_DUPFD_CLOEXEC, 40), ep = epoll_create1(0);
    struct epoll_event e = {EPOLLIN | EPOLLOUT, {.u64 = 0x123456789abcdefULL}};
    CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, s, &e) == 0);
    struct timeval limit = {3, 0}, seen = {0, 0};
    CHECK(setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
    FAILS(connect_to(s, port), EINPROGRESS);
    CHECK((events(s, POLLIN | POLLOUT, 5000) & (POLLIN | POLLOUT | POLLERR | POLLHUP)) ==
          (POLLIN | POLLOUT | POLLERR | POLLHUP));
    int own = port_of(s);
    CHECK(own > 0 && address_of(s) == INADDR_LOOPBACK);
    if (by_option) {
      CHECK(sock_error(s) == ECONNREFUSED);
      CHECK(sock_error(s) == 0);
      CHECK(address_of(s) == INADDR_LOOPBACK);
      FAILS(connect_to(s, port), ECONNABORTED);
    } else {
      FAILS(connect_to(s, port), ECONNREFUSED);
      CHECK(sock_error(s) == 0); /* told once, by whichever call asks first */
    }
    CHECK(port_of(s) == own && address_of(s) == INADDR_ANY); /* and then forgotten */
    FAILS(connect_to(s, port_of(l)), EINPROGRESS);
    CHECK(epoll_wait(ep, &e, 1, 5000) == 1 && e.data.u64 == 0x123456789abcdefULL);
    talk(l, copy);
    CHECK(sock_error(high) == 0);
    socklen_t n = sizeof seen;
    CHECK(getsockopt(high, SOL_SOCKET, SO_RCVTIMEO, &seen, &n) == 0 && seen.tv_sec == 3);
    CHECK((fcntl(s, F_GETFL) & O_NONBLOCK) && (fcntl(high, F_GETFD) & FD_CLOEXEC));
    e.events = EPOLLIN | EPOLLRDHUP;
    CHECK(epoll_ctl(ep, EPOLL_CTL_MOD, s, &e) == 0);
    CHECK(epoll_wait(ep, &e, 1, 5000) == 1 && (e.events & EPOLLRDHUP));
    close(s);
    close(copy);
    close(high);
    close(ep);
  }
}

static void dissolved(int l) {
  int s = socket(AF_INET, SOCK_STREAM, 0), copy = dup(s);
  char c;
  for (int i = 0; i < 3; ++i) {
    CHECK(connect_to(s, port_of(l)) == 0);
    int b = accept(l, NULL, NULL);
    CHECK(write(copy, "a", 1) == 1 && read(b, &c, 1) == 1);
    FAILS(connect_to(s, port_of(l)), EISCONN);
    CHECK(dissolve(s) == 0);
    CHECK((events(copy, POLLIN | POLLOUT, 0) & ~POLLERR) == (POLLOUT | POLLHUP));
    FAILS(read(s, &c, 1), ECONNRESET);
    FAILS(read(s, &c, 1), ENOTCONN);
    CHECK(events(b, POLLIN, 5000) & POLLIN);
    FAILS(read(b, &c, 1), ECONNRESET);
    close(b);
  }
  CHECK(dissolve(s) == 0);
  CHECK(connect_to(s, port_of(l)) == 0);
  talk(l, copy);
  close(s);
  close(copy);

  /* A connection that was reset stays connected for connect(), until it is dissolved. */
  int a, b;
  tcp_pair(&a, &b);
  struct linger hard = {1, 0};
  setsockopt(b, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  close(b);
  CHECK(events(a, POLLIN, 5000) & POLLERR);
  FAILS(connect_to(a, port_of(l)), EISCONN);
  CHECK(dissolve(a) == 0);
  CHECK(connect_to(a, port_of(l)) == 0);
  talk(l, a);
  close(a);

  /* From connecting to listening. */
  s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  FAILS(connect_to(s, closed_port()), EINPROGRESS);
  CHECK(events(s, POLLOUT, 5000) & POLLOUT);
  CHECK(sock_error(s) == ECONNREFUSED);
  FAILS(listen(s, 3), EINVAL);
  FAILS(connect_to(s, port_of(l)), ECONNABORTED);
  CHECK(listen(s, 3) == 0);
  a = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(connect_to(a, port_of(s)) == 0);
  talk(s, a);
  close(a);
  close(s);
}

static pthread_t victim;
static volatile int over;
static void nothing(int n) { (void)n; }
static void* pest(void* arg) {
  (void)arg;
  for (unsigned us = 30; !over; us = us > 400 ? 30 : us + 17) {
    usleep(us);
    pthread_kill(victim, SIGUSR1);
  }
  return NULL;
}
static void* echo_one(void* arg) {
  for (;;) {
    char c;
    int d = accept(*(int*)arg, NULL, NULL);
    if (d < 0) return NULL;
    if (recv(d, &c, 1, 0) == 1) send(d, &c, 1, MSG_NOSIGNAL);
    close(d);
  }
}

static void interrupted(void) {
  int l = listener(100), before = 0, lost = 0, odd = 0;
  struct sigaction sa;
  memset(&sa, 0, sizeof sa);
  sa.sa_handler = nothing;
  sigaction(SIGUSR1, &sa, NULL);
  sigset_t m;
  sigemptyset(&m);
  sigaddset(&m, SIGUSR1);
  victim = pthread_self();
  pthread_t server, signals;
  pthread_sigmask(SIG_BLOCK, &m, NULL);
  pthread_create(&server, NULL, echo_one, &l);
  pthread_sigmask(SIG_UNBLOCK, &m, NULL);
  pthread_create(&signals, NULL, pest, NULL);
  struct sockaddr_in at = loopback(port_of(l));
  for (int i = 0; i < 300; ++i) {
    if (i == 50) before = open_descriptors();
    int c = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(c, (struct sockaddr*)&at, sizeof at) != 0) {
      if (errno != EINTR) ++odd;
      struct pollfd q = {c, POLLOUT, 0};
      while (poll(&q, 1, 5000) < 0) {}
      if (!(q.revents & POLLOUT) || sock_error(c) != 0) ++odd;
    }
    char b = 'x';
    while (send(c, &b, 1, MSG_NOSIGNAL) < 0 && errno == EINTR) {}
    struct timeval tv = {5, 0};
    setsockopt(c, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv);
    ssize_t n;
    while ((n = recv(c, &b, 1, 0)) < 0 && errno == EINTR) {}
    if (n != 1) ++lost;
    close(c);
  }
  over = 1;
  pthread_join(signals, NULL);
  CHECK(lost == 0);
  CHECK(odd == 0);
  CHECK(open_descriptors() <= before + 2);
  shutdown(l, SHUT_RDWR);
  pthread_join(server, NULL);
  close(l);
}

/* A listener whose queue is full keeps connect() waiting: Linux drops the SYN. */
static int full_listener(int* first, int* count) {
  int l = listener(0);
  for (*count = 0; *count < 8;) {
    int s = first[(*count)++] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    connect_to(s, port_of(l));
    if (events(s, POLLOUT, 2000) == 0) break;
  }
  return l;
}

static void* shut_later(void* arg) {
  usleep(200000);
  CHECK(shutdown(*(int*)arg, SHUT_RDWR) == 0);
  return NULL;
}

static void shut_by_another_thread(void) {
  int first[8], count, l = full_listener(first, &count), s = socket(AF_INET, SOCK_STREAM, 0);
  pthread_t t;
  pthread_create(&t, NULL, shut_later, &s);
  int r = connect_to(s, port_of(l)), e = errno;
  pthread_join(t, NULL);
  CHECK(r == -1 && (e == ECONNRESET || e == ECONNABORTED));
  if (r == -1) printf("shut while connecting: errno %d\n", e);
  int open = listener(3);
  CHECK(connect_to(s, port_of(open)) == 0);
  talk(open, s);
  close(s);

  /* A time-out: the connect goes on, and says so. */
  s = socket(AF_INET, SOCK_STREAM, 0);
  struct timeval limit = {0, 100000};
  setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  FAILS(connect_to(s, port_of(l)), EINPROGRESS);
  CHECK(events(s, POLLIN | POLLOUT, 0) == 0);
  FAILS(connect_to(s, port_of(l)), EALREADY);
  close(s);
  while (count > 0) close(first[--count]);
  close(l);
  close(open);
}

/* Nothing is taken before there is a connection, which a send that waits waits for. */
static void sends_while_connecting(void) {
  int first[8], count, l = full_listener(first, &count);
  int s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  static char bytes[100000];
  struct iovec v = {bytes, 10};
  struct msghdr m = {NULL, 0, &v, 1, NULL, 0, 0};
  FAILS(connect_to(s, port_of(l)), EINPROGRESS);
  int copies[4] = {dup(s), fcntl(s, F_DUPFD_CLOEXEC, 0), dup2(s, 90), dup3(s, 91, O_CLOEXEC)};
  for (int i = 0; i < 4; ++i) {
    FAILS(send(copies[i], bytes, 1, 0), EAGAIN);
    if (i == 0) close(s);
    FAILS(write(copies[i], bytes, sizeof bytes), EAGAIN);
  }
  s = copies[0];
  for (int i = 1; i < 4; ++i) close(copies[i]);
  for (int i = 0; i < 2; ++i) {
    FAILS(send(s, bytes, 1, 0), EAGAIN);
    FAILS(write(s, bytes, sizeof bytes), EAGAIN);
    FAILS(writev(s, &v, 1), EAGAIN);
    FAILS(sendmsg(s, &m, 0), EAGAIN);
    FAILS(sendto(s, bytes, 1, MSG_MORE, NULL, 0), EAGAIN);
    FAILS(sendfile(s, open("/proc/self/exe", O_RDONLY | O_CLOEXEC), NULL, 10), EAGAIN);
  }
  CHECK(fcntl(s, F_SETFL, 0) == 0);
  struct timeval limit = {0, 50000}, never = {0, 0};
  setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  FAILS(write(s, bytes, 10), EAGAIN);
  setsockopt(s, SOL_SOCKET, SO_SNDTIMEO, &never, sizeof never);
  /* There is room when the others are gone; the next SYN of this one finds it. */
  while (count > 0) close(first[--count]);
  while (events(l, POLLIN, 200) & POLLIN) close(accept(l, NULL, NULL));
  CHECK(write(s, "now", 3) == 3);
  int b = -1;
  do {
    if (b >= 0) close(b);
    b = accept(l, NULL, NULL);
    struct sockaddr_in from;
    socklen_t n = sizeof from;
    CHECK(b >= 0 && getpeername(b, (struct sockaddr *)&from, &n) == 0);
    if (ntohs(from.sin_port) == port_of(s)) break;
  } while (b >= 0);
  CHECK(recv(b, bytes, sizeof bytes, 0) == 3 && memcmp(bytes, "now", 3) == 0);
  close(b);
  close(s);
  close(l);
}

/* A connect() that was interrupted and then fails: each later one begins anew. */
static void interrupted_and_refused(void) {
  int first[8], count, l = full_listener(first, &count), port = port_of(l);
  struct sigaction sa;
  memset(&sa, 0, sizeof sa);
  sa.sa_handler = nothing;
  sigaction(SIGUSR2, &sa, NULL);
  int s = socket(AF_INET, SOCK_STREAM, 0);
  const pid_t parent = getpid(), child = fork();
  if (child == 0) {
    for (;;) {
      usleep(20000);
      if (kill(parent, SIGUSR2) != 0 || getppid() != parent) _exit(0);
    }
  }
  FAILS(connect_to(s, port), EINTR);
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  while (count > 0) close(first[--count]);
  close(l);
  for (int i = 0; i < 3; ++i) FAILS(connect_to(s, port), ECONNREFUSED);
  CHECK(fcntl(s, F_SETFL, O_NONBLOCK) == 0);
  FAILS(connect_to(s, port), EINPROGRESS);
  close(s);
}

/* What was shut before there was a connection is shut in it, though no segment tells the peer. */
static void shut_before(int l) {
  char room[8];
  for (int how = SHUT_RD; how <= SHUT_RDWR; ++how) {
    int s = socket(AF_INET, SOCK_STREAM, 0);
    FAILS(shutdown(s, how), ENOTCONN);
    CHECK(connect_to(s, port_of(l)) == 0);
    int b = accept(l, NULL, NULL), both = how == SHUT_RDWR;
    const short ended = how == SHUT_WR ? 0 : POLLIN | POLLRDHUP | (both ? POLLHUP : 0);
    CHECK(events(s, POLLIN | POLLOUT | POLLRDHUP, 0) == (POLLOUT | ended));
    if (how == SHUT_RD) {
      CHECK(send(s, "x", 1, 0) == 1 && recv(b, room, 1, 0) == 1);
    } else {
      FAILS(send(s, "x", 1, MSG_NOSIGNAL), EPIPE);
    }
    if (how == SHUT_WR) {
      FAILS(recv(s, room, 1, MSG_DONTWAIT), EAGAIN);
    } else {
      CHECK(recv(s, room, 1, 0) == 0);
    }
    FAILS(recv(b, room, 1, MSG_DONTWAIT), EAGAIN);
    CHECK(send(b, "hello", 5, 0) == 5);
    ssize_t got = 0;
    while (got <= 0) got = recv(s, room, sizeof room, MSG_DONTWAIT);
    CHECK(got == 5);
    CHECK(shutdown(s, SHUT_WR) == 0 && recv(b, room, 1, 0) == 0);
    close(s);
    close(b);
  }
  int s = socket(AF_INET, SOCK_STREAM, 0);
  FAILS(shutdown(s, SHUT_RDWR), ENOTCONN);
  FAILS(connect_to(s, closed_port()), ECONNREFUSED);
  CHECK(connect_to(s, port_of(l)) == 0);
  talk(l, s);
  close(s);
}

/* A listen() that fails leaves what is unread, and the error behind it. */
static void failed_listen(void) {
  char room[8];
  int a, b;
  struct linger hard = {1, 0};
  tcp_pair(&a, &b);
  CHECK(send(b, "unread", 6, 0) == 6);
  CHECK(events(a, POLLIN, 5000) == POLLIN);
  CHECK(setsockopt(b, SOL_SOCKET, SO_LINGER, &hard, sizeof hard) == 0);
  close(b);
  CHECK(events(a, 0, 5000) & POLLERR);
  FAILS(listen(a, 3), EINVAL);
  CHECK(recv(a, room, sizeof room, 0) == 6);
  FAILS(recv(a, room, sizeof room, 0), ECONNRESET);
  close(a);
}

int main(void) {
  alarm(60);
  signal(SIGPIPE, SIG_IGN);
  int l = listener(16);
  int before = open_descriptors();
  repeated_after_success(l);
  refused(l);
  dissolved(l);
  CHECK(open_descriptors() <= before + 1);
  shut_by_another_thread();
  sends_while_connecting();
  interrupted_and_refused();
  shut_before(l);
  failed_listen();
  interrupted();
  close(l);
  FINISH();
}
