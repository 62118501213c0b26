/* What a TCP socket shows in each state after each way to end it: poll, read, write, names,
 * options. Prints a row for each; with a file of rows in TCP_TABLE it compares, and looks again
 * after a while where a row differs (not everything is there when a call returns). tcp_table.txt is
 * what Linux says: `env -u TCP_TABLE prog_tcp_table >tests/programs/tcp_table.txt` renews it. */
#include "check.h"

#include <stdarg.h>

static char row[400];
static unsigned settle_us;

static void say(const char* format, ...) {
  va_list list;
  va_start(list, format);
  size_t n = strlen(row);
  vsnprintf(row + n, sizeof row - n, format, list);
  va_end(list);
}

static void settle(void) { usleep(settle_us); }

static const char* error_name(int e) {
  switch (e) {
    case 0: return "0";
    case EAGAIN: return "EAGAIN";
    case EBADF: return "EBADF";
    case ECONNABORTED: return "ECONNABORTED";
    case ECONNREFUSED: return "ECONNREFUSED";
    case ECONNRESET: return "ECONNRESET";
    case EINVAL: return "EINVAL";
    case EISCONN: return "EISCONN";
    case EALREADY: return "EALREADY";
    case EINPROGRESS: return "EINPROGRESS";
    case ENOTCONN: return "ENOTCONN";
    case EPIPE: return "EPIPE";
    default: return strerror(e);
  }
}

static void say_result(const char* what, ssize_t r) {
  if (r < 0) {
    say(" %s=%s", what, error_name(errno));
  } else {
    say(" %s=%zd", what, r);
  }
}

static void say_poll(int fd) {
  static const struct {
    short bit;
    const char* name;
  } names[] = {{POLLIN, "IN"},   {POLLOUT, "OUT"},     {POLLERR, "ERR"},
               {POLLHUP, "HUP"}, {POLLRDHUP, "RDHUP"}, {POLLPRI, "PRI"}};
  short e = events(fd, POLLIN | POLLOUT | POLLRDHUP | POLLPRI, 0);
  say(" poll=");
  int n = 0;
  for (unsigned i = 0; i < sizeof names / sizeof *names; ++i) {
    if (e & names[i].bit) say("%s%s", n++ ? "|" : "", names[i].name);
  }
  if (n == 0) say("-");
}

static void look(int fd, int error_first) {
  char buf[100];
  int value = 1;
  struct sockaddr_in a;
  socklen_t n = sizeof a;
  say_poll(fd);
  say_result("peer", getpeername(fd, (struct sockaddr*)&a, &n));
  n = sizeof a;
  say_result("name", getsockname(fd, (struct sockaddr*)&a, &n));
  say_result("set", setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, sizeof value));
  n = sizeof value;
  value = 0;
  say_result("get", getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, &n) == 0 ? value : -1);
  if (error_first) say(" error=%s", error_name(sock_error(fd)));
  say_result("read", recv(fd, buf, sizeof buf, MSG_DONTWAIT));
  say_result("read", recv(fd, buf, sizeof buf, MSG_DONTWAIT));
  say_result("write", send(fd, "w", 1, MSG_NOSIGNAL | MSG_DONTWAIT));
  settle();
  say(" error=%s", error_name(sock_error(fd)));
  say_result("write", send(fd, "w", 1, MSG_NOSIGNAL | MSG_DONTWAIT));
  settle();
  say_poll(fd);
}

