/* Run with a daemon that is killed on the way: nothing may hang, everything says ECONNRESET. */
#include "check.h"

#include <pthread.h>
#include <sys/resource.h>
#include <sys/stat.h>

enum { tries = 80, many = 300 };

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

/* Tries again until the shim says why that is of no use, with `to` as standard error. */
static pid_t told_on(int to, int l) {
  const pid_t child = fork();
  if (child != 0) return child;
  dup2(to, STDERR_FILENO);
  for (int i = 0; i < tries; ++i) {
    if (accept(l, NULL, NULL) != -1 || errno != ECONNRESET) _exit(1);
  }
  _exit(0);
}

static void lives(pid_t child) {
  int status = -1;
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(status == 0);
}

/* What the shim says goes to people, and harms no program. */
static void says_it_to_people_only(int l) {
  int read_by_none[2], full[2], heard[2], peer[2];
  char line[512];
  CHECK(pipe(read_by_none) == 0 && pipe(full) == 0 && pipe(heard) == 0);
  CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, peer) == 0);
  FILE* file = tmpfile();
  CHECK(file != NULL);
  close(read_by_none[0]);
  CHECK(fcntl(full[1], F_SETFL, O_NONBLOCK) == 0);
  while (write(full[1], line, sizeof line) > 0) {}
  CHECK(fcntl(full[1], F_SETFL, 0) == 0);
  const int to[] = {read_by_none[1], full[1], heard[1], peer[1], fileno(file)};
  pid_t child[5];
  for (int i = 0; i < 5; ++i) child[i] = told_on(to[i], l);
  for (int i = 0; i < 5; ++i) lives(child[i]);
  close(heard[1]);
  CHECK(read(heard[0], line, sizeof line) > 4 && memcmp(line, "ph: ", 4) == 0);
  FAILS(recv(peer[0], line, sizeof line, MSG_DONTWAIT), EAGAIN);
  struct stat st;
  CHECK(fstat(fileno(file), &st) == 0 && st.st_size == 0);
}

/* How often this thread has waited for something. */
static long pauses(void) {
  struct rusage used;
  CHECK(getrusage(RUSAGE_THREAD, &used) == 0);
  return used.ru_nvcsw;
}

/* An orderly end takes no longer than ever, however many sockets there are. */
static void ends_at_once(const int* fds) {
  const long before = pauses();
  for (int i = 0; i < many; ++i) shutdown(fds[i], SHUT_RDWR);
  for (int i = 0; i < many; ++i) close(fds[i]);
  CHECK(pauses() - before < many / 2);
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
  int fds[many];
  const struct linger patient = {1, 5};
  for (int i = 0; i < many; ++i) {
    fds[i] = listener(1);
    CHECK(setsockopt(fds[i], SOL_SOCKET, SO_LINGER, &patient, sizeof patient) == 0);
  }
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
  says_it_to_people_only(l);
  /* A program that just tries again, as servers do, takes no processor for itself. */
  for (int i = 0; i < 100; ++i) FAILS(accept(l, NULL, NULL), ECONNRESET);
  const double start = seconds();
  for (int i = 0; i < 10; ++i) FAILS(accept(l, NULL, NULL), ECONNRESET);
  CHECK(seconds() - start > 0.4);
  ends_at_once(fds);
  FINISH();
}
