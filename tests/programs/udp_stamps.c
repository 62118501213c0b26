/* When datagrams came, and what else is told of them without or with little being asked. */
#include "check.h"
/* It needs struct timespec. */
#include <linux/net_tstamp.h>
#include <linux/sockios.h>
#include <sys/un.h>

#ifndef SO_TIMESTAMP_NEW
#define SO_TIMESTAMP_NEW 63
#define SO_TIMESTAMPNS_NEW 64
#endif

static int from, port;

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int receiver(void) {
  int s = socket(AF_INET, SOCK_DGRAM, 0);
  CHECK(s >= 0 && bind_to(s, 0) == 0);
  port = port_of(s);
  return s;
}

static void put(const char* text) {
  struct sockaddr_in to = loopback(port);
  size_t len = strlen(text);
  CHECK(sendto(from, text, len, 0, (struct sockaddr*)&to, sizeof to) == (ssize_t)len);
}

/* Receives with control data; the time that the control message of this type tells, or 0. */
static double stamp(int s, int type, int flags) {
  char text[16], control[512];
  struct iovec piece = {text, sizeof text};
  struct msghdr m = {0};
  m.msg_iov = &piece;
  m.msg_iovlen = 1;
  m.msg_control = control;
  m.msg_controllen = sizeof control;
  CHECK(recvmsg(s, &m, flags) > 0);
  CHECK((m.msg_flags & MSG_CTRUNC) == 0);
  double out = 0;
  for (struct cmsghdr* c = CMSG_FIRSTHDR(&m); c != NULL; c = CMSG_NXTHDR(&m, c)) {
    CHECK(c->cmsg_level == SOL_SOCKET && c->cmsg_type == type);
    struct timespec t;
    memcpy(&t, CMSG_DATA(c), sizeof t);
    const int micro = type == SO_TIMESTAMP || type == SO_TIMESTAMP_NEW;
    out = (double)t.tv_sec + (double)t.tv_nsec / (micro ? 1e6 : 1e9);
  }
  return out;
}

/* Time stands still for no datagram: the clock shows more when this returns. */
static void wait_a_little(void) { usleep(30000); }

static void set(int s, int option, int value) {
  CHECK(setsockopt(s, SOL_SOCKET, option, &value, sizeof value) == 0);
}

/* Linux begins to stamp what arrives a little after the first socket has asked for it, and does so
 * while one asks: this one does until the end. */
static void until_arrivals_are_stamped(void) {
  int s = receiver();
  set(s, SO_TIMESTAMP, 1);
  for (int i = 0; i < 200; ++i) {
    put("?");
    wait_a_little();
    const double waited = now() - 0.02;
    if (stamp(s, SO_TIMESTAMP, 0) < waited) return;
  }
  CHECK(!"arrivals are stamped");
}

/* A stamp is the time of arrival, not of the receive. */
static void every_form_tells_the_arrival(void) {
  const int forms[] = {SO_TIMESTAMP, SO_TIMESTAMPNS, SO_TIMESTAMP_NEW, SO_TIMESTAMPNS_NEW,
                       SO_TIMESTAMPING};
  int s = receiver();
  for (size_t i = 0; i < sizeof forms / sizeof *forms; ++i) {
    const int all = SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;
    set(s, forms[i], forms[i] == SO_TIMESTAMPING ? all : 1);
    const double before = now();
    put("x");
    put("y");
    wait_a_little();
    const double between = now();
    const double peeked = stamp(s, forms[i], MSG_PEEK), told = stamp(s, forms[i], 0);
    CHECK(told > before - 0.001 && told < between && peeked == told);
    CHECK(stamp(s, forms[i], 0) >= told);
    set(s, forms[i], 0);
    put("z");
    CHECK(stamp(s, forms[i], 0) == 0);
  }
  close(s);
}

/* Asked for while a datagram waits. */
static void asked_late(void) {
  int s = receiver();
  const double before = now();
  put("x");
  put("y");
  set(s, SO_TIMESTAMPNS, 1);
  CHECK(stamp(s, SO_TIMESTAMPNS, 0) > before - 0.001);
  set(s, SO_TIMESTAMPNS, 0);
  CHECK(stamp(s, SO_TIMESTAMPNS, 0) == 0);
  close(s);
}

static double last_read(int s) {
  struct timeval t;
  if (ioctl(s, SIOCGSTAMP, &t) != 0) return -1;
  return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

/* SIOCGSTAMP is about what was read last, whatever waits behind it. */
static void of_the_one_read_last(void) {
  char c;
  int s = receiver();
  FAILS(ioctl(s, SIOCGSTAMP, &c), ENOENT);
  put("1");
  wait_a_little();
  const double second = now();
  put("2");
  wait_a_little();
  const double third = now();
  put("3");
  CHECK(recv(s, &c, 1, 0) == 1 && c == '1');
  CHECK(last_read(s) > 0 && last_read(s) < second);
  CHECK(recv(s, &c, 1, 0) == 1 && c == '2');
  CHECK(last_read(s) > second - 0.001 && last_read(s) < third);
  CHECK(recv(s, &c, 1, 0) == 1 && c == '3');
  CHECK(last_read(s) > third - 0.001);
  close(s);
}

/* Who asks for nothing is told of nothing that was cut off. */
static void nothing_is_cut(void) {
  char text[4];
  struct iovec piece = {text, sizeof text};
  struct mmsghdr m[2] = {0};
  for (int i = 0; i < 2; ++i) m[i].msg_hdr.msg_iov = &piece, m[i].msg_hdr.msg_iovlen = 1;
  int s = receiver();
  put("one");
  put("longer");
  CHECK(recvmsg(s, &m[0].msg_hdr, MSG_PEEK) == 3 && m[0].msg_hdr.msg_flags == 0);
  CHECK(recvmmsg(s, m, 2, MSG_DONTWAIT, NULL) == 2);
  CHECK(m[0].msg_hdr.msg_flags == 0 && m[1].msg_hdr.msg_flags == MSG_TRUNC);
  close(s);
}

static volatile sig_atomic_t signals;
static void count_signal(int number) { signals += number == SIGPIPE; }

/* A datagram socket that is shut down says EPIPE, and no signal. */
static void no_signal(void) {
  int s = receiver();
  CHECK(connect_to(s, port_of(from)) == 0 && shutdown(s, SHUT_WR) == 0);
  signal(SIGPIPE, count_signal);
  FAILS(send(s, "x", 1, 0), EPIPE);
  FAILS(write(s, "x", 1), EPIPE);
  CHECK(signals == 0);
  close(s);
}

int main(void) {
  from = receiver();
  until_arrivals_are_stamped();
  of_the_one_read_last();
  every_form_tells_the_arrival();
  asked_late();
  nothing_is_cut();
  no_signal();
  FINISH();
}
