/* Datagrams: unconnected and connected, sizes, truncation, ancillary values, errors. */
#include "check.h"

static int udp(void) {
  int s = socket(AF_INET, SOCK_DGRAM, 0);
  CHECK(s >= 0 && bind_to(s, 0) == 0);
  return s;
}

static ssize_t send_to(int s, const void *bytes, size_t len, int port) {
  struct sockaddr_in to = loopback(port);
  return sendto(s, bytes, len, 0, (struct sockaddr *)&to, sizeof to);
}

int main(void) {
  static char buf[70000];
  int a = udp(), b = udp(), c = udp();
  CHECK(events(a, POLLIN | POLLOUT, 0) == POLLOUT);
  struct sockaddr_in from;
  socklen_t n = sizeof from;
  CHECK(send_to(a, "one", 3, port_of(b)) == 3);
  CHECK(send_to(c, "from c", 6, port_of(b)) == 6);
  CHECK(recvfrom(b, buf, 100, 0, (struct sockaddr *)&from, &n) == 3);
  CHECK(n == sizeof from && from.sin_family == AF_INET && ntohs(from.sin_port) == port_of(a));
  CHECK(recvfrom(b, buf, 100, 0, (struct sockaddr *)&from, &n) == 6);
  CHECK(ntohs(from.sin_port) == port_of(c));

  /* Plain calls carry the payload alone; zero length; truncation; peeking. */
  CHECK(send_to(a, "plain", 5, port_of(b)) == 5 && read(b, buf, 100) == 5);
  CHECK(send_to(a, "", 0, port_of(b)) == 0);
  CHECK(events(b, POLLIN, 5000) == POLLIN && recv(b, buf, 100, 0) == 0);
  CHECK(send_to(a, "0123456789", 10, port_of(b)) == 10);
  CHECK(recv(b, buf, 4, MSG_PEEK | MSG_TRUNC) == 10);
  int queued = 0;
  CHECK(ioctl(b, FIONREAD, &queued) == 0 && queued == 10);
  struct iovec v = {buf, 4};
  struct msghdr m = {0};
  m.msg_name = &from;
  m.msg_namelen = sizeof from;
  m.msg_iov = &v;
  m.msg_iovlen = 1;
  CHECK(recvmsg(b, &m, 0) == 4 && (m.msg_flags & MSG_TRUNC) && m.msg_namelen == sizeof from);
  CHECK(send_to(a, buf, 65507, port_of(b)) == 65507);
  CHECK(recv(b, buf, sizeof buf, 0) == 65507);
  FAILS(send_to(a, buf, 65508, port_of(b)), EMSGSIZE);
  FAILS(send(a, "x", 1, 0), EDESTADDRREQ);
  FAILS(write(a, "x", 1), EDESTADDRREQ);

  /* More than one queue's worth arrives. */
  for (int i = 0; i < 100; ++i) CHECK(send_to(a, &i, sizeof i, port_of(b)) == sizeof i);
  for (int i = 0; i < 100; ++i) {
    int seen = -1;
    CHECK(events(b, POLLIN, 5000) == POLLIN);
    CHECK(recv(b, &seen, sizeof seen, 0) == sizeof seen && seen == i);
  }

  /* Connected: plain write, only the peer's datagrams, its address. */
  CHECK(connect_to(a, port_of(b)) == 0);
  CHECK(write(a, "conn", 4) == 4 && recv(b, buf, 100, 0) == 4);
  CHECK(send_to(c, "stranger", 8, port_of(a)) == 8);
  CHECK(send_to(b, "peer", 4, port_of(a)) == 4);
  n = sizeof from;
  CHECK(recvfrom(a, buf, 100, 0, (struct sockaddr *)&from, &n) == 4);
  CHECK(ntohs(from.sin_port) == port_of(b));
  n = sizeof from;
  CHECK(getpeername(a, (struct sockaddr *)&from, &n) == 0 && ntohs(from.sin_port) == port_of(b));
  CHECK(send_to(a, "elsewhere", 9, port_of(c)) == 9 && recv(c, buf, 100, 0) == 9);
  CHECK(connect_to(a, port_of(c)) == 0);
  CHECK(send(a, "to c", 4, 0) == 4 && recv(c, buf, 100, 0) == 4);
  struct sockaddr none = {AF_UNSPEC, {0}};
  CHECK(connect(a, &none, sizeof none) == 0);
  FAILS(send(a, "x", 1, 0), EDESTADDRREQ);
  CHECK(bind_to(a, 0) == 0 || errno == EINVAL);

  /* Nobody there: the error comes once. */
  int gone = udp(), dead_port = port_of(gone);
  close(gone);
  int e = socket(AF_INET, SOCK_DGRAM, 0);
  CHECK(connect_to(e, dead_port) == 0);
  CHECK(send(e, "x", 1, 0) == 1);
  CHECK(events(e, POLLIN, 5000) & POLLERR);
  FAILS(recv(e, buf, 1, 0), ECONNREFUSED);
  FAILS(recv(e, buf, 1, MSG_DONTWAIT), EAGAIN);
  CHECK(send(e, "x", 1, 0) == 1);
  CHECK((events(e, POLLIN, 5000) & POLLERR) && sock_error(e) == ECONNREFUSED && sock_error(e) == 0);
  CHECK(send(e, "x", 1, 0) == 1 && (events(e, POLLIN, 5000) & POLLERR));
  FAILS(recvmsg(e, &m, MSG_ERRQUEUE), EAGAIN); /* nothing there, which takes no error away */
  CHECK((events(e, POLLIN, 0) & POLLERR) && sock_error(e) == ECONNREFUSED);

  /* Ancillary values, unconnected and connected. */
  int on = 1;
  CHECK(setsockopt(b, IPPROTO_IP, IP_RECVTTL, &on, sizeof on) == 0);
  CHECK(setsockopt(b, IPPROTO_IP, IP_PKTINFO, &on, sizeof on) == 0);
  for (int connected = 0; connected < 2; ++connected) {
    if (connected) CHECK(connect_to(b, port_of(c)) == 0);
    CHECK(send_to(c, "control", 7, port_of(b)) == 7);
    char control[200];
    v.iov_len = 100;
    m.msg_name = NULL;
    m.msg_namelen = 0;
    m.msg_control = control;
    m.msg_controllen = sizeof control;
    CHECK(recvmsg(b, &m, 0) == 7 && !(m.msg_flags & MSG_CTRUNC));
    int ttl = 0, local = 0;
    for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h)) {
      if (h->cmsg_level == IPPROTO_IP && h->cmsg_type == IP_TTL) memcpy(&ttl, CMSG_DATA(h), 4);
      if (h->cmsg_level == IPPROTO_IP && h->cmsg_type == IP_PKTINFO) {
        struct in_pktinfo info;
        memcpy(&info, CMSG_DATA(h), sizeof info);
        local = info.ipi_addr.s_addr == htonl(INADDR_LOOPBACK);
      }
    }
    CHECK(ttl == 64 && local);
    if (connected) CHECK(write(b, "still", 5) == 5 && recv(c, buf, 100, 0) == 5);
  }

  /* Many at once. */
  struct mmsghdr many[3];
  struct iovec vs[3] = {{"m0", 2}, {"m1", 2}, {"m2", 2}};
  struct sockaddr_in to = loopback(port_of(c));
  memset(many, 0, sizeof many);
  for (int i = 0; i < 3; ++i) {
    many[i].msg_hdr.msg_name = &to;
    many[i].msg_hdr.msg_namelen = sizeof to;
    many[i].msg_hdr.msg_iov = &vs[i];
    many[i].msg_hdr.msg_iovlen = 1;
  }
  CHECK(sendmmsg(a, many, 3, 0) == 3 && many[2].msg_len == 2);
  char in[3][8];
  struct sockaddr_in senders[3];
  for (int i = 0; i < 3; ++i) {
    vs[i] = (struct iovec){in[i], sizeof in[i]};
    many[i].msg_hdr.msg_name = &senders[i];
    many[i].msg_hdr.msg_namelen = sizeof senders[i];
  }
  struct timespec limit = {2, 0};
  CHECK(recvmmsg(c, many, 3, 0, &limit) == 3 && memcmp(in[2], "m2", 2) == 0);
  CHECK(ntohs(senders[1].sin_port) == port_of(a) && many[1].msg_hdr.msg_namelen == sizeof to);
  FINISH();
}
