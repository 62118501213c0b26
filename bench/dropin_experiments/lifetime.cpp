// Does the kernel tell us when the last copy of an open socket is closed, even for a socket that
// has no peer (bound, listening, unconnected datagram)? An inotify watch on /proc/self/fd/N sees
// IN_CLOSE.
#include <fcntl.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <initializer_list>

#include "lab.h"

using namespace lab;

static int closes_seen(int in) {
  alignas(inotify_event) char buffer[4096];
  int n = 0;
  for (;;) {
    ssize_t const got = read(in, buffer, sizeof buffer);
    if (got <= 0) return n;
    for (ssize_t at = 0; at < got;) {
      auto const* e = reinterpret_cast<inotify_event const*>(buffer + at);
      if (e->mask & IN_CLOSE) ++n;
      at += static_cast<ssize_t>(sizeof *e + e->len);
    }
  }
}

int main() {
  int const in = inotify_init1(IN_NONBLOCK);
  for (int type : {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET}) {
    int const s = socket(AF_UNIX, type, 0);
    char path[64];
    std::snprintf(path, sizeof path, "/proc/self/fd/%d", s);
    int const wd = inotify_add_watch(in, path, IN_CLOSE);
    saw(wd >= 0, "inotify watch on a unix socket of type %d: %s", type,
        wd < 0 ? strerror(errno) : "yes");
    int ch[2];
    socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ch);
    send_fd(ch[0], s);
    int const d = dup(s);
    close(s);
    saw(closes_seen(in) == 0, "close of one of three copies: no event");
    int go[2];
    pipe(go);
    pid_t const child = fork();
    if (child == 0) {
      char c;
      close(go[1]);
      read(go[0], &c, 1);
      _exit(0);
    }
    close(go[0]);
    close(d);
    int const r = recv_fd(ch[1]);
    close(r);
    saw(closes_seen(in) == 0,
        "closed here, in flight and after receipt; child still holds it: no event");
    close(ch[0]);
    close(ch[1]);
    close(go[1]);
    waitpid(child, nullptr, 0);
    saw(closes_seen(in) == 1, "last copy (a child's) gone by exit: exactly one event");
    saw(inotify_rm_watch(in, wd) == 0, "watch can be removed afterwards");
  }
  cost("socket + watch + close + read event + unwatch", 20000, [&] {
    int const s = socket(AF_UNIX, SOCK_STREAM, 0);
    char path[64];
    std::snprintf(path, sizeof path, "/proc/self/fd/%d", s);
    int const wd = inotify_add_watch(in, path, IN_CLOSE);
    close(s);
    closes_seen(in);
    inotify_rm_watch(in, wd);
  });
  cost("socket + close alone", 20000, [&] { close(socket(AF_UNIX, SOCK_STREAM, 0)); });
  return report();
}
