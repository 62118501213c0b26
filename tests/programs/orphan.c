/* Run with a daemon that is killed on the way: nothing may hang, everything says ECONNRESET. */
#include "check.h"
#include <pthread.h>

static void *blocked_accept(void *arg) {
  FAILS(accept(*(int *)arg, NULL, NULL), ECONNRESET);
  return NULL;
}

static void *blocked_receive(void *arg) {
  struct sockaddr_in from;
  socklen_t n = sizeof from;
  char c;
  FAILS(recvfrom(*(int *)arg, &c, 1, 0, (struct sockaddr *)&from, &n), ECONNRESET);
  FAILS(recvfrom(*(int*)arg, &c, 1, 0, (struct sockaddr*)&from, &n), ECONNRESET);
  return NULL;
}

static void *blocked_read(void *arg) {
  char c;
  FAILS(read(*(int *)arg, &c, 1), ECONNRESET);
  return NULL;
}

static void* blocked_paired_receive(void* arg) {
  char c;
  for (int i = 0; i < 3; ++i) {
    FAILS(recv(*(int*)arg, &c, 1, 0), ECONNRESET);
    CHECK((events(*(int*)arg, POLLIN, 10000) & POLLIN) != 0);
  }
  FAILS(read(*(int*)arg, &c, 1), ECONNRESET);
  return NULL;
}

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

int main(void) {
  int l = listener(4), u = socket(AF_INET, SOCK_DGRAM, 0), a, b;
  int v = socket(AF_INET, SOCK_DGRAM, 0);
  CHECK(bind_to(u, 0) == 0);
  struct sockaddr_in there;
  socklen_t n = sizeof there;
  CHECK(getsockname(u, (struct sockaddr*)&there, &n) == 0);
  CHECK(connect(v, (struct sockaddr*)&there, n) == 0);
  tcp_pair(&a, &b);
  pthread_t t[4];
  pthread_create(&t[0], NULL, blocked_accept, &l);
  pthread_create(&t[1], NULL, blocked_receive, &u);
  pthread_create(&t[2], NULL, blocked_read, &a);
  pthread_create(&t[3], NULL, blocked_paired_receive, &v);
  usleep(50000);
  printf("ready\n");
  fflush(stdout);
  for (int i = 0; i < 4; ++i) pthread_join(t[i], NULL);
  FAILS(socket(AF_INET, SOCK_STREAM, 0), ECONNRESET);
  FAILS(listen(l, 5), ECONNRESET);
  CHECK(fcntl(l, F_SETFL, O_NONBLOCK) == 0);
  FAILS(send(b, "x", 1, MSG_NOSIGNAL), ECONNRESET);
  FAILS(send(b, "x", 1, MSG_NOSIGNAL), EPIPE);
  /* A program that just tries again, as servers do, takes no processor for itself. */
  for (int i = 0; i < 100; ++i) FAILS(accept(l, NULL, NULL), ECONNRESET);
  const double start = seconds();
  for (int i = 0; i < 10; ++i) FAILS(accept(l, NULL, NULL), ECONNRESET);
  CHECK(seconds() - start > 0.4);
  FINISH();
}
