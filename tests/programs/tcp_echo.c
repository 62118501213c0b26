/* Bytes through a TCP connection, by every kind of call; addresses on both sides. */
#include "check.h"
#include <pthread.h>
#include <sys/sendfile.h>

enum { total = 3 * 1000 * 1000 };

static void *echo(void *arg) {
  int fd = *(int *)arg;
  static char buf[70000];
  ssize_t n;
  while ((n = read(fd, buf, sizeof buf)) > 0) {
    for (ssize_t at = 0; at < n;) {
      ssize_t w = write(fd, buf + at, (size_t)(n - at));
      if (w <= 0) return NULL;
      at += w;
    }
  }
  shutdown(fd, SHUT_WR);
  return NULL;
}

static void *send_all(void *arg) {
  int fd = *(int *)arg;
  static char buf[50000];
  for (int at = 0; at < total;) {
    int n = total - at < (int)sizeof buf ? total - at : (int)sizeof buf;
    for (int i = 0; i < n; ++i) buf[i] = (char)((at + i) * 31 >> 3);
    ssize_t w = send(fd, buf, (size_t)n, 0);
    if (w <= 0) return NULL;
    at += (int)w;
  }
  shutdown(fd, SHUT_WR);
  return NULL;
}

int main(void) {
  int l = listener(8);
  int a = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(connect_to(a, port_of(l)) == 0);
  struct sockaddr_in peer, own, seen;
  socklen_t n = sizeof peer;
  int b = accept(l, (struct sockaddr *)&peer, &n);
  CHECK(b >= 0 && n == sizeof peer && peer.sin_family == AF_INET);
  n = sizeof own;
  CHECK(getsockname(a, (struct sockaddr *)&own, &n) == 0);
  CHECK(own.sin_port == peer.sin_port && own.sin_addr.s_addr == peer.sin_addr.s_addr);
  n = sizeof seen;
  CHECK(getpeername(b, (struct sockaddr *)&seen, &n) == 0 && seen.sin_port == own.sin_port);
  n = sizeof seen;
  CHECK(getsockname(b, (struct sockaddr *)&seen, &n) == 0 && ntohs(seen.sin_port) == port_of(l));
  n = sizeof seen;
  CHECK(getpeername(a, (struct sockaddr *)&seen, &n) == 0 && ntohs(seen.sin_port) == port_of(l));

  pthread_t t, s;
  pthread_create(&t, NULL, echo, &b);
  pthread_create(&s, NULL, send_all, &a);
  static char buf[60000];
  int at = 0, wrong = 0;
  for (ssize_t r; (r = recv(a, buf, sizeof buf, 0)) > 0; at += (int)r) {
    for (int i = 0; i < (int)r; ++i) wrong += buf[i] != (char)((at + i) * 31 >> 3);
  }
  CHECK(at == total && wrong == 0);
  pthread_join(t, NULL);
  pthread_join(s, NULL);
  close(a);
  close(b);

  tcp_pair(&a, &b);
  char out[3][4] = {"abc", "def", "ghi"};
  struct iovec v[3] = {{out[0], 3}, {out[1], 3}, {out[2], 3}};
  CHECK(writev(a, v, 3) == 9);
  CHECK(recv(b, buf, 4, MSG_PEEK) == 4 && memcmp(buf, "abcd", 4) == 0);
  CHECK(recv(b, buf, 9, MSG_WAITALL) == 9 && memcmp(buf, "abcdefghi", 9) == 0);
  struct msghdr m = {0};
  m.msg_iov = v;
  m.msg_iovlen = 3;
  CHECK(sendmsg(a, &m, 0) == 9);
  struct sockaddr_storage from;
  m.msg_name = &from;
  m.msg_namelen = sizeof from;
  CHECK(recvmsg(b, &m, MSG_WAITALL) == 9 && m.msg_namelen == 0);
  n = sizeof from;
  CHECK(sendto(a, "xy", 2, 0, NULL, 0) == 2);
  CHECK(recvfrom(b, buf, 9, 0, (struct sockaddr *)&from, &n) == 2 && n == 0);
  struct iovec many[1000];
  for (int i = 0; i < 1000; ++i) many[i] = (struct iovec){&out[i % 3][0], 1};
  m = (struct msghdr){0};
  m.msg_iov = many;
  m.msg_iovlen = 1000;
  CHECK(sendmsg(a, &m, 0) == 1000);
  CHECK(recv(b, buf, 1000, MSG_WAITALL) == 1000 && buf[0] == 'a' && buf[1] == 'd');
  CHECK(send(a, "discard", 7, 0) == 7);
  CHECK(recv(b, NULL, 4, MSG_TRUNC) == 4);
  CHECK(recv(b, buf, 10, 0) == 3 && memcmp(buf, "ard", 3) == 0);

  FILE *f = tmpfile();
  fputs("from a file", f);
  fflush(f);
  off_t offset = 0;
  CHECK(sendfile(a, fileno(f), &offset, 11) == 11);
  CHECK(recv(b, buf, 11, MSG_WAITALL) == 11 && memcmp(buf, "from a file", 11) == 0);

  /* fclose of fdopen closes the socket inside libc. */
  FILE *stream = fdopen(a, "w");
  fputs("stdio", stream);
  CHECK(fclose(stream) == 0);
  CHECK(recv(b, buf, 100, MSG_WAITALL) == 5);
  CHECK(fcntl(a, F_GETFD) == -1);
  FINISH();
}
