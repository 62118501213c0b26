/* With every descriptor in use, calls on sockets that exist still work: from one thread, from many
   at once, and in a child. */
#include <pthread.h>
#include <sys/resource.h>
#include "check.h"

static int connected, datagram;
static struct sockaddr_in nowhere;

static void use(void) {
  int on = 1, size = 0;
  socklen_t n = sizeof size;
  struct sockaddr_in name;
  CHECK(setsockopt(connected, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0);
  CHECK(getsockopt(connected, SOL_SOCKET, SO_RCVBUF, &size, &n) == 0);
  n = sizeof name;
  CHECK(getpeername(connected, (struct sockaddr*)&name, &n) == 0);
  CHECK(sendto(datagram, "x", 1, 0, (struct sockaddr*)&nowhere, sizeof nowhere) == 1);
}

static void* use_often(void* unused) {
  (void)unused;
  for (int i = 0; i < 20; ++i) use();
  return NULL;
}

int main(void) {
  const struct rlimit few = {64, 64};
  CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
  int l = listener(4), server;
  tcp_pair(&connected, &server);
  datagram = socket(AF_INET, SOCK_DGRAM, 0);
  nowhere = loopback(9);
  int late = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(connect_to(late, port_of(l)) == 0);
  int last = -1;
  for (int fd; (fd = open("/dev/null", O_RDONLY)) >= 0;) last = fd;
  use();
  FAILS(accept(l, NULL, NULL), EMFILE);
  FAILS(socket(AF_INET, SOCK_STREAM, 0), EMFILE);
  pthread_t threads[12];
  for (int i = 0; i < 12; ++i) CHECK(pthread_create(&threads[i], NULL, use_often, NULL) == 0);
  for (int i = 0; i < 12; ++i) pthread_join(threads[i], NULL);
  pid_t child = fork();
  if (child == 0) {
    use();
    _exit(failures != 0);
  }
  int status = -1;
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  close(last);
  CHECK(accept(l, NULL, NULL) >= 0);
  FINISH();
}
