// Looking at descriptors, and the small requests that several calls share.
#include "calls/anchor.h"

#include <cerrno>
#include <cstring>

#include "calls/exchange.h"
#include "calls/kernel.h"

namespace ph::calls {

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

bool find_anchor(caller& c, int number, anchor& out) {
  out.fd = c.hold(number);
  if (out.fd < 0) return false;
  sockaddr_un sun;
  socklen_t len = sizeof sun;
  if (kernel::getsockname(c, out.fd, sun, len) != 0) return false;
  return decode_address(&sun, len, out.name) && out.name.kind == dropin::name_kind::anchor;
}

void look_at_peer(caller& c, anchor& a) {
  sockaddr_un sun;
  socklen_t len = sizeof sun;
  a.linked = kernel::getpeername(c, a.fd, sun, len) == 0 && decode_address(&sun, len, a.peer);
}

bool hung_up(caller& c, int held) { return (kernel::poll_now(c, held, 0) & POLLHUP) != 0; }

int give_address(caller& c, const void* from, std::size_t from_len, u64 to, u64 len_at) {
  socklen_t room;
  if (!c.read(len_at, &room, sizeof room)) return -EFAULT;
  if (static_cast<int>(room) < 0) return -EINVAL;
  if (!c.write(to, from, from_len < room ? from_len : room)) return -EFAULT;
  const auto full = static_cast<socklen_t>(from_len);
  return c.write(len_at, &full, sizeof full) ? 0 : -EFAULT;
}

int ask_for(caller& c, int held, request_kind kind, s32 first, s32 second, s32 third,
            const void* data, std::size_t len, void* out, std::size_t* out_len) {
  const iovec piece{const_cast<void*>(data), len};
  exchange x;
  x.kind = kind;
  x.fd = held;
  x.arg[0] = first;
  x.arg[1] = second;
  x.arg[2] = third;
  x.data = &piece;
  x.data_pieces = len != 0 ? 1 : 0;
  x.out = out;
  x.out_room = out_len != nullptr ? *out_len : 0;
  const int result = c.ask(x);
  if (out_len != nullptr) *out_len = x.out_len;
  return result;
}

int ask_about(caller& c, int held, request_kind kind, s32 first, s32 second, s32 third) {
  return ask_for(c, held, kind, first, second, third, nullptr, 0, nullptr, nullptr);
}

int true_error(caller& c, int held) {
  const int error = ask_about(c, held, request_kind::take_error);
  return error > 0 ? error : ECONNRESET;
}

}  // namespace ph::calls
