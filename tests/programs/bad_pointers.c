/* Every socket call with pointers that lead nowhere says EFAULT, and does nothing else. */
#include "check.h"
#include <net/if.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

static void *nowhere; /* a page that cannot be touched */
static char *edge;    /* the last byte before it */
static void *volatile null; /* which the compiler does not know */

static int udp(void) {
  int s = socket(AF_INET, SOCK_DGRAM, 0);
  CHECK(s >= 0 && bind_to(s, 0) == 0);
  return s;
}

static void names(int s) {
  struct sockaddr_in a = loopback(port_of(s));
  socklen_t n = sizeof a;
  FAILS(bind(s, nowhere, sizeof a), EFAULT);
  FAILS(connect(s, nowhere, sizeof a), EFAULT);
  FAILS(getsockname(s, nowhere, &n), EFAULT);
  FAILS(getsockname(s, (struct sockaddr *)&a, nowhere), EFAULT);
  n = (socklen_t)-1;
  FAILS(getsockname(s, (struct sockaddr *)&a, &n), EINVAL);
  CHECK(connect_to(s, port_of(s)) == 0);
  n = sizeof a;
  FAILS(getpeername(s, nowhere, &n), EFAULT);
  FAILS(getpeername(s, (struct sockaddr *)&a, nowhere), EFAULT);
  n = 1;
  CHECK(getpeername(s, (struct sockaddr *)edge, &n) == 0 && n == sizeof a);
}

/* Null pointers, where they mean nothing. */
static void null_arguments(int s, int stream) {
  void* volatile none = NULL;
  struct sockaddr_in a;
  socklen_t n = sizeof a;
  int value = 0;
  char byte;
  FAILS(getsockname(s, none, &n), EFAULT);
  FAILS(getsockname(s, (struct sockaddr*)&a, none), EFAULT);
  FAILS(getpeername(stream, none, none), EFAULT);
  FAILS(getpeername(stream, (struct sockaddr*)&a, none), EFAULT);
  FAILS(getsockopt(s, SOL_SOCKET, SO_RCVBUF, &value, none), EFAULT);
  n = sizeof value;
  FAILS(getsockopt(s, SOL_SOCKET, SO_RCVBUF, none, &n), EFAULT);
  FAILS(setsockopt(s, SOL_SOCKET, SO_RCVBUF, none, sizeof value), EFAULT);
  FAILS(ioctl(s, SIOCGIFCONF, none), EFAULT);
  FAILS(ioctl(s, SIOCGIFFLAGS, none), EFAULT);
  FAILS(sendmsg(s, none, 0), EFAULT);
  FAILS(recvmsg(s, none, MSG_DONTWAIT), EFAULT);
  FAILS(sendmmsg(s, none, 1, 0), EFAULT);
  FAILS(bind(s, none, sizeof a), EFAULT);
  FAILS(connect(s, none, sizeof a), EFAULT);
  struct sockaddr_in to = loopback(port_of(s));
  CHECK(sendto(s, "x", 1, 0, (struct sockaddr*)&to, sizeof to) == 1);
  FAILS(recvfrom(s, &byte, 1, 0, (struct sockaddr*)&a, none), EFAULT);
}

static void options(int s) {
  int value = 0;
  socklen_t n = sizeof value;
  FAILS(setsockopt(s, SOL_SOCKET, SO_RCVBUF, nowhere, sizeof value), EFAULT);
  FAILS(setsockopt(s, IPPROTO_IP, IP_TTL, nowhere, sizeof value), EFAULT);
  FAILS(getsockopt(s, SOL_SOCKET, SO_TYPE, nowhere, &n), EFAULT);
  FAILS(getsockopt(s, SOL_SOCKET, SO_RCVBUF, nowhere, &n), EFAULT);
  FAILS(getsockopt(s, SOL_SOCKET, SO_RCVBUF, &value, nowhere), EFAULT);
  FAILS(ioctl(s, SIOCGIFCONF, nowhere), EFAULT);
  FAILS(ioctl(s, SIOCGIFFLAGS, nowhere), EFAULT);
  struct ifconf conf = {.ifc_len = sizeof(struct ifreq)};
  conf.ifc_buf = nowhere;
  FAILS(ioctl(s, SIOCGIFCONF, &conf), EFAULT);
}

