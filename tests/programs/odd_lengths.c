/* Lengths that mean nothing, and bad pointers that are found late: what the calls say of them, and
 * what has become of the data. */
#include <limits.h>
#include <stdint.h>
#include <sys/mman.h>
#include "check.h"

static void* nowhere; /* a page that cannot be touched */

static int udp(void) {
  int s = socket(AF_INET, SOCK_DGRAM, 0);
  CHECK(s >= 0 && bind_to(s, 0) == 0);
  return s;
}

static void names(int s) {
  struct sockaddr_in a = loopback(port_of(s));
  int fresh = socket(AF_INET, SOCK_STREAM, 0);
  FAILS(bind(fresh, (struct sockaddr*)&a, (socklen_t)-1), EINVAL);
  FAILS(bind(fresh, (struct sockaddr*)&a, 200), EINVAL);
  FAILS(connect(fresh, (struct sockaddr*)&a, (socklen_t)-1), EINVAL);
  FAILS(setsockopt(s, SOL_SOCKET, SO_RCVBUF, NULL, (socklen_t)-1), EINVAL);
  FAILS(sendto(s, "x", 1, 0, (struct sockaddr*)&a, 200), EINVAL);
  close(fresh);
}

static void sends(int s) {
  struct sockaddr_storage to;
  struct sockaddr_in a = loopback(port_of(s));
  char byte;
  memset(&to, 0, sizeof to);
  memcpy(&to, &a, sizeof a);
  struct iovec piece = {"x", 1};
  struct msghdr m;
  memset(&m, 0, sizeof m);
  m.msg_iov = &piece;
  m.msg_iovlen = 1;
  m.msg_name = &to;
  m.msg_namelen = 200; /* more than any address: cut */
  CHECK(sendmsg(s, &m, 0) == 1 && recv(s, &byte, 1, 0) == 1);
  m.msg_namelen = (socklen_t)-1;
  FAILS(sendmsg(s, &m, 0), EINVAL);
  m.msg_namelen = sizeof a;
  m.msg_controllen = 64; /* of nothing */
  FAILS(sendmsg(s, &m, 0), EFAULT);
  m.msg_controllen = SIZE_MAX;
  FAILS(sendmsg(s, &m, 0), ENOBUFS);
  m.msg_controllen = 0;
  piece.iov_len = (size_t)-1;
  FAILS(sendmsg(s, &m, 0), EINVAL);
}

static void receives(int s) {
  struct sockaddr_in a = loopback(port_of(s)), from;
  char bytes[8];
  int on = 1;
  CHECK(setsockopt(s, IPPROTO_IP, IP_RECVTTL, &on, sizeof on) == 0);
  for (int i = 0; i < 3; i++) {
    CHECK(sendto(s, "abcd", 4, 0, (struct sockaddr*)&a, sizeof a) == 4);
  }
  struct iovec piece = {bytes, sizeof bytes};
  struct msghdr m;
  memset(&m, 0, sizeof m);
  m.msg_iov = &piece;
  m.msg_iovlen = 1;
  m.msg_control = nowhere;
  m.msg_controllen = 64;
  CHECK(recvmsg(s, &m, 0) == 4 && m.msg_controllen == 0);
  FAILS(recvfrom(s, bytes, sizeof bytes, 0, (struct sockaddr*)&from, nowhere), EFAULT);
  socklen_t len = (socklen_t)-1;
  FAILS(recvfrom(s, bytes, sizeof bytes, 0, (struct sockaddr*)&from, &len), EINVAL);
  FAILS(recv(s, bytes, sizeof bytes, MSG_DONTWAIT), EAGAIN);
}

/* More than one call moves is cut, not refused. */
static void beyond_all_measure(int s) {
  static char room[16];
  struct sockaddr_in to = loopback(port_of(s)), from;
  socklen_t len = sizeof from;
  const size_t much = (size_t)1 << 31;
  struct iovec pieces[2] = {{room, 4}, {room + 4, much}};
  struct msghdr m = {&from, len, pieces, 2, NULL, 0, 0};
  for (int i = 0; i < 4; ++i) {
    CHECK(sendto(s, "abcdef", 6, 0, (struct sockaddr*)&to, sizeof to) == 6);
  }
  CHECK(recvfrom(s, room, much, 0, (struct sockaddr*)&from, &len) == 6);
  CHECK(recvmsg(s, &m, 0) == 6 && memcmp(room, "abcdef", 6) == 0);
  CHECK(recv(s, room, much, MSG_TRUNC) == 6);
  CHECK(recv(s, room, much, 0) == 6);
}

static void streams(void) {
  int l = socket(AF_INET, SOCK_STREAM, 0), c = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(bind_to(l, 0) == 0 && listen(l, 1) == 0 && connect_to(c, port_of(l)) == 0);
  int s = accept(l, NULL, NULL);
  char name[16];
  char byte;
  struct iovec piece = {&byte, 1};
  struct msghdr m;
  memset(&m, 0, sizeof m);
  m.msg_iov = &piece;
  m.msg_iovlen = 1;
  m.msg_name = name;
  m.msg_namelen = (socklen_t)-1;
  FAILS(recvmsg(s, &m, MSG_DONTWAIT), EINVAL);
  m.msg_namelen = 0;
  m.msg_controllen = 64;
  FAILS(sendmsg(c, &m, 0), EFAULT);
  m.msg_controllen = 0;
  piece.iov_len = (size_t)-1;
  FAILS(sendmsg(c, &m, 0), EINVAL);
  FAILS(setsockopt(c, 500, SO_OOBINLINE, &m, sizeof(int)), ENOPROTOOPT);
  FAILS(setsockopt(c, IPPROTO_UDP, 10, &m, sizeof(int)), ENOPROTOOPT);
  FAILS(ioctl(c, FIONREAD, nowhere), EFAULT);
  close(l), close(c), close(s);
}

static volatile sig_atomic_t pipes;
static void count_pipe(int nr) { pipes += nr == SIGPIPE; }

/* Writing to a stream that was never connected. */
static void unconnected(void) {
  int s = socket(AF_INET, SOCK_STREAM, 0);
  struct iovec piece = {"x", 1};
  signal(SIGPIPE, count_pipe);
  FAILS(write(s, "x", 1), EPIPE);
  FAILS(writev(s, &piece, 1), EPIPE);
  FAILS(send(s, "x", 1, 0), EPIPE);
  CHECK(pipes == 3);
  FAILS(send(s, "x", 1, MSG_NOSIGNAL), EPIPE);
  CHECK(pipes == 3);
  close(s);
}

int main(void) {
  char* pages = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  nowhere = pages;
  int s = udp();
  names(s);
  sends(s);
  receives(s);
  beyond_all_measure(s);
  streams();
  unconnected();
  FINISH();
}
