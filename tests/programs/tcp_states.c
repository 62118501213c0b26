/* What poll, errors and options say in every state of a TCP socket. */
#include "check.h"

int main(void) {
  signal(SIGPIPE, SIG_IGN);
  char buf[100];
  int value;
  socklen_t n;
  int s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  CHECK(s >= 0 && (fcntl(s, F_GETFL) & O_NONBLOCK) && (fcntl(s, F_GETFD) & FD_CLOEXEC));
  CHECK(events(s, POLLIN | POLLOUT, 0) == (POLLOUT | POLLHUP));
  FAILS(read(s, buf, 1), ENOTCONN);
  FAILS(recv(s, buf, 1, 0), ENOTCONN);
  FAILS(write(s, buf, 1), EPIPE);
  FAILS(send(s, buf, 1, 0), EPIPE);
  int idle = socket(AF_INET, SOCK_STREAM, 0);
  FAILS(shutdown(idle, SHUT_WR), ENOTCONN);
  close(idle);
  struct sockaddr_in a;
  n = sizeof a;
  FAILS(getpeername(s, (struct sockaddr *)&a, &n), ENOTCONN);
  n = sizeof value;
  CHECK(getsockopt(s, SOL_SOCKET, SO_TYPE, &value, &n) == 0 && value == SOCK_STREAM);
  CHECK(getsockopt(s, SOL_SOCKET, SO_DOMAIN, &value, &n) == 0 && value == AF_INET);
  CHECK(getsockopt(s, SOL_SOCKET, SO_PROTOCOL, &value, &n) == 0 && value == IPPROTO_TCP);
  CHECK(getsockopt(s, SOL_SOCKET, SO_ACCEPTCONN, &value, &n) == 0 && value == 0);
  value = 1;
  CHECK(setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &value, sizeof value) == 0);
  value = 0;
  CHECK(getsockopt(s, IPPROTO_TCP, TCP_NODELAY, &value, &n) == 0 && value == 1);
  FAILS(setsockopt(s, SOL_SOCKET, 9999, &value, sizeof value), ENOPROTOOPT);
  FAILS(getsockopt(s, SOL_SOCKET, 9999, &value, &n), ENOPROTOOPT);
  char small[2] = {7, 7};
  n = 1;
  CHECK(getsockopt(s, SOL_SOCKET, SO_TYPE, small, &n) == 0 && n == 1 && small[0] == SOCK_STREAM);
  CHECK(small[1] == 7);

  /* A listener. */
  int l = listener(5);
  fcntl(l, F_SETFL, O_NONBLOCK);
  n = sizeof value;
  CHECK(getsockopt(l, SOL_SOCKET, SO_ACCEPTCONN, &value, &n) == 0 && value == 1);
  CHECK(events(l, POLLIN | POLLOUT, 0) == 0);
  FAILS(accept(l, NULL, NULL), EAGAIN);
  FAILS(read(l, buf, 1), ENOTCONN);
  FAILS(accept(s, NULL, NULL), EINVAL);
  int taken = socket(AF_INET, SOCK_STREAM, 0);
  FAILS(bind_to(taken, port_of(l)), EADDRINUSE);

  /* A connection without blocking. */
  FAILS(connect_to(s, port_of(l)), EINPROGRESS);
  CHECK(events(s, POLLOUT, 5000) == POLLOUT);
  CHECK(sock_error(s) == 0);
  connect_to(s, port_of(l)); /* may tell once more that the first one succeeded */
  FAILS(connect_to(s, port_of(l)), EISCONN);
  CHECK(events(l, POLLIN, 5000) == POLLIN);
  int b = accept4(l, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
  CHECK(b >= 0 && (fcntl(b, F_GETFL) & O_NONBLOCK) && (fcntl(b, F_GETFD) & FD_CLOEXEC));
  CHECK(events(b, POLLIN | POLLOUT, 0) == POLLOUT);
  FAILS(read(b, buf, 1), EAGAIN);
  n = sizeof value;
  CHECK(getsockopt(b, SOL_SOCKET, SO_TYPE, &value, &n) == 0 && value == SOCK_STREAM);
  struct tcp_info info;
  n = sizeof info;
  CHECK(getsockopt(b, IPPROTO_TCP, TCP_INFO, &info, &n) == 0 && info.tcpi_state == 1);

  /* Readable bytes, then half-close one way, then the other. */
  CHECK(write(s, "hello", 5) == 5);
  CHECK(events(b, POLLIN, 5000) == POLLIN);
  CHECK(ioctl(b, FIONREAD, &value) == 0 && value == 5);
  CHECK(shutdown(s, SHUT_WR) == 0);
  CHECK(events(b, POLLRDHUP, 5000) == POLLRDHUP);
  CHECK(read(b, buf, 100) == 5 && read(b, buf, 100) == 0);
  CHECK(write(b, "answer", 6) == 6 && events(s, POLLIN, 5000) == POLLIN);
  CHECK(read(s, buf, 100) == 6);
  FAILS(write(s, "x", 1), EPIPE);
  CHECK(shutdown(b, SHUT_WR) == 0);
  CHECK((events(s, POLLIN | POLLRDHUP, 5000) & POLLIN) && read(s, buf, 100) == 0);
  CHECK(events(s, 0, 5000) == POLLHUP);

  /* Refused, without blocking and with: the same socket may try again. */
  int port = port_of(l);
  close(l);
  close(s);
  close(b);
  for (int blocking = 0; blocking < 2; ++blocking) {
    s = socket(AF_INET, SOCK_STREAM | (blocking ? 0 : SOCK_NONBLOCK), 0);
    if (blocking) {
      FAILS(connect_to(s, port), ECONNREFUSED);
    } else {
      CHECK(connect_to(s, port) == -1 && (errno == EINPROGRESS || errno == ECONNREFUSED));
      short e = events(s, POLLIN | POLLOUT, 5000);
      CHECK((e & POLLERR) || (e & POLLHUP));
      int error = sock_error(s);
      CHECK(error == ECONNREFUSED || error == 0);
    }
    CHECK(sock_error(s) == 0);
    int again = listener(5);
    int r = connect_to(s, port_of(again));
    if (r == -1 && errno == ECONNABORTED) r = connect_to(s, port_of(again));
    r = r == 0 || errno == EINPROGRESS;
    CHECK(r);
    CHECK(events(s, POLLOUT, 5000) == POLLOUT && sock_error(s) == 0);
    b = accept(again, NULL, NULL);
    CHECK(b >= 0 && write(s, "on", 2) == 2 && read(b, buf, 10) == 2);
    close(again);
    close(s);
    close(b);
  }
  FINISH();
}
