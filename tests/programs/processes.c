/* fork, exec with an environment of one's own, vfork, many workers on one listener, a crash. */
#include "check.h"
#include <pthread.h>
#include <sched.h>
#include <spawn.h>

static void child_must_pass(pid_t pid) {
  int status = -1;
  CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

/* After exec: descriptor 9 is a listener; serve one connection and make one. */
static int after_exec(void) {
  CHECK(port_of(9) > 0);
  int s = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(connect_to(s, port_of(9)) == 0);
  int b = accept(9, NULL, NULL);
  CHECK(b >= 0 && write(s, "x", 1) == 1);
  char c;
  CHECK(read(b, &c, 1) == 1);
  FINISH();
}

static void *busy(void *arg) {
  for (int i = 0; i < 300; ++i) {
    int s = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(s >= 0 && bind_to(s, 0) == 0);
    close(s);
  }
  return arg;
}

static void on_signal(int sig) {
  (void)sig;
  int e = errno;
  int s = socket(AF_INET, SOCK_DGRAM, 0);
  if (s < 0 || bind_to(s, 0) != 0) ++failures;
  close(s);
  errno = e;
}

/* A child in a user namespace of its own that maps no users goes on as before. */
static void among_strangers(void) {
  pid_t pid = fork();
  if (pid == 0) {
    if (unshare(CLONE_NEWUSER) != 0) _exit(0); /* not allowed here */
    int a, b;
    char c;
    tcp_pair(&a, &b);
    CHECK(write(a, "x", 1) == 1 && read(b, &c, 1) == 1);
    on_signal(0);
    _exit(failures != 0);
  }
  child_must_pass(pid);
}

int main(int argc, char **argv) {
  if (argc > 1) return after_exec();
  char buf[100];
  int a, b;

  /* A child has the parent's sockets, and makes its own. */
  tcp_pair(&a, &b);
  pid_t pid = fork();
  if (pid == 0) {
    CHECK(write(a, "child", 5) == 5);
    int c, d;
    tcp_pair(&c, &d);
    CHECK(write(c, "x", 1) == 1 && read(d, buf, 1) == 1);
    _exit(failures != 0);
  }
  close(a);
  CHECK(recv(b, buf, 5, MSG_WAITALL) == 5);
  child_must_pass(pid);
  CHECK(read(b, buf, 1) == 0);
  close(b);

  /* exec, with the environment, without one, and through spawn and vfork. */
  int l = listener(8);
  dup2(l, 9);
  char *args[] = {argv[0], "again", NULL}, *none[] = {NULL};
  extern char **environ;
  pid = fork();
  if (pid == 0) {
    execv(argv[0], args);
    _exit(99);
  }
  child_must_pass(pid);
  pid = vfork();
  if (pid == 0) {
    execve(argv[0], args, none);
    _exit(99);
  }
  child_must_pass(pid);
  pid = fork();
  if (pid == 0) {
    clearenv();
    execl(argv[0], argv[0], "again", (char *)NULL);
    _exit(99);
  }
  child_must_pass(pid);
  CHECK(posix_spawn(&pid, argv[0], NULL, NULL, args, none) == 0);
  child_must_pass(pid);
  close(9);

  /* Workers on one listener: each connection is accepted once. */
  pid_t workers[3];
  for (int i = 0; i < 3; ++i) {
    workers[i] = fork();
    if (workers[i] != 0) continue;
    for (;;) {
      int c = accept(l, NULL, NULL);
      CHECK(c >= 0);
      char what = 0;
      if (c < 0 || read(c, &what, 1) != 1) _exit(1);
      CHECK(write(c, &what, 1) == 1);
      close(c);
      if (what == 'q') _exit(failures != 0);
    }
  }
  for (int i = 0; i < 33; ++i) {
    char what = i < 30 ? 'a' : 'q', echo = 0;
    int s = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect_to(s, port_of(l)) == 0 && write(s, &what, 1) == 1);
    CHECK(read(s, &echo, 1) == 1 && echo == what);
    close(s);
  }
  for (int i = 0; i < 3; ++i) child_must_pass(workers[i]);
  close(l);

  /* A child that dies with unread data resets, one that dies without closes. */
  for (int unread = 0; unread < 2; ++unread) {
    tcp_pair(&a, &b);
    pid = fork();
    if (pid == 0) {
      close(a);
      if (unread) events(b, POLLIN, 5000);
      raise(SIGKILL);
    }
    close(b);
    if (unread) CHECK(write(a, "x", 1) == 1);
    int status;
    waitpid(pid, &status, 0);
    CHECK(events(a, POLLIN, 5000) & POLLIN);
    if (unread) {
      FAILS(read(a, buf, 1), ECONNRESET);
    } else {
      CHECK(read(a, buf, 1) == 0);
    }
    close(a);
  }

  among_strangers();

  /* Threads make sockets while others fork, and a signal handler does too. */
  signal(SIGUSR1, on_signal);
  pthread_t t[2];
  for (int i = 0; i < 2; ++i) pthread_create(&t[i], NULL, busy, NULL);
  for (int i = 0; i < 20; ++i) {
    pthread_kill(t[i % 2], SIGUSR1);
    pid = fork();
    if (pid == 0) {
      int s = socket(AF_INET, SOCK_STREAM, 0);
      _exit(s < 0 || bind_to(s, 0) != 0 || port_of(s) <= 0);
    }
    child_must_pass(pid);
  }
  for (int i = 0; i < 2; ++i) pthread_join(t[i], NULL);
  FINISH();
}
