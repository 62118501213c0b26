// System calls on pairs of AF_UNIX datagram sockets.
#include "daemon/datagram_end.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "daemon/anchor.h"
#include "platform/passed_fd.h"

namespace ph::dropin {
namespace {

errc last_error() { return static_cast<errc>(errno); }

const sockaddr* address_of(const unix_name& name) {
  return reinterpret_cast<const sockaddr*>(&name.sun);
}

/// The socket that was bound to the file behind an O_PATH descriptor.
unix_name name_of_reach(int reach) {
  unix_name out;
  const std::string path = "/proc/self/fd/" + std::to_string(reach);
  out.sun.sun_family = AF_UNIX;
  std::memcpy(out.sun.sun_path, path.data(), path.size());
  out.len = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size());
  return out;
}

unix_name name_of_socket(int fd) {
  unix_name out;
  out.len = sizeof out.sun;
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&out.sun), &out.len);
  return out;
}

unique_fd datagram_socket() {
  return unique_fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

result<void> bind_abstract(int fd, const anchor_name& name) {
  u8 path[max_name_len];
  const std::size_t n = encode_name(name, path);
  unix_name address;
  address.sun.sun_family = AF_UNIX;
  std::memcpy(address.sun.sun_path, path, n);
  address.len = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + n);
  if (::bind(fd, address_of(address), address.len) != 0) return fail(last_error());
  return {};
}

bool connect_to(int fd, const unix_name& name) {
  return ::connect(fd, address_of(name), name.len) == 0;
}

void disconnect(int fd) {
  sockaddr none{};
  none.sa_family = AF_UNSPEC;
  static_cast<void>(::connect(fd, &none, sizeof none));
}

/// A pair that is cut while the cutter has a message waiting reports the loss to the other side: so
/// the end gets a message, which it can only send itself, and is connected to the anchor, to be cut
/// from it next.
void prepare_cut(int end, const unix_name& anchor) {
  disconnect(end);
  const unix_name own = name_of_socket(end);
  ::sendto(end, "", 0, MSG_DONTWAIT | MSG_NOSIGNAL, address_of(own), own.len);
  connect_to(end, anchor);
}

}  // namespace

closed_door::closed_door() : fd_(datagram_socket()) {
  sockaddr family_only{};  // the kernel chooses an abstract name
  family_only.sa_family = AF_UNIX;
  static_cast<void>(::bind(fd_.get(), &family_only, sizeof(sa_family_t)));
  ::shutdown(fd_.get(), SHUT_RD);
  name_ = name_of_socket(fd_.get());
}

result<datagram_end> datagram_end::create(int anchor, int reach, const anchor_name& name,
                                          const closed_door& door) {
  datagram_end out;
  out.fd_ = datagram_socket();
  if (!out.fd_) return fail(last_error());
  take_descriptors(out.fd_.get(), false);
  out.anchor_ = name_of_reach(reach);
  out.door_ = &door;
  // The end has a peer before it has a name: nobody else can ever send to it.
  if (!connect_to(out.fd_.get(), out.anchor_)) return fail(last_error());
  TRY_VOID(bind_abstract(out.fd_.get(), name));
  if (!connect_to(anchor, name_of_socket(out.fd_.get()))) return fail(last_error());
  connect_to(out.fd_.get(), door.name());
  // The shim needs the time of a datagram that came before its program asked for stamps.
  const int on = 1;
  ::setsockopt(anchor, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
  return out;
}

void datagram_end::open(bool on) {
  if (on == open_) return;
  open_ = on;
  connect_to(fd_.get(), on ? anchor_ : door_->name());
}

void datagram_end::set_limit(u32 bytes) {
  // The kernel keeps twice the value, as it does for the program.
  const int half = static_cast<int>(bytes / 2);
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_SNDBUF, &half, sizeof half);
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_SNDBUFFORCE, &half, sizeof half);
}

result<void> datagram_end::give(byte_view payload, int tag) {
  iovec piece{const_cast<u8*>(payload.data()), payload.size()};
  passed_fd_room room;
  msghdr message{};
  message.msg_name = &anchor_.sun;
  message.msg_namelen = anchor_.len;
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  if (tag >= 0) room.put(message, tag);
  if (::sendmsg(fd_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) return fail(last_error());
  return {};
}

u32 datagram_end::waiting() const {
  int bytes = 0;
  ::ioctl(fd_.get(), SIOCOUTQ, &bytes);
  return static_cast<u32>(bytes);
}

result<std::size_t> datagram_end::receive(byte_span into) {
  const ssize_t got = ::recv(fd_.get(), into.data(), into.size(), MSG_DONTWAIT | MSG_TRUNC);
  if (got < 0) return fail(last_error());
  return static_cast<std::size_t>(got);
}

void datagram_end::show_error() {
  prepare_cut(fd_.get(), anchor_);
  connect_to(fd_.get(), door_->name());
  if (open_) connect_to(fd_.get(), anchor_);
}

void cut_pair(int end, int reach) {
  prepare_cut(end, name_of_reach(reach));
  disconnect(end);
}

int take_anchor_error(int anchor) {
  int error = 0;
  socklen_t len = sizeof error;
  ::getsockopt(anchor, SOL_SOCKET, SO_ERROR, &error, &len);
  return error;
}

}  // namespace ph::dropin
