/* Blocking calls: time-outs, signals with and without restart, wake-ups, edges. */
#include "check.h"
#include <pthread.h>

static int alarms;
static void on_alarm(int sig) {
  (void)sig;
  ++alarms;
}

static void handle_alarm(int flags) {
  struct sigaction sa;
  memset(&sa, 0, sizeof sa);
  sa.sa_handler = on_alarm;
  sa.sa_flags = flags;
  sigaction(SIGALRM, &sa, NULL);
}

static void alarm_in_ms(int ms) {
  struct itimerval t = {{0, 0}, {ms / 1000, ms % 1000 * 1000}};
  setitimer(ITIMER_REAL, &t, NULL);
}

static void *write_later(void *arg) {
  usleep(150000);
  CHECK(write(*(int *)arg, "late", 4) == 4);
  return NULL;
}

static void *connect_later(void *arg) {
  usleep(150000);
  int s = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(connect_to(s, *(int *)arg) == 0);
  close(s);
  return NULL;
}

int main(void) {
  char buf[1000];
  int a, b;
  tcp_pair(&a, &b);

  struct timeval limit = {0, 50000}, seen = {0, 0};
  socklen_t n = sizeof seen;
  CHECK(setsockopt(a, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
  CHECK(getsockopt(a, SOL_SOCKET, SO_RCVTIMEO, &seen, &n) == 0 && seen.tv_sec == 0);
  CHECK(seen.tv_usec >= 50000 && seen.tv_usec < 60000);
  FAILS(read(a, buf, 1), EAGAIN);
  FAILS(recv(a, buf, 1, 0), EAGAIN);

  /* With a time-out, a signal always interrupts. */
  limit.tv_sec = 5;
  CHECK(setsockopt(a, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
  handle_alarm(SA_RESTART);
  alarm_in_ms(50);
  FAILS(recv(a, buf, 1, 0), EINTR);
  CHECK(alarms == 1);

  /* Without, SA_RESTART decides. */
  handle_alarm(0);
  alarm_in_ms(50);
  FAILS(read(b, buf, 1), EINTR);
  handle_alarm(SA_RESTART);
  alarm_in_ms(50);
  pthread_t t;
  pthread_create(&t, NULL, write_later, &a);
  CHECK(read(b, buf, 10) == 4 && alarms == 3);
  pthread_join(t, NULL);

  int l = listener(3), port = port_of(l);
  handle_alarm(0);
  alarm_in_ms(50);
  FAILS(accept(l, NULL, NULL), EINTR);
  handle_alarm(SA_RESTART);
  alarm_in_ms(50);
  pthread_create(&t, NULL, connect_later, &port);
  int c = accept(l, NULL, NULL);
  CHECK(c >= 0 && alarms == 5);
  pthread_join(t, NULL);
  close(c);
  limit = (struct timeval){0, 50000};
  CHECK(setsockopt(l, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
  FAILS(accept(l, NULL, NULL), EAGAIN);

  /* A full connection blocks the writer; the reader's progress wakes it. */
  CHECK(fcntl(a, F_SETFL, O_NONBLOCK) == 0);
  static char block[65536];
  long sent = 0, got = 0;
  int ep = epoll_create1(0);
  struct epoll_event ev = {EPOLLOUT | EPOLLET, {0}};
  CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, a, &ev) == 0);
  CHECK(epoll_wait(ep, &ev, 1, 5000) == 1);
  /* Nobody reads: there is an end of it, however slowly the buffers take it. */
  do {
    for (ssize_t w; (w = write(a, block, sizeof block)) > 0;) sent += w;
  } while ((epoll_wait(ep, &ev, 1, 300) == 1 || (events(a, POLLOUT, 0) & POLLOUT)) &&
           sent < 1l << 30);
  CHECK(sent < 1l << 30);
  int queued = 0;
  CHECK(ioctl(a, TIOCOUTQ, &queued) == 0 && queued > 0);
  while (got < sent) {
    ssize_t r = read(b, block, sizeof block);
    CHECK(r > 0);
    if (r <= 0) break;
    got += r;
  }
  CHECK(got == sent);
  CHECK(epoll_wait(ep, &ev, 1, 5000) == 1 && (ev.events & EPOLLOUT));

  /* Edge-triggered input: one edge per arrival, none without. */
  ev.events = EPOLLIN | EPOLLET;
  CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, b, &ev) == 0);
  ev.events = EPOLLIN | EPOLLET;
  CHECK(epoll_ctl(ep, EPOLL_CTL_DEL, a, &ev) == 0);
  for (int i = 0; i < 20; ++i) {
    CHECK(write(a, "e", 1) == 1);
    CHECK(epoll_wait(ep, &ev, 1, 5000) == 1);
    CHECK(epoll_wait(ep, &ev, 1, 0) == 0);
  }
  CHECK(recv(b, buf, 1000, 0) == 20);

  /* SIGIO. */
  signal(SIGIO, on_alarm);
  CHECK(fcntl(b, F_SETOWN, getpid()) == 0 && fcntl(b, F_SETFL, O_ASYNC) == 0);
  alarms = 0;
  CHECK(write(a, "s", 1) == 1);
  for (int i = 0; i < 1000 && alarms == 0; ++i) usleep(1000);
  CHECK(alarms > 0);
  FINISH();
}
