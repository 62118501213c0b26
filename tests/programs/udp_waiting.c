/* Datagrams that wait: how many, whom they keep waiting, what they survive; reports of errors. */
#include "check.h"
#include <sys/resource.h>
// It needs struct timespec.
#include <linux/errqueue.h>

static int udp(void) {
  int s = socket(AF_INET, SOCK_DGRAM, 0);
  CHECK(s >= 0 && bind_to(s, 0) == 0);
  return s;
}

static ssize_t send_to(int s, const void* bytes, size_t len, int port) {
  struct sockaddr_in to = loopback(port);
  return sendto(s, bytes, len, 0, (struct sockaddr*)&to, sizeof to);
}

/* Who does not read keeps only its own datagrams waiting. */
static void nobody_waits_for_others(void) {
  static char big[50000];
  int idle = udp(), busy = udp(), sender = udp();
  for (int i = 0; i < 8; ++i) CHECK(send_to(sender, big, sizeof big, port_of(idle)) == sizeof big);
  CHECK(send_to(sender, "hello", 5, port_of(busy)) == 5);
  CHECK(events(busy, POLLIN, 20000) == POLLIN && recv(busy, big, sizeof big, 0) == 5);
  CHECK(recv(idle, big, sizeof big, 0) == sizeof big);
  close(idle);
  close(busy);
  close(sender);
}

/* An addressed send to the own machine returns when the datagram is there. */
static void there_when_sent(void) {
  int to = udp(), from = udp(), missing = 0;
  for (int i = 0; i < 200; ++i) {
    char c;
    CHECK(send_to(from, "x", 1, port_of(to)) == 1);
    if (recv(to, &c, 1, MSG_DONTWAIT) == 1) continue;
    ++missing;
    CHECK(recv(to, &c, 1, 0) == 1);
  }
  CHECK(missing == 0);
  close(to);
  close(from);
}

/* SO_RCVBUF says how many wait; a reader gets them without a pause. */
static void many_wait(void) {
  enum { count = 200 };
  int to = udp(), mark = udp(), from = udp(), value = 0, next = 0;
  for (int i = 0; i < count; ++i) CHECK(send_to(from, &i, sizeof i, port_of(to)) == sizeof i);
  for (int round = 0; round < 8 && next < count; ++round) {
    CHECK(send_to(from, "", 0, port_of(mark)) == 0 && recv(mark, &value, sizeof value, 0) == 0);
    ssize_t got;
    while ((got = recv(to, &value, sizeof value, MSG_DONTWAIT)) == sizeof value) {
      CHECK(value == next++);
    }
    CHECK(got == -1);
  }
  CHECK(next == count);
  close(to);
  close(mark);
  close(from);
}

static int ttl_of(struct msghdr* m) {
  int ttl = -1;
  for (struct cmsghdr* h = CMSG_FIRSTHDR(m); h; h = CMSG_NXTHDR(m, h)) {
    if (h->cmsg_level == IPPROTO_IP && h->cmsg_type == IP_TTL) memcpy(&ttl, CMSG_DATA(h), 4);
  }
  return ttl;
}

/* A datagram that waits stays, whatever happens to the socket's peer and options, and has the
   ancillary values that were asked for since. */
static void waiting_ones_stay(void) {
  for (int way = 0; way < 5; ++way) {
    int a = udp(), b = udp(), on = 1;
    char buf[100], control[200];
    CHECK(connect_to(a, port_of(b)) == 0 && connect_to(b, port_of(a)) == 0);
    for (int i = 0; i < 3; ++i) CHECK(send(b, "0123456789", 4 + i, 0) == 4 + i);
    CHECK(events(a, POLLIN, 20000) & POLLIN);
    if (way == 1) CHECK(setsockopt(a, IPPROTO_IP, IP_RECVTTL, &on, sizeof on) == 0);
    if (way == 2) CHECK(setsockopt(a, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof on) == 0);
    if (way == 3) CHECK(connect_to(a, port_of(b)) == 0);
    struct sockaddr none = {AF_UNSPEC, {0}};
    if (way == 4) CHECK(connect(a, &none, sizeof none) == 0);
    for (int i = 0; i < 3; ++i) {
      struct sockaddr_in from;
      struct iovec v = {buf, sizeof buf};
      struct msghdr m = {&from, sizeof from, &v, 1, control, sizeof control, 0};
      CHECK(recvmsg(a, &m, 0) == 4 + i && m.msg_namelen == sizeof from);
      CHECK(ntohs(from.sin_port) == port_of(b) && !(m.msg_flags & MSG_CTRUNC));
      CHECK(ttl_of(&m) == (way == 1 ? 64 : -1));
    }
    int got = -1;
    socklen_t n = sizeof got;
    CHECK(getsockopt(a, IPPROTO_IP, IP_RECVTTL, &got, &n) == 0 && got == (way == 1));
    close(a);
    close(b);
  }
}

