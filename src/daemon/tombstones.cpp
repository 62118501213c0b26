// After the daemon's death: the process that shares its table of descriptors tells everybody who
// waits at an anchor. What a descriptor is, is asked of the kernel, as memory is not shared.
#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "daemon/anchor.h"
#include "daemon/drop_in.h"

namespace ph::dropin {
namespace {

/// The daemon's end of a pair.
struct paired {
  int fd;
  u64 id;      ///< of the end
  u64 anchor;  ///< id of the anchor
};

/// A descriptor by which a socket can be reached.
struct reachable {
  int fd;
  anchor_name name;
};

struct found {
  std::map<u64, reachable> anchors, ends;  ///< by id
  std::vector<paired> pairs;
};

bool decode_text(std::string_view text, anchor_name& out) {
  return decode_name(reinterpret_cast<const u8*>(text.data()), text.size(), out);
}

bool name_at(int fd, int (*ask)(int, sockaddr*, socklen_t*), anchor_name& out) {
  sockaddr_un sun{};
  socklen_t len = sizeof sun;
  constexpr std::size_t path_at = offsetof(sockaddr_un, sun_path);
  return ask(fd, reinterpret_cast<sockaddr*>(&sun), &len) == 0 && sun.sun_family == AF_UNIX &&
         len > path_at && len <= sizeof sun && decode_text({sun.sun_path, len - path_at}, out);
}

/// The name behind an O_PATH descriptor: that of its file, which is unlinked.
bool name_of_path(int fd, anchor_name& out) {
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  char target[512];
  const ssize_t n = ::readlink(link.c_str(), target, sizeof target);
  if (n <= 0) return false;
  std::string_view text(target, static_cast<std::size_t>(n));
  constexpr std::string_view unlinked = " (deleted)";
  if (text.ends_with(unlinked)) text.remove_suffix(unlinked.size());
  const std::size_t slash = text.rfind('/');
  return slash != std::string_view::npos && decode_text(text.substr(slash + 1), out);
}

void look_at(int fd, found& all) {
  anchor_name name, peer;
  if ((::fcntl(fd, F_GETFL) & O_PATH) != 0) {
    if (!name_of_path(fd, name)) return;
    if (name.kind == name_kind::anchor) all.anchors.insert({name.id, {fd, name}});
    if (name.kind == name_kind::pair) all.ends.insert({name.id, {fd, name}});
    return;
  }
  const int socket = fd;
  if (name_at(socket, ::getsockname, name) && name.kind == name_kind::pair &&
      name_at(socket, ::getpeername, peer) && peer.kind == name_kind::anchor) {
    all.pairs.push_back({fd, name.id, peer.id});
  }
}

}  // namespace

std::size_t send_tombstones() {
  found all;
  const std::unique_ptr<DIR, int (*)(DIR*)> table(::opendir("/proc/self/fd"), ::closedir);
  if (!table) return 0;
  while (const dirent* entry = ::readdir(table.get())) {
    if (entry->d_name[0] != '.') look_at(std::atoi(entry->d_name), all);
  }
  std::size_t told = 0;
  for (const paired& pair : all.pairs) {
    const auto end = all.ends.find(pair.id);
    const auto anchor = all.anchors.find(pair.anchor);
    if (end == all.ends.end() || anchor == all.anchors.end()) continue;
    signal_error(pair.fd, end->second.fd, anchor->second.fd);
    all.anchors.erase(anchor);
    ++told;
  }
  for (auto& [id, anchor] : all.anchors) {
    anchor.name.kind = name_kind::tombstone;
    anchor.name.id = random_u64();
    if (send_tombstone(anchor.fd, anchor.name)) ++told;
  }
  return told;
}

}  // namespace ph::dropin
