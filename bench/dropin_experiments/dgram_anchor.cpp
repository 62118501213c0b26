// A datagram anchor: the source address (and any ancillary values) of a datagram travels as the
// name of the unix socket that sends it, so that plain read, recv, MSG_PEEK and recvmmsg stay the
// kernel's.
#include "lab.h"

using namespace lab;

static int named(char const* text, int flags = 0) {
  int const s = socket(AF_UNIX, SOCK_DGRAM | flags, 0);
  name n(text);
  bind(s, n.addr(), n.len);
  return s;
}

int main() {
  name pn("ph-exp-p"), dn("ph-exp-d");
  int const p = named("ph-exp-p", SOCK_NONBLOCK), d = named("ph-exp-d", SOCK_NONBLOCK);
  char buf[256];
  saw(events_of(p) == POLLOUT, "unconnected: %s", event_names(events_of(p)));
  saw_errno(write(p, "x", 1) < 0, "write on unconnected: %s (UDP: EDESTADDRREQ)");
  int const s1 = named("ph-exp-from-10.0.0.1:53");
  sendto(s1, "one", 3, 0, pn.addr(), pn.len);
  close(s1);
  int const s2 = named("ph-exp-from-10.0.0.1:53");
  saw(s2 >= 0 && sendto(s2, "", 0, 0, pn.addr(), pn.len) == 0,
      "the name is free again at once after close");
  sockaddr_un from{};
  socklen_t len = sizeof from;
  ssize_t got = recvfrom(p, buf, 2, MSG_PEEK | MSG_TRUNC, reinterpret_cast<sockaddr*>(&from), &len);
  saw(got == 3 && std::strcmp(from.sun_path + 1, "ph-exp-from-10.0.0.1:53") == 0,
      "peek, truncated: length %zd, sender %s (already closed)", got, from.sun_path + 1);
  got = read(p, buf, sizeof buf);
  saw(got == 3, "plain read returns payload only: %zd", got);
  got = recv(p, buf, sizeof buf, 0);
  saw(got == 0, "zero-length datagram: %zd", got);
  int sent = 0;
  while (sendto(s2, "x", 1, MSG_DONTWAIT, pn.addr(), pn.len) == 1) ++sent;
  saw(sent == 11, "queue of an unconnected receiver: %d datagrams, then %s", sent,
      strerrorname_np(errno));
  connect(d, pn.addr(), pn.len);
  saw(!(events_of(d) & POLLOUT), "a sender connected to it is not writable now: [%s]",
      event_names(events_of(d)));
  while (read(p, buf, sizeof buf) > 0) continue;
  saw((events_of(d) & POLLOUT) != 0, "and writable after it was drained: %s",
      event_names(events_of(d)));

  connect(p, dn.addr(), dn.len);
  saw_errno(sendto(s2, "x", 1, 0, pn.addr(), pn.len) < 0, "connected: other senders get %s");
  saw(write(p, "plain", 5) == 5 && read(d, buf, sizeof buf) == 5,
      "connected: plain write arrives unframed");
  name fn("ph-exp-f");
  int const f = named("ph-exp-f");
  saw(sendto(p, "framed", 6, 0, fn.addr(), fn.len) == 6,
      "connected: may still send to a second inlet");
  from = {};
  len = sizeof from;
  recvfrom(f, buf, sizeof buf, 0, reinterpret_cast<sockaddr*>(&from), &len);
  saw(std::strcmp(from.sun_path + 1, "ph-exp-p") == 0, "inlet knows the sender by name: %s",
      from.sun_path + 1);
  sent = 0;
  while (send(d, "x", 1, MSG_DONTWAIT) == 1) ++sent;
  saw(sent > 11, "mutually connected: %d datagrams (send buffer, not queue length)", sent);
  while (read(p, buf, sizeof buf) > 0) continue;

  // An error (a port unreachable, say): a bidirectional pair that is cut while messages wait in the
  // cutter's queue reports ECONNRESET at the other side. So: cut quietly, queue one byte from a
  // helper, pair, cut.
  sockaddr none{};
  none.sa_family = AF_UNSPEC;
  while (read(d, buf, sizeof buf) > 0) continue;
  connect(d, &none, sizeof none);
  saw(events_of(p) == POLLOUT, "daemon cuts its end, nothing queued: no error at the program");
  sendto(s2, "x", 1, 0, dn.addr(), dn.len);
  connect(d, pn.addr(), pn.len);
  connect(d, &none, sizeof none);
  short const e = events_of(p);
  saw((e & POLLERR) != 0, "cut again with a byte queued: %s", event_names(e));
  errno = 0;
  saw(read(p, buf, 1) < 0 && errno == ECONNRESET, "read gives ECONNRESET (shim asks what it was)");
  saw(read(p, buf, 1) < 0 && errno == EAGAIN, "only once");
  connect(d, pn.addr(), pn.len);
  send(d, "back", 4, 0);
  saw(read(p, buf, sizeof buf) == 4 && write(p, "x", 1) == 1, "connected again: works both ways");
  connect(p, &none, sizeof none);
  saw(sendto(s2, "x", 1, 0, pn.addr(), pn.len) == 1,
      "program's end disconnected: named senders work again");
  while (read(d, buf, sizeof buf) > 0) continue;
  while (recv(p, buf, sizeof buf, MSG_DONTWAIT) > 0) continue;
  cost("sendto by name + recvfrom with name", 100000, [&] {
    sendto(s2, "0123456789", 10, 0, pn.addr(), pn.len);
    socklen_t l = sizeof from;
    recvfrom(p, buf, sizeof buf, 0, reinterpret_cast<sockaddr*>(&from), &l);
  });
  cost("same with a new named sender each time", 20000, [&] {
    int const s = named("ph-exp-from-new");
    sendto(s, "0123456789", 10, 0, pn.addr(), pn.len);
    close(s);
    socklen_t l = sizeof from;
    recvfrom(p, buf, sizeof buf, 0, reinterpret_cast<sockaddr*>(&from), &l);
  });
  return report();
}
