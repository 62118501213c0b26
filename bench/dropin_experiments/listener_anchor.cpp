// A listener anchor: an AF_UNIX listener to which the daemon connects once per finished handshake.
#include <fcntl.h>

#include "lab.h"

using namespace lab;

int main() {
  int const p = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
  name n("ph-exp-listener");
  bind(p, n.addr(), n.len);
  saw(events_of(p) == (POLLOUT | POLLHUP), "bound: %s", event_names(events_of(p)));
  listen(p, 0);
  saw(events_of(p) == 0, "listening, empty: [%s] (TCP: nothing)", event_names(events_of(p)));
  char c;
  saw_errno(read(p, &c, 1) < 0, "plain read: %s, never data (TCP: ENOTCONN)");
  saw(accept(p, nullptr, nullptr) < 0 && errno == EAGAIN, "accept on empty non-blocking: EAGAIN");
  int d[4], ok = 0, why = 0;
  for (int i = 0; i < 4; ++i) {
    d[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
    char text[32];
    std::snprintf(text, sizeof text, "ph-exp-conn-%d", i);
    name own(text);
    bind(d[i], own.addr(), own.len);
    if (connect(d[i], n.addr(), n.len) == 0)
      ++ok;
    else
      why = errno;
  }
  saw(ok == 1 && why == EAGAIN, "backlog 0 takes %d connection, then %s", ok, strerrorname_np(why));
  saw(events_of(p) == POLLIN, "pending connection: %s", event_names(events_of(p)));
  saw(read(p, &c, 1) < 0 && events_of(p) == POLLIN, "plain read takes nothing from it");
  send(d[0], "early", 5, 0);
  sockaddr_un from{};
  socklen_t len = sizeof from;
  int const a = accept4(p, reinterpret_cast<sockaddr*>(&from), &len, SOCK_CLOEXEC);
  saw(a >= 0 && std::strcmp(from.sun_path + 1, "ph-exp-conn-0") == 0,
      "accept's address is the name that the daemon gave its end: %s", from.sun_path + 1);
  saw(!(fcntl(a, F_GETFL) & O_NONBLOCK), "accepted fd does not inherit O_NONBLOCK (as TCP)");
  len = sizeof from;
  getsockname(a, reinterpret_cast<sockaddr*>(&from), &len);
  saw(std::strncmp(from.sun_path + 1, "ph-exp-listener", 15) == 0,
      "accepted fd's own name is the listener's");
  char b[8];
  saw(read(a, b, 8) == 5, "data sent before accept is there");
  connect(d[1], n.addr(), n.len);
  send(d[1], "x", 1, 0);
  close(p);
  saw(recv(d[1], b, 1, 0) < 0 && errno == ECONNRESET,
      "listener closed with one pending: daemon sees %s", strerrorname_np(errno));
  return report();
}
