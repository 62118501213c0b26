/* Who waits for room in a full buffer is woken by the own end of writing, whichever way it waits:
 * there will be none, and a write says so. And splice(2) waits for a socket that does. */
#include "check.h"

#include <pthread.h>
#include <sys/select.h>

enum way { by_poll, by_epoll, by_edge, by_select, by_send, by_send_more, ways };

struct waiter {
  int fd;
  enum way way;
  int woken; /* 1, or the errno of a send */
};

static void* wait_for_room(void* arg) {
  static char bytes[3000000];
  struct waiter* const w = arg;
  struct timeval limit = {20, 0};
  struct epoll_event e = {EPOLLOUT | (w->way == by_edge ? EPOLLET : 0), {.fd = w->fd}};
  fd_set set;
  int ep;
  switch (w->way) {
    case by_poll: w->woken = (events(w->fd, POLLOUT, 20000) & POLLOUT) != 0; break;
    case by_epoll:
    case by_edge:
      ep = epoll_create1(0);
      CHECK(epoll_ctl(ep, EPOLL_CTL_ADD, w->fd, &e) == 0);
      w->woken = epoll_wait(ep, &e, 1, 20000) == 1 && (e.events & EPOLLOUT);
      close(ep);
      break;
    case by_select:
      FD_ZERO(&set);
      FD_SET(w->fd, &set);
      w->woken = select(w->fd + 1, NULL, &set, NULL, &limit) == 1;
      break;
    default: {
      const int more = w->way == by_send_more ? MSG_MORE : 0;
      while (send(w->fd, bytes, sizeof bytes, more) > 0) {}
      w->woken = errno;
    }
  }
  return NULL;
}

/* As much as goes in. */
static void fill(int fd) {
  static char bytes[65536];
  CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
  while (events(fd, POLLOUT, 100) & POLLOUT) {
    while (send(fd, bytes, sizeof bytes, 0) > 0) {}
  }
  CHECK(fcntl(fd, F_SETFL, 0) == 0);
}

static void woken_by_own_end(enum way way, int how, int by_process) {
  static char room[65536];
  int a, b;
  pthread_t thread;
  tcp_pair(&a, &b);
  fill(a);
  struct waiter w = {a, way, 0};
  CHECK(pthread_create(&thread, NULL, wait_for_room, &w) == 0);
  usleep(20000); /* it waits by now, or finds it shut */
  if (by_process) {
    pid_t child = fork();
    if (child == 0) _exit(shutdown(a, how) != 0);
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
  } else {
    CHECK(shutdown(a, how) == 0);
  }
  CHECK(pthread_join(thread, NULL) == 0);
  CHECK(w.woken == (way < by_send ? 1 : EPIPE));
  CHECK((events(a, POLLOUT, 0) & (POLLOUT | POLLHUP)) ==
        (POLLOUT | (how == SHUT_RDWR ? POLLHUP : 0)));
  FAILS(send(a, room, 1, MSG_NOSIGNAL), EPIPE);
  FAILS(send(a, room, 1, MSG_NOSIGNAL | MSG_MORE), EPIPE);
  ssize_t n;
  while ((n = read(b, room, sizeof room)) > 0) {}
  CHECK(n == 0);
  close(a);
  close(b);
}

static void* write_later(void* arg) {
  usleep(20000);
  CHECK(write(*(int*)arg, "abc", 3) == 3);
  return NULL;
}

/* SPLICE_F_NONBLOCK is about the pipe. */
static void splice_waits(void) {
  int a, b, ends[2];
  char room[8];
  pthread_t thread;
  struct timeval limit = {0, 50000};
  tcp_pair(&a, &b);
  CHECK(pipe(ends) == 0);
  CHECK(pthread_create(&thread, NULL, write_later, &a) == 0);
  CHECK(splice(b, NULL, ends[1], NULL, 8, SPLICE_F_NONBLOCK) == 3);
  CHECK(pthread_join(thread, NULL) == 0 && read(ends[0], room, 8) == 3);
  CHECK(setsockopt(b, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0);
  FAILS(splice(b, NULL, ends[1], NULL, 8, SPLICE_F_NONBLOCK), EAGAIN);
  CHECK(fcntl(b, F_SETFL, O_NONBLOCK) == 0);
  FAILS(splice(b, NULL, ends[1], NULL, 8, SPLICE_F_NONBLOCK), EAGAIN);
  for (int i = 0; i < 2; ++i) close(ends[i]);
  close(a);
  close(b);
}

int main(void) {
  alarm(60);
  signal(SIGPIPE, SIG_IGN);
  for (int way = 0; way < ways; ++way) {
    woken_by_own_end(way, SHUT_WR, 0);
    woken_by_own_end(way, SHUT_RDWR, 0);
  }
  woken_by_own_end(by_poll, SHUT_WR, 1);
  woken_by_own_end(by_send_more, SHUT_WR, 1);
  splice_waits();
  int l = listener(1);
  char c;
  FAILS(recv(l, &c, 1, MSG_OOB), ENOTCONN);
  close(l);
  FINISH();
}
