/* Descriptor numbers and what programs do with them: lowest number, dup over, sweeps, passing. */
#include "check.h"
#include <pthread.h>
#include <sys/un.h>

static int pass(int through, int fd) {
  char byte = 'x', control[CMSG_SPACE(sizeof(int))] = {0};
  struct iovec v = {&byte, 1};
  struct msghdr m = {0};
  m.msg_iov = &v;
  m.msg_iovlen = 1;
  m.msg_control = control;
  m.msg_controllen = sizeof control;
  if (fd >= 0) {
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    h->cmsg_level = SOL_SOCKET;
    h->cmsg_type = SCM_RIGHTS;
    h->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(h), &fd, sizeof fd);
    return (int)sendmsg(through, &m, 0);
  }
  if (recvmsg(through, &m, 0) != 1 || CMSG_FIRSTHDR(&m) == NULL) return -1;
  memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof fd);
  return fd;
}

static void *read_one(void *arg) {
  char c;
  return (void *)(long)read(*(int *)arg, &c, 1);
}

int main(void) {
  char buf[100];
  /* The lowest number, also while others are freed. */
  int first = socket(AF_INET, SOCK_STREAM, 0), second = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(second == first + 1);
  close(first);
  CHECK(socket(AF_INET, SOCK_DGRAM, 0) == first);
  close(first);
  close(second);

  /* A sweep over all descriptors leaves a working program. */
  for (int fd = 3; fd < 4096; ++fd) close(fd);
  int a, b;
  tcp_pair(&a, &b);
  CHECK(write(a, "x", 1) == 1 && read(b, buf, 1) == 1);
  CHECK(close_range(3, ~0u, 0) == 0);
  tcp_pair(&a, &b);
  CHECK(write(a, "x", 1) == 1 && read(b, buf, 1) == 1);

  /* Files over all numbers in use: nothing of ours may write into them. */
  char path[] = "/tmp/ph_descriptors_XXXXXX";
  int file = mkstemp(path);
  for (int fd = 1000; fd < 1200; ++fd) dup2(file, fd);
  int s = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(s >= 0 && bind_to(s, 0) == 0 && port_of(s) > 0);
  struct { long size; } end = {lseek(file, 0, SEEK_END)};
  CHECK(end.size == 0);
  for (int fd = 1000; fd < 1200; ++fd) close(fd);
  close(file);
  unlink(path);

  /* dup, dup2 over a socket, and the port that is free at the last close only. */
  int port = port_of(s);
  CHECK(listen(s, 1) == 0);
  int copy = dup(s);
  close(s);
  int other = socket(AF_INET, SOCK_STREAM, 0);
  FAILS(bind_to(other, port), EADDRINUSE);
  CHECK(port_of(copy) == port);
  CHECK(dup2(other, copy) == copy);
  CHECK(bind_to(other, port) == 0);
  close(other);
  close(copy);

  /* A socket passed to ourselves is the same socket. */
  int pipe_[2];
  CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, pipe_) == 0);
  CHECK(pass(pipe_[0], a) == 1);
  int received = pass(pipe_[1], -1);
  CHECK(received >= 0 && port_of(received) == port_of(a));
  close(a);
  CHECK(write(received, "passed", 6) == 6 && read(b, buf, 100) == 6);

  /* dup2 over a socket while a thread reads it: the reader stays with the old one. */
  pthread_t t;
  pthread_create(&t, NULL, read_one, &b);
  usleep(50000);
  int null = open("/dev/null", O_RDWR);
  CHECK(dup2(null, b) == b);
  CHECK(write(received, "y", 1) == 1);
  void *result;
  pthread_join(t, &result);
  CHECK((long)result == 1);
  close(received);

  /* A stale number reused by a file is a file. */
  s = socket(AF_INET, SOCK_STREAM, 0);
  close(s);
  int f = open("/dev/null", O_RDWR);
  CHECK(f == s && write(f, "x", 1) == 1 && read(f, buf, 1) == 0);
  FAILS(bind_to(f, 0), ENOTSOCK);
  FAILS(send(f, "x", 1, 0), ENOTSOCK);
  FAILS(socket(AF_INET, 99, 0), EINVAL);
  FAILS(bind_to(9999, 0), EBADF);

  /* Sockets of other families are the kernel's. */
  struct sockaddr_un un = {AF_UNIX, {0}};
  int u = socket(AF_UNIX, SOCK_DGRAM, 0);
  CHECK(bind(u, (struct sockaddr *)&un, sizeof(sa_family_t)) == 0);
  socklen_t n = sizeof un;
  CHECK(getsockname(u, (struct sockaddr *)&un, &n) == 0 && un.sun_family == AF_UNIX);
  CHECK(sendto(u, "self", 4, 0, (struct sockaddr *)&un, n) == 4);
  struct sockaddr_un from;
  socklen_t m = sizeof from;
  CHECK(recvfrom(u, buf, 100, 0, (struct sockaddr *)&from, &m) == 4 && m == n);
  CHECK(memcmp(&from, &un, n) == 0);
  FINISH();
}
