// After the daemon's death: anchors without a peer hear it from another process. Their names are in
// /proc/net/unix, where '@' stands for a zero byte (no instance or id has a real '@' in it).
#include <sys/socket.h>
#include <sys/un.h>

#include <cstring>
#include <fstream>

#include "daemon/anchor.h"
#include "daemon/drop_in.h"

namespace ph::dropin {
namespace {

/// Says the last word to one anchor. True when it was alive.
bool tell(const anchor_name& name, int type) {
  u8 path[max_name_len];
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  const std::size_t n = encode_name(name, path);
  std::memcpy(to.sun_path, path, n);
  const auto len = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + n);
  unique_fd fd(::socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  anchor_name own = name;
  own.kind = name_kind::tombstone;
  sockaddr_un from = to;
  encode_name(own, path);
  std::memcpy(from.sun_path, path, n);
  if (::bind(fd.get(), reinterpret_cast<sockaddr*>(&from), len) != 0) return false;
  const auto* address = reinterpret_cast<const sockaddr*>(&to);
  if (type == SOCK_STREAM) return ::connect(fd.get(), address, len) == 0;
  return ::sendto(fd.get(), "", 0, MSG_DONTWAIT | MSG_NOSIGNAL, address, len) == 0;
}

}  // namespace

std::size_t send_tombstones(u64 instance) {
  std::ifstream table("/proc/net/unix", std::ios::binary);
  const std::string all((std::istreambuf_iterator<char>(table)), std::istreambuf_iterator<char>());
  std::size_t told = 0;
  // Names may hold any byte, even newlines: look for the prefix rather than for lines.
  constexpr const char* prefix = "@ph1a";
  for (auto at = all.find(prefix); at != std::string::npos; at = all.find(prefix, at + 1)) {
    u8 path[max_name_len];
    const std::size_t n = std::min<std::size_t>(25, all.size() - at);
    std::memcpy(path, all.data() + at, n);
    for (std::size_t i = 0; i < n; ++i) {
      if (path[i] == '@') path[i] = 0;
    }
    anchor_name name;
    if (!decode_name(path, n, name) || name.instance != instance) continue;
    if (tell(name, name.type == SOCK_STREAM ? SOCK_STREAM : SOCK_DGRAM)) ++told;
  }
  return told;
}

}  // namespace ph::dropin
