// Looking at descriptors, and the small requests that several hooks share.
#include "shim/anchor.h"

#include <cerrno>
#include <cstring>

#include "shim/channel.h"
#include "shim/config.h"
#include "shim/program_memory.h"
#include "shim/raw.h"

namespace ph::shim {

using dropin::anchor_name;
using dropin::request_kind;

bool decode_address(const void* address, socklen_t len, anchor_name& out) {
  constexpr std::size_t path_at = offsetof(sockaddr_un, sun_path);
  if (len <= path_at) return false;
  sockaddr_un sun{};
  std::memcpy(&sun, address, len < sizeof sun ? len : sizeof sun);
  if (sun.sun_family != AF_UNIX) return false;
  const std::size_t path_len = len < sizeof sun ? len - path_at : sizeof sun.sun_path;
  return dropin::decode_name(reinterpret_cast<const u8*>(sun.sun_path), path_len, out);
}

bool is_anchor(int fd, anchor& out) {
  if (fd < 0 || !config().active) return false;
  sockaddr_un sun;
  socklen_t len = sizeof sun;
  if (raw::getsockname(fd, sun, len) != 0) return false;
  return decode_address(&sun, len, out.name) && out.name.kind == dropin::name_kind::anchor;
}

void look_at_peer(int fd, anchor& a) {
  sockaddr_un sun;
  socklen_t len = sizeof sun;
  a.linked = raw::getpeername(fd, sun, len) == 0 && decode_address(&sun, len, a.peer);
}

void copy_anchor_options(int from, int to) {
  for (const int name : {SO_SNDBUF, SO_RCVLOWAT, SO_OOBINLINE, SO_LINGER}) {
    int value[2] = {};
    socklen_t len = name == SO_LINGER ? sizeof value : sizeof value[0];
    if (raw::getsockopt(from, SOL_SOCKET, name, value, len) != 0) continue;
    if (name == SO_SNDBUF) value[0] /= 2;                     // the kernel doubles it again
    if (value[0] == (name == SO_RCVLOWAT ? 1 : 0)) continue;  // as it is born
    raw::setsockopt(to, SOL_SOCKET, name, value, len);
  }
}

int give_address(int socket, const void* from, std::size_t from_len, sockaddr* to, socklen_t* len) {
  socklen_t room;
  if (!copy_in(room, len)) return -EFAULT;
  if (static_cast<int>(room) < 0) return -EINVAL;
  if (!copy_out(socket, to, from, from_len < room ? from_len : room)) return -EFAULT;
  const auto full = static_cast<socklen_t>(from_len);
  return copy_out(socket, len, &full, sizeof full) ? 0 : -EFAULT;
}

int ask_for(int fd, request_kind kind, s32 a, s32 b, s32 c, const void* data, std::size_t len,
            void* out, std::size_t* out_len) {
  iovec piece{const_cast<void*>(data), len};
  exchange x;
  x.kind = kind;
  x.fd = fd;
  x.arg[0] = a;
  x.arg[1] = b;
  x.arg[2] = c;
  x.data = &piece;
  x.data_pieces = len != 0 ? 1 : 0;
  x.out = out;
  x.out_room = out_len != nullptr ? *out_len : 0;
  const int result = ask(x);
  if (out_len != nullptr) *out_len = x.out_len;
  return result;
}

int ask_about(int fd, request_kind kind, s32 a, s32 b, s32 c, const void* data, std::size_t len) {
  return ask_for(fd, kind, a, b, c, data, len, nullptr, nullptr);
}

int finish(int result) {
  if (result >= 0) return result;
  errno = -result;
  return -1;
}

int true_error(int fd) {
  const int error = ask_about(fd, request_kind::take_error);
  return error > 0 ? error : ECONNRESET;
}

}  // namespace ph::shim
