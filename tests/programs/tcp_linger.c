/* SO_LINGER with a time: who closes last waits for the peer, but no longer than that. And who waits
   in a listener's queue. */
#include "check.h"

#include <pthread.h>
#include <stdatomic.h>

static long now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void linger_for(int fd, int seconds) {
  struct linger l = {1, seconds};
  CHECK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l) == 0);
}

/* A connection whose writer `a` has filled every buffer. */
static void full_pair(int* a, int* b) {
  static char many[65536];
  int size = 4096;
  int l = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(setsockopt(l, SOL_SOCKET, SO_RCVBUF, &size, sizeof size) == 0);
  CHECK(bind_to(l, 0) == 0 && listen(l, 4) == 0);
  *a = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(connect_to(*a, port_of(l)) == 0);
  *b = accept(l, NULL, NULL);
  close(l);
  for (int idle = 0; idle < 3;) {
    idle = send(*a, many, sizeof many, MSG_DONTWAIT) < 0 ? idle + 1 : 0;
    if (idle != 0) usleep(20000);
  }
}

static void time_over_by_dup2(void) {
  int a, b, other = socket(AF_INET, SOCK_STREAM, 0);
  full_pair(&a, &b);
  linger_for(a, 1);
  long start = now_ms();
  CHECK(dup2(other, a) == a);
  CHECK(now_ms() - start >= 900);
  close(other);
  close(a);
  close(b);
}

static void time_over(int nonblocking, int with_copy) {
  int a, b, copy = -1;
  full_pair(&a, &b);
  linger_for(a, 1);
  if (nonblocking) CHECK(fcntl(a, F_SETFL, O_NONBLOCK) == 0);
  if (with_copy) {
    copy = dup(a);
    linger_for(copy, 100);
    CHECK(close(a) == 0); /* not the last copy: returns, or the test never ends */
    linger_for(copy, 1);
    a = copy;
  }
  long start = now_ms();
  CHECK(shutdown(a, SHUT_WR) == 0);
  CHECK(close(a) == 0);
  CHECK(now_ms() - start >= 900);
  close(b);
}

/* close() in a thread of its own. */
static atomic_int begun, returned;
static void* closer(void* fd) {
  begun = 1;
  CHECK(close(*(int*)fd) == 0);
  returned = 1;
  return NULL;
}

static pthread_t closing(int* fd) {
  pthread_t thread;
  begun = returned = 0;
  CHECK(pthread_create(&thread, NULL, closer, fd) == 0);
  while (!begun) usleep(1000);
  return thread;
}

/* Nothing has happened for which close() waits. One that does not wait has time to return. */
static int still_waits(void) {
  for (int i = 0; i < 100 && !returned; ++i) usleep(1000);
  return !returned;
}

/* close() of the writer returns when the reader has taken all, long before the time is over. */
static void acknowledged(void) {
  static char many[65536];
  int a, b;
  long total = 0;
  full_pair(&a, &b);
  linger_for(a, 1000);
  pthread_t thread = closing(&a);
  CHECK(still_waits());
  for (ssize_t n; (n = read(b, many, sizeof many)) > 0;) total += n;
  CHECK(total > 0);
  pthread_join(thread, NULL);
  close(b);
}

/* A reset by the peer ends the wait; so does a signal. */
static void ended(void) {
  int a, b;
  full_pair(&a, &b);
  linger_for(a, 1000);
  pthread_t thread = closing(&a);
  CHECK(still_waits());
  linger_for(b, 0);
  close(b);
  pthread_join(thread, NULL);
}

static volatile sig_atomic_t signals;
static void count(int signal) {
  (void)signal;
  ++signals;
}

static void interrupted(void) {
  int a, b;
  struct sigaction act = {.sa_handler = count};
  struct itimerval soon = {{0, 50000}, {0, 100000}};
  struct itimerval never = {{0, 0}, {0, 0}};
  full_pair(&a, &b);
  linger_for(a, 1000);
  sigaction(SIGALRM, &act, NULL);
  setitimer(ITIMER_REAL, &soon, NULL);
  CHECK(close(a) == 0);
  CHECK(signals > 0); /* before it returned */
  setitimer(ITIMER_REAL, &never, NULL);
  close(b);
}

/* exit() closes in the background, and so does a copy in a child. */
static void left_to_exit(void) {
  int a, b, status = -1;
  full_pair(&a, &b);
  linger_for(a, 1000);
  pid_t child = fork();
  if (child == 0) {
    close(a);
    int c, d;
    full_pair(&c, &d);
    linger_for(c, 1000);
    _exit(0);
  }
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  linger_for(a, 0);
  close(a);
  close(b);
}

/* An accepted socket has its listener's; all that is there is acknowledged at once. */
static void inherited(void) {
  int l = listener(4), a = socket(AF_INET, SOCK_STREAM, 0);
  struct linger value = {0, 0};
  socklen_t n = sizeof value;
  linger_for(l, 1000);
  CHECK(connect_to(a, port_of(l)) == 0);
  int b = accept(l, NULL, NULL);
  CHECK(getsockopt(b, SOL_SOCKET, SO_LINGER, &value, &n) == 0);
  CHECK(value.l_onoff == 1 && value.l_linger == 1000);
  CHECK(send(b, "abc", 3, 0) == 3);
  CHECK(close(b) == 0);
  char buf[8];
  CHECK(recv(a, buf, sizeof buf, MSG_WAITALL) == 3);
  close(a);
  close(l); /* a listener has nothing to wait for */
  a = socket(AF_INET, SOCK_STREAM, 0);
  linger_for(a, 1000);
  CHECK(close(a) == 0);
}

/* A listener takes backlog + 1; who comes then waits for an answer. */
static void full_queue(void) {
  int l = listener(0), c[4];
  for (int i = 0; i < 4; ++i) {
    c[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    FAILS(connect_to(c[i], port_of(l)), EINPROGRESS);
  }
  CHECK(events(c[0], POLLOUT, 5000) == POLLOUT);
  for (int i = 1; i < 4; ++i) CHECK(events(c[i], POLLOUT, 100) == 0);
  for (int i = 0; i < 4; ++i) close(c[i]);
  close(l);
}

int main(void) {
  time_over(0, 0);
  time_over(1, 0);
  time_over(0, 1);
  time_over_by_dup2();
  acknowledged();
  ended();
  interrupted();
  left_to_exit();
  inherited();
  full_queue();
  FINISH();
}