/* All ancillary values at once, and what becomes of them without room. */
static void all_values(void) {
  int to = udp(), from = udp(), on = 1;
  const int names[] = {IP_PKTINFO, IP_RECVTTL, IP_RECVTOS, IP_RECVORIGDSTADDR};
  for (int i = 0; i < 4; ++i) CHECK(setsockopt(to, IPPROTO_IP, names[i], &on, sizeof on) == 0);
  CHECK(setsockopt(to, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) == 0);
  for (int small = 0; small < 2; ++small) {
    char buf[10], control[400];
    struct iovec v = {buf, sizeof buf};
    struct msghdr m = {NULL, 0, &v, 1, control, small ? CMSG_SPACE(16) : sizeof control, 0};
    CHECK(send_to(from, "x", 1, port_of(to)) == 1 && recvmsg(to, &m, 0) == 1);
    int seen = 0;
    for (struct cmsghdr* h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h)) ++seen;
    CHECK(seen == (small ? 1 : 5) && !!(m.msg_flags & MSG_CTRUNC) == small);
  }
  close(to);
  close(from);
}

/* ICMP errors: POLLERR, the failing call, and the report in the error queue. */
static void reports_of_errors(void) {
  int gone = udp(), dead = port_of(gone);
  close(gone);
  for (int connected = 0; connected < 2; ++connected) {
    int s = socket(AF_INET, SOCK_DGRAM, 0), on = 1;
    char buf[100], control[400];
    CHECK(setsockopt(s, IPPROTO_IP, IP_RECVERR, &on, sizeof on) == 0);
    if (connected) CHECK(connect_to(s, dead) == 0);
    CHECK((connected ? send(s, "lost", 4, 0) : send_to(s, "lost", 4, dead)) == 4);
    CHECK(events(s, POLLIN, 20000) & POLLERR);
    FAILS(recv(s, buf, sizeof buf, 0), ECONNREFUSED);
    FAILS(recv(s, buf, sizeof buf, MSG_DONTWAIT), EAGAIN);
    for (int i = 0; i < 20; ++i) {
      CHECK(events(s, POLLIN | POLLOUT, 20000) & POLLERR);
      FAILS(i % 2 ? recv(s, buf, 9, MSG_DONTWAIT) : recvfrom(s, buf, 9, MSG_DONTWAIT, NULL, NULL),
            EAGAIN);
    }
    struct sockaddr_in to;
    struct iovec v = {buf, sizeof buf};
    struct msghdr m = {&to, sizeof to, &v, 1, control, sizeof control, 0};
    CHECK(recvmsg(s, &m, MSG_ERRQUEUE) == 4 && (m.msg_flags & MSG_ERRQUEUE));
    CHECK(ntohs(to.sin_port) == dead);
    struct cmsghdr* h = CMSG_FIRSTHDR(&m);
    CHECK(h && h->cmsg_level == IPPROTO_IP && h->cmsg_type == IP_RECVERR);
    struct sock_extended_err what = {0};
    if (h) memcpy(&what, CMSG_DATA(h), sizeof what);
    CHECK(what.ee_errno == ECONNREFUSED && what.ee_origin == SO_EE_ORIGIN_ICMP);
    FAILS(recvmsg(s, &m, MSG_ERRQUEUE), EAGAIN);
    CHECK(events(s, POLLIN, 0) == 0);
    /* It goes on working. */
    int live = udp();
    CHECK(send_to(s, "on", 2, port_of(live)) == 2 && recv(live, buf, sizeof buf, 0) == 2);
    close(live);
    close(s);
  }
}

/* shutdown() ends the waiting of a reader, also where it says that there is no connection. */
static void shut_without_a_peer(void) {
  char c;
  int s = udp();
  pid_t child = fork();
  if (child == 0) _exit(recv(s, &c, 1, 0) != 0);
  FAILS(shutdown(s, SHUT_RDWR), ENOTCONN);
  int status = -1;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  CHECK(recv(s, &c, 1, 0) == 0);
  close(s);
}