/* An answer that cannot be written costs nothing else: what the shim keeps open beside the
   program's own descriptors, high in the table, stays what it was. */
static void kept_open(char (*names)[64]) {
  for (int i = 0; i < 4; ++i) {
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", 1030 + i);
    memset(names[i], 0, sizeof names[i]);
    if (readlink(path, names[i], sizeof names[i] - 1) < 0) names[i][0] = 0;
  }
}

static void unwritable_answers(int s) {
  void* page = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  char before[4][64], after[4][64];
  socklen_t n = sizeof(int);
  kept_open(before);
  FAILS(getsockopt(s, IPPROTO_IP, IP_TTL, page, &n), EFAULT);
  FAILS(getsockopt(s, SOL_SOCKET, SO_RCVBUF, page, &n), EFAULT);
  kept_open(after);
  CHECK(memcmp(before, after, sizeof before) == 0);
  munmap(page, 4096);
}

static void sends(int s, int port) {
  struct sockaddr_in a = loopback(port);
  struct iovec good = {"x", 1}, bad = {nowhere, 1};
  struct iovec many[20];
  for (int i = 0; i < 20; ++i) many[i] = good;
  many[19] = bad;
  FAILS(sendto(s, nowhere, 1, 0, (struct sockaddr *)&a, sizeof a), EFAULT);
  FAILS(sendto(s, "x", 1, 0, nowhere, sizeof a), EFAULT);
  struct msghdr m = {&a, sizeof a, &bad, 1, NULL, 0, 0};
  FAILS(sendmsg(s, nowhere, 0), EFAULT);
  FAILS(sendmsg(s, &m, 0), EFAULT);
  m.msg_iov = many;
  m.msg_iovlen = 20;
  FAILS(sendmsg(s, &m, 0), EFAULT);
  m.msg_iov = nowhere;
  FAILS(sendmsg(s, &m, 0), EFAULT);
  m.msg_iov = &good;
  m.msg_iovlen = 1;
  m.msg_name = nowhere;
  FAILS(sendmsg(s, &m, 0), EFAULT);
  m.msg_name = &a;
  m.msg_control = nowhere;
  m.msg_controllen = 32;
  FAILS(sendmsg(s, &m, 0), EFAULT);
  FAILS(sendmmsg(s, nowhere, 1, 0), EFAULT);
}

/* Receives consume the datagram and then fail, as the kernel does; none may wait for ever. */
static void receives(int s, int from) {
  struct sockaddr_in a = loopback(port_of(s));
  socklen_t n = sizeof a;
  char byte;
  struct iovec good = {&byte, 1}, bad = {nowhere, 1};
  struct msghdr m = {&a, sizeof a, &bad, 1, NULL, 0, 0};
#define SENT CHECK(sendto(from, "x", 1, 0, (struct sockaddr *)&a, sizeof a) == 1)
  SENT;
  FAILS(recvfrom(s, nowhere, 1, 0, (struct sockaddr *)&a, &n), EFAULT);
  a = loopback(port_of(s));
  SENT;
  FAILS(recvfrom(s, &byte, 1, 0, nowhere, &n), EFAULT);
  SENT;
  FAILS(recvmsg(s, &m, 0), EFAULT);
  FAILS(recvmsg(s, nowhere, 0), EFAULT);
  m.msg_iov = &good;
  m.msg_name = nowhere;
  a = loopback(port_of(s));
  SENT;
  FAILS(recvmsg(s, &m, 0), EFAULT);
  while (recv(s, &byte, 1, MSG_DONTWAIT) >= 0) continue;
  FAILS(recvmmsg(s, nowhere, 1, MSG_DONTWAIT, NULL), EFAULT);
}

