/* Urgent data as a program sees them that asks: by MSG_OOB, at the mark, in line. What poll() shows
 * and SIGURG are tcp_special.c's. */
#include "check.h"

static int at_mark(int fd) {
  int value = -1;
  CHECK(ioctl(fd, SIOCATMARK, &value) == 0);
  return value;
}

/* The urgent byte has arrived. */
static void await_urgent(int fd) {
  char byte;
  while (recv(fd, &byte, 1, MSG_OOB | MSG_PEEK) < 0) {
    if (errno != EINVAL && errno != EAGAIN) break;
    events(fd, 0, 1);
  }
}

static void read_exactly(int fd, const char* wanted) {
  char room[16] = {0};
  const ssize_t len = (ssize_t)strlen(wanted);
  ssize_t got = 0;
  while (got < len) {
    const ssize_t n = recv(fd, room + got, (size_t)(len - got), 0);
    if (n <= 0) break;
    got += n;
  }
  CHECK(got == len && memcmp(room, wanted, (size_t)len) == 0);
}

/* The byte can be had before what lies ahead of it, at the mark, or when the mark is long past. */
static void when_it_is_asked_for(int when) {
  int a, b;
  char room[16];
  tcp_pair(&a, &b);
  CHECK(send(a, "ab", 2, 0) == 2 && send(a, "!", 1, MSG_OOB) == 1 && send(a, "cd", 2, 0) == 2);
  await_urgent(b);
  CHECK(at_mark(b) == 0);
  if (when == 0) CHECK(recv(b, room, 1, MSG_OOB) == 1 && *room == '!');
  CHECK(recv(b, room, sizeof room, MSG_PEEK) == 2);
  CHECK(recv(b, room, sizeof room, 0) == 2 && memcmp(room, "ab", 2) == 0);
  CHECK(at_mark(b) == 1);
  if (when == 1) {
    CHECK(recv(b, room, 1, MSG_OOB) == 1 && *room == '!');
    CHECK(at_mark(b) == 1);
  }
  if (when < 2) FAILS(recv(b, room, 1, MSG_OOB), EINVAL);
  read_exactly(b, "cd");
  CHECK(at_mark(b) == 0);
  close(a);
  CHECK(recv(b, room, 1, 0) == 0);
  close(b);
}

static void in_line(void) {
  int a, b, on = 1;
  char room[16];
  tcp_pair(&a, &b);
  CHECK(setsockopt(b, SOL_SOCKET, SO_OOBINLINE, &on, sizeof on) == 0);
  CHECK(send(a, "ab", 2, 0) == 2 && send(a, "!", 1, MSG_OOB) == 1 && send(a, "cd", 2, 0) == 2);
  read_exactly(b, "ab");
  FAILS(recv(b, room, 1, MSG_OOB), EINVAL);
  CHECK(events(b, POLLIN, 5000) & POLLIN);
  CHECK(at_mark(b) == 1);
  read_exactly(b, "!cd");
  CHECK(at_mark(b) == 0);
  close(a);
  close(b);
}

static void one_after_another(void) {
  int a, b;
  char room[16];
  tcp_pair(&a, &b);
  for (char c = 'a'; c < 'f'; ++c) {
    CHECK(send(a, &c, 1, MSG_OOB) == 1);
    await_urgent(b);
    CHECK(recv(b, room, 1, MSG_OOB) == 1 && *room == c);
    CHECK(at_mark(b) == 1);
    FAILS(recv(b, room, 1, MSG_DONTWAIT), EAGAIN);
    CHECK(send(a, "x", 1, 0) == 1);
    read_exactly(b, "x");
  }
  close(a);
  close(b);
}

static int unread(int fd) {
  int value = -1;
  CHECK(ioctl(fd, FIONREAD, &value) == 0);
  return value;
}

/* FIONREAD counts up to the mark. */
static void counted_to_the_mark(void) {
  int a, b;
  char room[16];
  tcp_pair(&a, &b);
  CHECK(send(a, "ab", 2, 0) == 2 && send(a, "!", 1, MSG_OOB) == 1 && send(a, "cd", 2, 0) == 2);
  await_urgent(b);
  CHECK(unread(b) == 2);
  CHECK(recv(b, room, 1, 0) == 1 && unread(b) == 1);
  CHECK(recv(b, room, 1, MSG_OOB) == 1 && unread(b) == 1);
  CHECK(recv(b, room, sizeof room, 0) == 1);
  read_exactly(b, "cd");
  CHECK(unread(b) == 0);
  CHECK(send(a, "?", 1, MSG_OOB) == 1);
  await_urgent(b);
  CHECK(unread(b) == 0);
  FAILS(recv(b, room, sizeof room, MSG_DONTWAIT), EAGAIN);
  CHECK(unread(b) == 0);
  close(a);
  close(b);
}

int main(void) {
  for (int when = 0; when < 3; ++when) when_it_is_asked_for(when);
  in_line();
  one_after_another();
  counted_to_the_mark();
  FINISH();
}