static void hard_close(int fd) {
  struct linger hard = {1, 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
  close(fd);
}

enum state {
  fresh,
  bound,
  refused,
  connected,
  unread,
  peer_done,
  peer_done_read,
  own_done,
  both_done,
  own_deaf,
  reset,
  reset_after_data,
  reset_after_end,
  dissolved,
  states
};
static const char* const state_names[] = {
    "fresh",           "bound",    "refused",   "connected", "unread", "peer-done",
    "peer-done-read",  "own-done", "both-done", "own-deaf",  "reset",  "reset-after-data",
    "reset-after-end", "dissolved"};

/* A socket in a state, and its peer or -1. */
static int make(enum state st, int accepted, int* peer) {
  char buf[10];
  int s = -1, p = -1;
  if (st <= refused) {
    s = socket(AF_INET, SOCK_STREAM, 0);
    if (st != fresh) bind_to(s, 0);
    if (st == refused) {
      fcntl(s, F_SETFL, O_NONBLOCK);
      int closed = socket(AF_INET, SOCK_STREAM, 0);
      bind_to(closed, 0);
      connect_to(s, port_of(closed));
      close(closed);
      events(s, POLLOUT, 5000);
      fcntl(s, F_SETFL, 0);
    }
    *peer = -1;
    return s;
  }
  tcp_pair(&s, &p);
  if (accepted) {
    int t = s;
    s = p;
    p = t;
  }
  switch (st) {
    case unread: CHECK(write(p, "1234", 4) == 4); break;
    case peer_done: shutdown(p, SHUT_WR); break;
    case peer_done_read:
      shutdown(p, SHUT_WR);
      CHECK(recv(s, buf, 1, 0) == 0);
      break;
    case own_done: shutdown(s, SHUT_WR); break;
    case both_done:
      shutdown(p, SHUT_WR);
      CHECK(recv(s, buf, 1, 0) == 0);
      shutdown(s, SHUT_WR);
      break;
    case own_deaf: shutdown(s, SHUT_RD); break;
    case reset:
      hard_close(p);
      p = -1;
      break;
    case reset_after_data:
      CHECK(write(p, "1234", 4) == 4);
      CHECK(events(s, POLLIN, 5000) & POLLIN);
      hard_close(p);
      p = -1;
      break;
    case reset_after_end:
      shutdown(p, SHUT_WR);
      CHECK(recv(s, buf, 1, 0) == 0);
      hard_close(p);
      p = -1;
      break;
    case dissolved: {
      struct sockaddr a = {.sa_family = AF_UNSPEC};
      connect(s, &a, sizeof a);
      CHECK(sock_error(s) == ECONNRESET); /* docs/dropin.md: POLLERR is not shown for it */
      break;
    }
    default: break;
  }
  *peer = p;
  return s;
}

enum action {
  nothing,
  shut_rd,
  shut_wr,
  shut_both,
  close_own,
  reset_own,
  reset_peer,
  close_peer,
  actions
};
static const char* const action_names[] = {"nothing", "shut-rd",   "shut-wr",    "shut-both",
                                           "close",   "reset-own", "reset-peer", "close-peer"};

static void fill_row(enum state st, enum action act, int accepted, int error_first) {
  row[0] = 0;
  say("%s %s%s%s:", state_names[st], action_names[act], accepted ? " accepted" : "",
      error_first ? " error-first" : "");
  int p, s = make(st, accepted, &p);
  settle();
  switch (act) {
    case shut_rd: say_result("call", shutdown(s, SHUT_RD)); break;
    case shut_wr: say_result("call", shutdown(s, SHUT_WR)); break;
    case shut_both: say_result("call", shutdown(s, SHUT_RDWR)); break;
    case close_own:
      close(s);
      s = -1;
      break;
    case reset_own:
      hard_close(s);
      s = -1;
      break;
    case reset_peer:
      hard_close(p);
      p = -1;
      break;
    case close_peer:
      close(p);
      p = -1;
      break;
    default: break;
  }
  settle();
  if (s >= 0) look(s, error_first);
  if (p >= 0 && act != nothing) {
    say(" | peer");
    look(p, error_first);
  }
  if (s >= 0) close(s);
  if (p >= 0) close(p);
}

/* The row of the file that begins with the same name. */
static const char* expected_row(const char* table) {
  static char line[400];
  size_t key = (size_t)(strchr(row, ':') - row) + 1;
  for (const char* at = table; *at; at += strcspn(at, "\n"), at += *at == '\n') {
    if (strncmp(at, row, key) != 0) continue;
    size_t n = strcspn(at, "\n");
    memcpy(line, at, n);
    line[n] = 0;
    return line;
  }
  return "";
}

int main(void) {
  alarm(110);
  signal(SIGPIPE, SIG_IGN);
  static char table[200000];
  const char* file = getenv("TCP_TABLE");
  if (file != NULL) {
    int fd = open(file, O_RDONLY);
    CHECK(fd >= 0 && read(fd, table, sizeof table - 1) > 0);
    close(fd);
  }
  for (int st = 0; st < states; ++st) {
    for (int act = 0; act < actions; ++act) {
      int peerless = st <= refused || (st >= reset && st != dissolved);
      if (peerless && act >= close_own) continue;
      for (int side = 0; side < (st <= refused ? 1 : 2); ++side) {
        for (int error_first = 0; error_first < 2; ++error_first) {
          for (settle_us = file ? 2000 : 20000;; settle_us *= 8) {
            fill_row((enum state)st, (enum action)act, side, error_first);
            if (file == NULL || strcmp(row, expected_row(table)) == 0 || settle_us > 200000) break;
          }
          if (file == NULL) {
            printf("%s\n", row);
          } else if (strcmp(row, expected_row(table)) != 0) {
            ++failures;
            printf("Linux: %s\nhere:  %s\n", expected_row(table), row);
          }
        }
      }
    }
  }
  FINISH();
}