/* No pointer at all, where there must be one. */
static void nulls(int s, int from, int type) {
  struct sockaddr_in a = loopback(port_of(s));
  int value = 0;
  char byte;
  FAILS(bind(s, null, sizeof a), EFAULT);
  FAILS(connect(s, null, sizeof a), EFAULT);
  FAILS(getsockname(s, (struct sockaddr *)&a, null), EFAULT);
  FAILS(getsockopt(s, SOL_SOCKET, SO_RCVBUF, &value, null), EFAULT);
  FAILS(getsockopt(s, SOL_SOCKET, SO_ERROR, &value, null), EFAULT);
  FAILS(sendmsg(s, null, 0), EFAULT);
  FAILS(recvmsg(s, null, 0), EFAULT);
  FAILS(sendmmsg(s, null, 1, 0), EFAULT);
  FAILS(recvmmsg(s, null, 1, MSG_DONTWAIT, NULL), EFAULT);
  if (type == SOCK_STREAM) return;
  a = loopback(port_of(s));
  CHECK(sendto(from, "x", 1, 0, (struct sockaddr *)&a, sizeof a) == 1);
  FAILS(recvfrom(s, &byte, 1, 0, (struct sockaddr *)&a, null), EFAULT);
  while (recv(s, &byte, 1, MSG_DONTWAIT) >= 0) continue;
}

/* syscall(2) reaches the same sockets, with several messages too. */
static void raw_calls(int s, int from) {
  struct sockaddr_in to = loopback(port_of(s)), source;
  char in[2][4];
  struct iovec out[2] = {{"ab", 2}, {"cde", 3}}, into[2] = {{in[0], 4}, {in[1], 4}};
  struct mmsghdr m[2];
  memset(m, 0, sizeof m);
  for (int i = 0; i < 2; ++i) {
    m[i].msg_hdr.msg_name = &to;
    m[i].msg_hdr.msg_namelen = sizeof to;
    m[i].msg_hdr.msg_iov = &out[i];
    m[i].msg_hdr.msg_iovlen = 1;
  }
  CHECK(syscall(SYS_sendmmsg, from, m, 2, 0) == 2 && m[1].msg_len == 3);
  for (int i = 0; i < 2; ++i) {
    m[i].msg_hdr.msg_name = &source;
    m[i].msg_hdr.msg_namelen = sizeof source;
    m[i].msg_hdr.msg_iov = &into[i];
  }
  CHECK(events(s, POLLIN, 20000) == POLLIN);
  CHECK(syscall(SYS_recvmmsg, s, m, 1, 0, NULL) == 1 && m[0].msg_len == 2);
  CHECK(source.sin_family == AF_INET && ntohs(source.sin_port) == port_of(from));
  CHECK(events(s, POLLIN, 20000) == POLLIN);
  CHECK(syscall(SYS_recvmmsg, s, m, 2, MSG_WAITFORONE, NULL) == 1 && m[0].msg_len == 3);
  CHECK(syscall(SYS_sendto, from, "x", 1, 0, &to, sizeof to) == 1);
  int queued = 0;
  CHECK(events(s, POLLIN, 20000) == POLLIN);
  CHECK(syscall(SYS_ioctl, s, FIONREAD, &queued) == 0 && queued == 1);
  CHECK(syscall(SYS_read, s, in[0], 4) == 1);
}

static void time_outs(int s, int from) {
  struct sockaddr_in to = loopback(port_of(s));
  char byte;
  struct iovec into = {&byte, 1};
  struct mmsghdr m[2];
  memset(m, 0, sizeof m);
  for (int i = 0; i < 2; ++i) {
    m[i].msg_hdr.msg_iov = &into;
    m[i].msg_hdr.msg_iovlen = 1;
  }
  struct timespec bad = {-1, 0}, worse = {0, 1000000000}, two = {2, 0}, kept = {5, 0};
  FAILS(recvmmsg(s, m, 2, 0, &bad), EINVAL);
  FAILS(recvmmsg(s, m, 2, 0, &worse), EINVAL);
  FAILS(recvmmsg(s, m, 2, 0, nowhere), EFAULT);
  FAILS(recvmmsg(s, m, 2, MSG_DONTWAIT, &kept), EAGAIN);
  CHECK(kept.tv_sec == 5);
  CHECK(sendto(from, "x", 1, 0, (struct sockaddr *)&to, sizeof to) == 1);
  CHECK(recvmmsg(s, m, 1, 0, &two) == 1 && two.tv_sec == 1 && two.tv_nsec > 0);
  CHECK(recvmmsg(s, m, 0, 0, NULL) == 0);
}