/* What comes after shutdown(SHUT_RD) can be read all the same. */
static void late_ones_are_read(void) {
  for (int connected = 0; connected < 2; ++connected) {
    int s = udp(), from = udp();
    struct sockaddr_in source;
    socklen_t n = sizeof source;
    char buf[10];
    if (connected) CHECK(connect_to(s, port_of(from)) == 0);
    CHECK(send_to(from, "early", 5, port_of(s)) == 5);
    CHECK(shutdown(s, SHUT_RD) == (connected ? 0 : -1));
    CHECK(send_to(from, "late", 4, port_of(s)) == 4 && send_to(from, "last", 4, port_of(s)) == 4);
    CHECK((events(s, POLLIN | POLLRDHUP, 0) & (POLLIN | POLLRDHUP)) == (POLLIN | POLLRDHUP));
    CHECK(recv(s, buf, sizeof buf, 0) == 5 && memcmp(buf, "early", 5) == 0);
    CHECK(recv(s, buf, sizeof buf, 0) == 4 && memcmp(buf, "late", 4) == 0);
    CHECK(recvfrom(s, buf, sizeof buf, MSG_DONTWAIT, (struct sockaddr *)&source, &n) == 4);
    CHECK(memcmp(buf, "last", 4) == 0 && ntohs(source.sin_port) == port_of(from));
    CHECK(recv(s, buf, sizeof buf, 0) == 0);
    FAILS(recv(s, buf, sizeof buf, MSG_DONTWAIT), EAGAIN);
    close(s);
    close(from);
  }
}

/* Plain sends: too large, with MSG_MORE, before the last close. */
static void plain_sends(void) {
  static char big[65508];
  int a = udp(), b = udp();
  CHECK(connect_to(a, port_of(b)) == 0);
  FAILS(write(a, big, sizeof big), EMSGSIZE);
  struct iovec v = {big, sizeof big};
  FAILS(writev(a, &v, 1), EMSGSIZE);
  CHECK(write(a, big, 65507) == 65507 && recv(b, big, sizeof big, 0) == 65507);
  CHECK(send(a, "one", 3, MSG_MORE) == 3 && send(a, "two", 3, 0) == 3);
  CHECK(recv(b, big, sizeof big, 0) == 6 && memcmp(big, "onetwo", 6) == 0);
  for (int i = 0; i < 100; ++i) CHECK(send(a, &i, sizeof i, 0) == sizeof i);
  close(a);
  for (int i = 0; i < 100; ++i) {
    int seen = -1;
    CHECK(events(b, POLLIN, 20000) == POLLIN && recv(b, &seen, sizeof seen, 0) == 4 && seen == i);
  }
  close(b);
}

/* Addresses come also when all descriptors are in use. */
static void no_descriptor_left(void) {
  int to = udp(), from = udp(), more[64], n = 0;
  struct rlimit few = {64, 64};
  CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
  while (n < 64 && (more[n] = dup(to)) >= 0) ++n;
  CHECK(n < 64);
  for (int i = 0; i < 3; ++i) {
    struct sockaddr_in source;
    socklen_t len = sizeof source;
    char c;
    CHECK(send_to(from, "x", 1, port_of(to)) == 1);
    CHECK(recvfrom(to, &c, 1, 0, (struct sockaddr *)&source, &len) == 1);
    CHECK(ntohs(source.sin_port) == port_of(from));
    FAILS(recvfrom(to, &c, 1, MSG_DONTWAIT, (struct sockaddr *)&source, &len), EAGAIN);
  }
  while (n > 0) close(more[--n]);
}

/* Also what came after a shutdown that failed, but shut, can be counted. */
static void counted_when_shut(void) {
  int to = udp(), from = udp(), waiting = -1;
  char room[200];
  FAILS(shutdown(to, SHUT_RD), ENOTCONN);
  CHECK(send_to(from, room, 100, port_of(to)) == 100);
  CHECK(ioctl(to, FIONREAD, &waiting) == 0 && waiting == 100);
  CHECK(recv(to, room, sizeof room, MSG_DONTWAIT) == 100);
  close(to);
  close(from);
}

int main(void) {
  nobody_waits_for_others();
  there_when_sent();
  many_wait();
  waiting_ones_stay();
  all_values();
  reports_of_errors();
  shut_without_a_peer();
  counted_when_shut();
  late_ones_are_read();
  plain_sends();
  no_descriptor_left();
  FINISH();
}
