/* sendfile(2) and splice(2) on sockets that take no bytes, and those that give none. */
#include "check.h"
#include <sys/sendfile.h>
#include <sys/syscall.h>

static int signals;
static void count_signal(int number) { (void)number, ++signals; }

static int file_of_bytes(void) {
  FILE *f = tmpfile();
  CHECK(f && fwrite("0123456789", 1, 10, f) == 10 && fflush(f) == 0);
  CHECK(lseek(fileno(f), 0, SEEK_SET) == 0);
  return fileno(f);
}

/* Both ways to send ten bytes: -1 with the same errno, and so many signals. */
static void check_refused(int to, int error, int signals_each) {
  int pipes[2];
  off_t at = 0;
  signals = 0;
  FAILS(sendfile(to, file_of_bytes(), &at, 10), error);
  CHECK(signals == signals_each && at == 0);
  CHECK(pipe(pipes) == 0 && write(pipes[1], "0123456789", 10) == 10);
  FAILS(splice(pipes[0], NULL, to, NULL, 10, 0), error);
  CHECK(signals == 2 * signals_each);
  FAILS(syscall(SYS_sendfile, to, file_of_bytes(), NULL, 10), error);
  close(pipes[0]);
  close(pipes[1]);
}

static void sockets_that_take_none(void) {
  signal(SIGPIPE, count_signal);
  int fresh = socket(AF_INET, SOCK_STREAM, 0), heard = listener(4), end[2];
  check_refused(fresh, EPIPE, 1);
  check_refused(heard, EPIPE, 1);
  tcp_pair(&end[0], &end[1]);
  CHECK(shutdown(end[0], SHUT_WR) == 0);
  check_refused(end[0], EPIPE, 1);
  int udp = socket(AF_INET, SOCK_DGRAM, 0);
  check_refused(udp, EDESTADDRREQ, 0);
  int gone = socket(AF_INET, SOCK_DGRAM, 0);
  CHECK(bind_to(gone, 0) == 0);
  int dead = port_of(gone);
  close(gone);
  CHECK(connect_to(udp, dead) == 0 && sendfile(udp, file_of_bytes(), &(off_t){0}, 10) == 10);
  CHECK(events(udp, POLLIN, 20000) & POLLERR);
  FAILS(sendfile(udp, file_of_bytes(), &(off_t){0}, 10), ECONNREFUSED);
}

/* What has room says EAGAIN when there is nothing to send; what is sent behind a full queue is not
   lost. */
static void sockets_that_do_not_wait(void) {
  int pipes[2], end[2];
  char c[4];
  tcp_pair(&end[0], &end[1]);
  CHECK(fcntl(end[0], F_SETFL, O_NONBLOCK) == 0 && pipe2(pipes, O_NONBLOCK) == 0);
  FAILS(splice(pipes[0], NULL, end[0], NULL, 10, SPLICE_F_NONBLOCK), EAGAIN);
  CHECK(write(pipes[1], "abc", 3) == 3);
  CHECK(splice(pipes[0], NULL, end[0], NULL, 10, SPLICE_F_NONBLOCK) == 3);
  CHECK(recv(end[1], c, 3, MSG_WAITALL) == 3);
}

/* A report in the error queue, of which was told already, hides no datagram. */
static void a_datagram_behind_a_report(void) {
  int pipes[2], on = 1, s = socket(AF_INET, SOCK_DGRAM, 0), gone = socket(AF_INET, SOCK_DGRAM, 0);
  char buf[10];
  CHECK(pipe(pipes) == 0 && bind_to(s, 0) == 0 && bind_to(gone, 0) == 0);
  struct sockaddr_in dead = loopback(port_of(gone)), own = loopback(port_of(s));
  close(gone);
  CHECK(setsockopt(s, IPPROTO_IP, IP_RECVERR, &on, sizeof on) == 0);
  CHECK(sendto(s, "lost", 4, 0, (struct sockaddr *)&dead, sizeof dead) == 4);
  CHECK(events(s, POLLIN, 20000) & POLLERR);
  FAILS(recv(s, buf, sizeof buf, MSG_DONTWAIT), ECONNREFUSED);
  FAILS(recv(s, buf, sizeof buf, MSG_DONTWAIT), EAGAIN);
  CHECK(events(s, POLLIN, 20000) & POLLERR);
  int from = socket(AF_INET, SOCK_DGRAM, 0);
  CHECK(sendto(from, "abc", 3, 0, (struct sockaddr *)&own, sizeof own) == 3);
  CHECK(splice(s, NULL, pipes[1], NULL, 10, 0) == 3 && read(pipes[0], buf, sizeof buf) == 3);
  CHECK(memcmp(buf, "abc", 3) == 0);
}

static void sockets_that_give_none(void) {
  int pipes[2], end[2];
  CHECK(pipe(pipes) == 0);
  int fresh = socket(AF_INET, SOCK_STREAM, 0);
  FAILS(splice(fresh, NULL, pipes[1], NULL, 10, 0), ENOTCONN);
  tcp_pair(&end[0], &end[1]);
  CHECK(write(end[0], "abc", 3) == 3);
  CHECK(splice(end[1], NULL, pipes[1], NULL, 10, 0) == 3);
  CHECK(shutdown(end[0], SHUT_WR) == 0);
  CHECK(splice(end[1], NULL, pipes[1], NULL, 10, 0) == 0);
  tcp_pair(&end[0], &end[1]);
  struct linger now = {1, 0};
  CHECK(setsockopt(end[0], SOL_SOCKET, SO_LINGER, &now, sizeof now) == 0 && close(end[0]) == 0);
  FAILS(splice(end[1], NULL, pipes[1], NULL, 10, 0), ECONNRESET);
}

int main(void) {
  sockets_that_take_none();
  sockets_that_do_not_wait();
  a_datagram_behind_a_report();
  sockets_that_give_none();
  FINISH();
}