/* Sockets of other families are left alone: names, descriptors, credentials. */
static void foreign(void) {
  int pair[2], on = 1;
  CHECK(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair) == 0);
  CHECK(setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on) == 0);
  char control[CMSG_SPACE(sizeof(int))] = {0}, back[200], byte;
  struct iovec v = {"x", 1}, in = {&byte, 1};
  struct mmsghdr m = {{NULL, 0, &v, 1, control, sizeof control, 0}, 0};
  struct cmsghdr *h = CMSG_FIRSTHDR(&m.msg_hdr);
  h->cmsg_level = SOL_SOCKET;
  h->cmsg_type = SCM_RIGHTS;
  h->cmsg_len = CMSG_LEN(sizeof(int));
  memcpy(CMSG_DATA(h), &pair[0], sizeof(int));
  CHECK(sendmmsg(pair[0], &m, 1, 0) == 1);
  struct msghdr got = {NULL, 0, &in, 1, back, sizeof back, 0};
  CHECK(recvmsg(pair[1], &got, MSG_CMSG_CLOEXEC) == 1);
  int rights = 0, creds = 0;
  for (h = CMSG_FIRSTHDR(&got); h; h = CMSG_NXTHDR(&got, h)) {
    rights += h->cmsg_type == SCM_RIGHTS;
    creds += h->cmsg_type == SCM_CREDENTIALS;
  }
  CHECK(rights == 1 && creds == 1);
  struct sockaddr_storage name;
  socklen_t n = sizeof name;
  CHECK(write(pair[0], "y", 1) == 1);
  CHECK(recvfrom(pair[1], &byte, 1, 0, (struct sockaddr *)&name, &n) == 1 && n == 0);
  n = sizeof name;
  CHECK(getsockname(pair[0], (struct sockaddr *)&name, &n) == 0 && name.ss_family == AF_UNIX);
}

static void programs(void) {
  char *words[] = {"true", NULL};
  FAILS(execve(nowhere, words, words), EFAULT);
  FAILS(execve("/bin/true", nowhere, words), EFAULT);
  FAILS(execve("/bin/true", words, nowhere), EFAULT);
  FAILS(execv("/bin/true", nowhere), EFAULT);
  FAILS(uname(nowhere), EFAULT);
}

int main(void) {
  char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(pages != MAP_FAILED && mprotect(pages + 4096, 4096, PROT_NONE) == 0);
  nowhere = pages + 4096;
  edge = pages + 4095;
  int a = udp(), b = udp(), t = socket(AF_INET, SOCK_STREAM, 0);
  options(a);
  options(t);
  unwritable_answers(a);
  sends(a, port_of(b));
  receives(a, b);
  nulls(a, b, SOCK_DGRAM);
  nulls(t, b, SOCK_STREAM);
  raw_calls(a, b);
  time_outs(a, b);
  foreign();
  programs();
  int c, d;
  tcp_pair(&c, &d);
  FAILS(write(c, nowhere, 1), EFAULT);
  FAILS(send(c, nowhere, 1, 0), EFAULT);
  names(udp());
  null_arguments(udp(), c);
  int l = listener(4), e = socket(AF_INET, SOCK_STREAM, 0);
  socklen_t n = 16;
  CHECK(connect_to(e, port_of(l)) == 0);
  FAILS(accept(l, nowhere, &n), EFAULT);
  FINISH();
}
