/* Resets: by linger, by close with unread data, with and without bytes exchanged before. */
#include "check.h"

#include <sys/sendfile.h>

static void expect_reset(int fd) {
  char buf[10];
  CHECK((events(fd, POLLIN, 5000) & (POLLERR | POLLHUP)) == (POLLERR | POLLHUP));
  FAILS(read(fd, buf, 10), ECONNRESET);
  CHECK(read(fd, buf, 10) == 0);
  FAILS(send(fd, "x", 1, MSG_NOSIGNAL), EPIPE);
}

static void linger_reset(int fd) {
  struct linger l = {1, 0};
  CHECK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l) == 0);
  close(fd);
}

static int broken_pipes;
static void on_pipe(int sig) {
  (void)sig;
  ++broken_pipes;
}

/* A writer that waits hears of a reset, though its own side has bytes to read still. */
static void reset_ends_a_write(void) {
  static char bytes[65536];
  int a, b, status = -1, before = -1, now = 0;
  tcp_pair(&a, &b);
  CHECK(fcntl(b, F_SETFL, O_NONBLOCK) == 0);
  while (send(b, bytes, sizeof bytes, 0) > 0) {}
  pid_t child = fork();
  if (child == 0) {
    close(b);
    signal(SIGPIPE, SIG_IGN);
    while (write(a, bytes, sizeof bytes) > 0) {}
    int error = errno;
    while (read(a, bytes, sizeof bytes) > 0) {}
    _exit(error == ECONNRESET || error == EPIPE ? 0 : 1);
  }
  close(a);
  for (int quiet = 0; quiet < 3; quiet = now == before && now > 0 ? quiet + 1 : 0) {
    before = now;
    usleep(50000);
    CHECK(ioctl(b, FIONREAD, &now) == 0);
  }
  linger_reset(b);
  CHECK(waitpid(child, &status, 0) == child && status == 0);
}

/* A reset right behind a FIN: who has not read yet finds the bytes and the end, and no error. */
static void reset_follows_fin(int by_linger) {
  char buf[10];
  int a, b;
  tcp_pair(&a, &b);
  CHECK(write(b, "unread", 6) == 6);
  CHECK(events(a, POLLIN, 5000) == POLLIN);
  CHECK(write(a, "last", 4) == 4 && shutdown(a, SHUT_WR) == 0);
  if (by_linger) {
    linger_reset(a);
  } else {
    close(a);
  }
  CHECK(events(b, POLLHUP, 5000) & POLLHUP);
  CHECK(read(b, buf, 10) == 4 && read(b, buf, 10) == 0 && read(b, buf, 10) == 0);
  FAILS(send(b, "x", 1, MSG_NOSIGNAL), EPIPE);
  close(b);
}

/* Whatever writes first hears of the reset. */
static void first_write_hears(void) {
  char buf[10];
  struct iovec v = {buf, 1};
  int file = open("/proc/self/exe", O_RDONLY), pipe_ends[2], a, b;
  CHECK(pipe(pipe_ends) == 0 && write(pipe_ends[1], "xx", 2) == 2);
  signal(SIGPIPE, SIG_IGN);
  for (int way = 0; way < 5; ++way) {
    tcp_pair(&a, &b);
    linger_reset(b);
    CHECK(events(a, 0, 5000) & POLLERR);
    for (int round = 0; round < 2; ++round) {
      const int error = round == 0 ? ECONNRESET : EPIPE;
      if (way == 0) FAILS(write(a, "x", 1), error);
      if (way == 1) FAILS(writev(a, &v, 1), error);
      if (way == 2) FAILS(sendfile(a, file, NULL, 5), error);
      if (way == 3) FAILS(splice(pipe_ends[0], NULL, a, NULL, 1, 0), error);
      if (way == 4) FAILS(send(a, "x", 1, 0), error);
    }
    CHECK(read(a, buf, 10) == 0);
    close(a);
  }
  signal(SIGPIPE, on_pipe);
  close(file);
  close(pipe_ends[0]);
  close(pipe_ends[1]);
}

/* On the own host the peer has, before the reset, what was sent before the close and fits. */
static void sent_before_reset(void) {
  static char bytes[100000];
  for (int i = 0; i < 30; ++i) {
    int a, b;
    long got = 0;
    ssize_t n;
    tcp_pair(&a, &b);
    CHECK(send(a, bytes, sizeof bytes, MSG_DONTWAIT) == sizeof bytes);
    linger_reset(a);
    while ((n = read(b, bytes, sizeof bytes)) > 0) got += n;
    CHECK(n == -1 && got == sizeof bytes);
    close(b);
  }
}

int main(void) {
  char buf[10];
  int a, b;
  signal(SIGPIPE, on_pipe);
  for (int talk = 0; talk < 2; ++talk) {
    for (int side = 0; side < 2; ++side) {
      tcp_pair(&a, &b);
      int victim = side ? a : b, other = side ? b : a;
      if (talk) {
        CHECK(write(victim, "hello", 5) == 5 && read(other, buf, 5) == 5);
        CHECK(write(other, "back", 4) == 4 && read(victim, buf, 4) == 4);
      }
      linger_reset(other);
      expect_reset(victim);
      close(victim);
    }
  }
  CHECK(broken_pipes == 0);

  /* Close with unread data. */
  tcp_pair(&a, &b);
  CHECK(write(a, "unread", 6) == 6);
  CHECK(events(b, POLLIN, 5000) == POLLIN);
  close(b);
  CHECK((events(a, POLLIN, 5000) & POLLERR) && sock_error(a) == ECONNRESET && sock_error(a) == 0);
  FAILS(send(a, "x", 1, 0), EPIPE);
  CHECK(broken_pipes == 1);
  close(a);

  /* A clean close is no reset; what was written before arrives. */
  tcp_pair(&a, &b);
  CHECK(write(a, "last", 4) == 4);
  close(a);
  CHECK(events(b, POLLRDHUP, 5000) & POLLRDHUP);
  CHECK(read(b, buf, 10) == 4 && read(b, buf, 10) == 0);
  close(b);

  /* A listener that closes resets what waits there. */
  int l = listener(4);
  a = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(connect_to(a, port_of(l)) == 0);
  CHECK(events(l, POLLIN, 5000) == POLLIN);
  close(l);
  CHECK(events(a, POLLIN, 5000) & POLLERR);
  FAILS(read(a, buf, 1), ECONNRESET);
  close(a);
  reset_ends_a_write();
  reset_follows_fin(0);
  reset_follows_fin(1);
  first_write_hears();
  sent_before_reset();
  FINISH();
}
