// Hooks of ioctl and syscall. Interface ioctls are answered by the daemon on any socket, because
// programs ask them on whatever socket they have.
#include <linux/sockios.h>
#include <net/if.h>
#include <net/route.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstdarg>
#include <cstring>

#include "shim/anchor.h"
#include "shim/channel.h"
#include "shim/config.h"
#include "shim/datagram_tag.h"
#include "shim/interfaces.h"
#include "shim/next.h"
#include "shim/program_memory.h"
#include "shim/raw.h"

namespace {

using namespace ph;
using namespace ph::shim;
using dropin::request_kind;

bool is_socket(int fd) {
  struct stat st {};
  return raw::fstat(fd, st) == 0 && S_ISSOCK(st.st_mode);
}

/// Routes, interfaces, ARP: everything whose argument is about the network, not the descriptor.
bool about_network(unsigned long request) {
  return request >= SIOCADDRT && request < SIOCPROTOPRIVATE;
}

/// Bytes of the argument that the daemon must see and may change.
std::size_t argument_size(unsigned long request) {
  switch (request) {
    case SIOCGARP:
    case SIOCSARP:
    case SIOCDARP: return 68;  // struct arpreq
    default: return sizeof(ifreq);
  }
}

int list_interfaces(int fd, void* argument) {
  ifconf conf;
  if (!copy_in(conf, argument)) return -EFAULT;
  const int room = conf.ifc_buf == nullptr ? 0 : conf.ifc_len;
  const long used = fill_interface_list(fd, conf.ifc_buf, room);
  if (used < 0) return static_cast<int>(used);
  conf.ifc_len = static_cast<int>(used);
  return copy_out(fd, argument, &conf, sizeof conf) ? 0 : -EFAULT;
}

/// A route's device is a name elsewhere in memory: it follows the rest in the request.
int change_route(unsigned long request, const void* argument) {
  struct {
    rtentry route;
    char name[IFNAMSIZ];
  } all{};
  if (!copy_in(all.route, argument)) return -EFAULT;
  const char* const name = all.route.rt_dev;
  for (std::size_t i = 0; name != nullptr && i + 1 < sizeof all.name; ++i) {
    if (!readable(name + i, 1)) return -EFAULT;
    if (name[i] == 0) break;
    all.name[i] = name[i];
  }
  return ask_about(-1, request_kind::ioctl, static_cast<s32>(request), 0, 0, &all, sizeof all);
}

int network_ioctl(int fd, bool is_ours, unsigned long request, void* argument) {
  if (argument == nullptr) return -EFAULT;
  if (request == SIOCGIFCONF) return list_interfaces(fd, argument);
  ifreq own;
  if (request == SIOCETHTOOL) return copy_in(own, argument) ? -EOPNOTSUPP : -EFAULT;
  if (request == SIOCADDRT || request == SIOCDELRT) return change_route(request, argument);
  std::size_t len = argument_size(request);
  return ask_for(is_ours ? fd : -1, request_kind::ioctl, static_cast<s32>(request), 0, 0, argument,
                 len, argument, &len);
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

/// FIONREAD: what lies in the anchor, and what the stack keeps behind it.
int unread_bytes(int fd, void* argument) {
  int behind = 0, here = 0;
  std::size_t len = sizeof behind;
  const int asked = ask_for(fd, request_kind::ioctl, static_cast<s32>(FIONREAD), 0, 0, &behind, len,
                            &behind, &len);
  if (next::ioctl(fd, FIONREAD, &here) < 0) return finish(asked < 0 ? asked : -errno);
  here += asked >= 0 ? behind : 0;
  return copy_out(fd, argument, &here, sizeof here) ? 0 : finish(-EFAULT);
}

/// Of a datagram socket, what waits at the anchor says what came before it.
int last_stamp(int fd, const anchor& a, unsigned long request, void* argument) {
  s64 stamp[2] = {};
  received_tag next;
  const int error = a.stream() ? 0 : peek_tag(fd, next);
  const iovec pieces[2] = {{stamp, sizeof stamp}, {next.bytes, next.len}};
  exchange x;
  x.kind = request_kind::ioctl;
  x.fd = fd;
  x.arg[0] = static_cast<s32>(request);
  x.arg[1] = error == -ECONNRESET ? 1 : 0;
  x.data = pieces;
  x.data_pieces = a.stream() ? 1 : 2;
  x.out = stamp;
  x.out_room = sizeof stamp;
  const int result = ask(x);
  if (result < 0) return result;
  return copy_out(fd, argument, stamp, sizeof stamp) ? result : -EFAULT;
}

int any_ioctl(int fd, unsigned long request, void* argument) {
  if (!config().active || (!about_network(request) && !about_socket(request))) {
    return next::ioctl(fd, request, argument);
  }
  anchor a;
  const bool ours = is_anchor(fd, a);
  if (about_network(request) && (ours || is_socket(fd))) {
    return finish(network_ioctl(fd, ours, request, argument));
  }
  if (ours && is_stamp(request) && argument == nullptr) return finish(-EFAULT);
  if (!ours || argument == nullptr) return next::ioctl(fd, request, argument);
  if (request == SIOCATMARK && a.stream()) return next::ioctl(fd, request, argument);
  if (request == FIONREAD)
    return a.stream() ? unread_bytes(fd, argument) : next::ioctl(fd, request, argument);
  if (is_stamp(request)) return finish(last_stamp(fd, a, request, argument));
  std::size_t len = sizeof(int);
  return finish(ask_for(fd, request_kind::ioctl, static_cast<s32>(request), 0, 0, argument, len,
                        argument, &len));
}

}  // namespace

PH_HOOK(int, ioctl, int fd, unsigned long request, ...) {
  va_list list;
  va_start(list, request);
  void* const argument = va_arg(list, void*);
  va_end(list);
  return any_ioctl(fd, request, argument);
}
