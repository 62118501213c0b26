/* What the small test programs share: a check that says what failed, and loopback addresses. */
#pragma once

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int failures;

#define CHECK(condition)                                                                    \
  do {                                                                                      \
    errno = 0;                                                                              \
    if (!(condition)) {                                                                     \
      int e = errno;                                                                        \
      printf("%s:%d: %s  (errno %d %s)\n", __FILE__, __LINE__, #condition, e, strerror(e)); \
      fflush(stdout);                                                                       \
      ++failures;                                                                           \
    }                                                                                       \
  } while (0)
#define FAILS(call, error) CHECK((call) == -1 && errno == (error))
#define FINISH() return failures != 0

static inline struct sockaddr_in loopback(int port) {
  struct sockaddr_in a;
  memset(&a, 0, sizeof a);
  a.sin_family = AF_INET;
  a.sin_port = htons((unsigned short)port);
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return a;
}

static inline int port_of(int fd) {
  struct sockaddr_in a;
  socklen_t n = sizeof a;
  if (getsockname(fd, (struct sockaddr *)&a, &n) != 0) return -1;
  return ntohs(a.sin_port);
}

static inline uint32_t address_of(int fd) {
  struct sockaddr_in a;
  socklen_t n = sizeof a;
  if (getsockname(fd, (struct sockaddr *)&a, &n) != 0) return INADDR_NONE;
  return ntohl(a.sin_addr.s_addr);
}

static inline int connect_to(int fd, int port) {
  struct sockaddr_in a = loopback(port);
  return connect(fd, (struct sockaddr *)&a, sizeof a);
}

static inline int bind_to(int fd, int port) {
  struct sockaddr_in a = loopback(port);
  return bind(fd, (struct sockaddr *)&a, sizeof a);
}

/* A TCP listener on a free port. */
static inline int listener(int backlog) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(fd >= 0);
  CHECK(bind_to(fd, 0) == 0);
  CHECK(listen(fd, backlog) == 0);
  return fd;
}

/* A connected pair of TCP sockets. */
static inline void tcp_pair(int *a, int *b) {
  int l = listener(4);
  *a = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(connect_to(*a, port_of(l)) == 0);
  *b = accept(l, NULL, NULL);
  CHECK(*b >= 0);
  close(l);
}

/* The events of a descriptor, waiting up to ms for any of `wanted`. */
static inline short events(int fd, short wanted, int ms) {
  struct pollfd p = {fd, wanted, 0};
  poll(&p, 1, ms);
  return p.revents;
}

static inline int sock_error(int fd) {
  int e = -1;
  socklen_t n = sizeof e;
  getsockopt(fd, SOL_SOCKET, SO_ERROR, &e, &n);
  return e;
}
