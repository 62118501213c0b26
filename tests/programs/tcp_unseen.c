/* Connections whose accept() is a system call of the program's own, which no shim sees. */
#include "check.h"

#include <sys/syscall.h>

/* accept4(2) without libc. */
static int unseen_accept(int fd) {
#if defined(__x86_64__)
  register long flags __asm__("r10") = 0;
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(SYS_accept4), "D"((long)fd), "S"(0L), "d"(0L), "r"(flags)
                   : "rcx", "r11", "memory");
  return result < 0 ? -1 : (int)result;
#else
  return accept(fd, NULL, NULL);
#endif
}

static void pair(int* a, int* b) {
  int l = listener(4);
  *a = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(connect_to(*a, port_of(l)) == 0);
  *b = unseen_accept(l);
  CHECK(*b >= 0);
  close(l);
}

static void talk(void) {
  int a, b, on = 1;
  char buf[8];
  struct sockaddr_in name;
  socklen_t n = sizeof name;
  pair(&a, &b);
  CHECK(getpeername(b, (struct sockaddr*)&name, &n) == 0 && ntohs(name.sin_port) == port_of(a));
  CHECK(setsockopt(b, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == 0);
  CHECK(send(b, "first", 5, 0) == 5 && recv(a, buf, 5, MSG_WAITALL) == 5);
  CHECK(send(a, "back", 4, 0) == 4 && recv(b, buf, 4, MSG_WAITALL) == 4);
  CHECK(shutdown(a, SHUT_WR) == 0 && recv(b, buf, 1, 0) == 0);
  CHECK(send(b, "last", 4, 0) == 4 && close(b) == 0);
  CHECK(recv(a, buf, 4, MSG_WAITALL) == 4 && memcmp(buf, "last", 4) == 0);
  CHECK(recv(a, buf, 1, 0) == 0);
  close(a);
}

/* Closed at once, by either side; with bytes unread, which is a reset. */
static void ends(void) {
  int a, b;
  char byte;
  pair(&a, &b);
  close(b);
  CHECK(recv(a, &byte, 1, 0) == 0);
  close(a);
  pair(&a, &b);
  close(a);
  CHECK(recv(b, &byte, 1, 0) == 0);
  close(b);
  pair(&a, &b);
  CHECK(send(a, "x", 1, 0) == 1 && (events(b, POLLIN, 5000) & POLLIN));
  close(b);
  CHECK(events(a, POLLIN, 5000) & POLLHUP);
  FAILS(recv(a, &byte, 1, 0), ECONNRESET);
  close(a);
}

int main(void) {
  alarm(60);
  talk();
  ends();
  FINISH();
}
