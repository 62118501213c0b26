// Requests about interfaces, routes and neighbours, and those about one of our sockets that its
// anchor cannot answer.
#include "calls/ioctl.h"

#include <linux/sockios.h>
#include <net/if.h>
#include <net/route.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>

#include "calls/anchor.h"
#include "calls/datagram_tag.h"
#include "calls/exchange.h"
#include "calls/interfaces.h"
#include "calls/kernel.h"

namespace ph::calls {
namespace {

using dropin::request_kind;

/// Routes, interfaces, ARP: everything whose argument is about the network, not the descriptor.
bool about_network(unsigned long request) {
  return request >= SIOCADDRT && request < SIOCPROTOPRIVATE;
}

/// When the datagram read last came: two words, in either of two numberings.
bool is_stamp(unsigned long request) {
  return request == SIOCGSTAMP_OLD || request == SIOCGSTAMPNS_OLD || request == SIOCGSTAMP_NEW ||
         request == SIOCGSTAMPNS_NEW;
}

/// Requests about one of our sockets that the anchor cannot answer.
bool about_socket(unsigned long request) {
  return request == SIOCOUTQ || request == SIOCOUTQNSD || request == SIOCATMARK ||
         request == FIONREAD || is_stamp(request);
}

constexpr std::size_t longest_argument = 68;  // struct arpreq

/// Bytes of the argument that the daemon must see and may change.
std::size_t argument_size(unsigned long request) {
  switch (request) {
    case SIOCGARP:
    case SIOCSARP:
    case SIOCDARP: return longest_argument;
    default: return sizeof(ifreq);
  }
}

/// Asks about `size` bytes of the program's memory, which the answer takes the place of.
long ask_about_argument(caller& c, int held, unsigned long request, u64 argument,
                        std::size_t size) {
  u8 own[longest_argument];
  if (!c.read(argument, own, size)) return -EFAULT;
  std::size_t len = size;
  const int result =
      ask_for(c, held, request_kind::ioctl, static_cast<s32>(request), 0, 0, own, size, own, &len);
  if (result < 0) return result;
  return c.write(argument, own, len) ? result : -EFAULT;
}

long list_interfaces(caller& c, u64 argument) {
  ifconf conf;
  if (!c.read(argument, &conf, sizeof conf)) return -EFAULT;
  const int room = conf.ifc_buf == nullptr ? 0 : conf.ifc_len;
  const long used = fill_interface_list(c, reinterpret_cast<std::uintptr_t>(conf.ifc_buf), room);
  if (used < 0) return used;
  conf.ifc_len = static_cast<int>(used);
  return c.write(argument, &conf, sizeof conf) ? 0 : -EFAULT;
}

/// A route's device is a name elsewhere in memory: it follows the rest in the request.
long change_route(caller& c, unsigned long request, u64 argument) {
  struct {
    rtentry route;
    char name[IFNAMSIZ];
  } all{};
  if (!c.read(argument, &all.route, sizeof all.route)) return -EFAULT;
  const auto name = static_cast<u64>(reinterpret_cast<std::uintptr_t>(all.route.rt_dev));
  for (std::size_t i = 0; name != 0 && i + 1 < sizeof all.name; ++i) {
    if (!c.read(name + i, &all.name[i], 1)) return -EFAULT;
    if (all.name[i] == 0) break;
  }
  return ask_for(c, -1, request_kind::ioctl, static_cast<s32>(request), 0, 0, &all, sizeof all,
                 nullptr, nullptr);
}

long network_ioctl(caller& c, int held, unsigned long request, u64 argument) {
  if (argument == 0) return -EFAULT;
  ifreq own;
  switch (request) {
    case SIOCGIFCONF: return list_interfaces(c, argument);
    case SIOCETHTOOL: return c.read(argument, &own, sizeof own) ? -EOPNOTSUPP : -EFAULT;
    case SIOCADDRT:
    case SIOCDELRT: return change_route(c, request, argument);
    default: return ask_about_argument(c, held, request, argument, argument_size(request));
  }
}

/// FIONREAD: what lies in the anchor, and what the stack keeps behind it, up to the mark.
long unread_bytes(caller& c, const anchor& a, u64 argument) {
  int behind = 0, here = 0;
  std::size_t len = sizeof behind;
  const int asked = ask_for(c, a.fd, request_kind::ioctl, static_cast<s32>(FIONREAD), 0, 0, &behind,
                            len, &behind, &len);
  const long got = c.kernel(SYS_ioctl, a.fd, FIONREAD, kernel::arg(&here), 0, 0);
  if (got < 0) return asked < 0 ? asked : got;
  here += asked >= 0 ? behind : 0;
  if (here < 0) here = 0;  // read by another thread meanwhile
  return c.write(argument, &here, sizeof here) ? 0 : -EFAULT;
}

/// FIONREAD of a datagram socket: what comes after it was shut for reading the stack keeps.
long next_datagram(caller& c, const anchor& a, u64 argument) {
  if (!c.expects(habit::shut_reads)) return not_ours;
  int here = 0;
  const long got = c.kernel(SYS_ioctl, a.fd, FIONREAD, kernel::arg(&here), 0, 0);
  if (got != 0 || here != 0) return not_ours;
  return ask_about_argument(c, a.fd, FIONREAD, argument, sizeof here);
}

/// Of a datagram socket, what waits at the anchor says what came before it.
long last_stamp(caller& c, const anchor& a, unsigned long request, u64 argument) {
  s64 stamp[2] = {};
  received_tag next;
  const int error = a.stream() ? 0 : peek_tag(c, a.fd, next);
  const iovec pieces[2] = {{stamp, sizeof stamp}, {next.bytes, next.len}};
  exchange x;
  x.kind = request_kind::ioctl;
  x.fd = a.fd;
  x.arg[0] = static_cast<s32>(request);
  x.arg[1] = error == -ECONNRESET ? 1 : 0;
  x.data = pieces;
  x.data_pieces = a.stream() ? 1 : 2;
  x.out = stamp;
  x.out_room = sizeof stamp;
  const int result = c.ask(x);
  if (result < 0) return result;
  return c.write(argument, stamp, sizeof stamp) ? result : -EFAULT;
}

/// The anchor knows it while it has the urgent byte; the daemon when that was taken, or when this
/// kernel's AF_UNIX carries none.
long is_at_mark(caller& c, const anchor& a, u64 argument) {
  int here = 0;
  const long got = c.kernel(SYS_ioctl, a.fd, SIOCATMARK, kernel::arg(&here), 0, 0);
  if (got == -ENOTTY || (got == 0 && here == 0)) {
    return ask_about_argument(c, a.fd, SIOCATMARK, argument, sizeof here);
  }
  if (got < 0) return got;
  return c.write(argument, &here, sizeof here) ? 0 : -EFAULT;
}

long socket_ioctl(caller& c, const anchor& a, unsigned long request, u64 argument) {
  if (is_stamp(request)) {
    return argument != 0 ? last_stamp(c, a, request, argument) : -EFAULT;
  }
  if (argument == 0) return not_ours;
  if (a.stream() && request == SIOCATMARK) return is_at_mark(c, a, argument);
  if (request != FIONREAD) return ask_about_argument(c, a.fd, request, argument, sizeof(int));
  return a.stream() ? unread_bytes(c, a, argument) : next_datagram(c, a, argument);
}

}  // namespace

bool ioctl_may_be_ours(unsigned long request) {
  return about_network(request) || about_socket(request);
}

long do_ioctl(caller& c, int number, unsigned long request, u64 argument) {
  if (!ioctl_may_be_ours(request)) return not_ours;
  anchor a;
  const bool ours = find_anchor(c, number, a);
  if (about_network(request) && a.fd >= 0 && (ours || kernel::is_socket(c, a.fd))) {
    return network_ioctl(c, ours ? a.fd : -1, request, argument);
  }
  return ours ? socket_ioctl(c, a, request, argument) : not_ours;
}

}  // namespace ph::calls
