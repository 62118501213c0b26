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
#include <utility>
#include <vector>

#include "daemon/anchor.h"
#include "daemon/datagram_end.h"
#include "daemon/drop_in.h"

namespace ph::dropin {
namespace {

/// A descriptor by which a socket can be reached.
struct reachable {
  int fd;
  anchor_name name;
};

struct found {
  std::map<u64, reachable> anchors;  ///< by id
  std::map<u64, int> ends;           ///< of datagram anchors, by the anchor's id
};

bool decode_text(std::string_view text, anchor_name& out) {
  return decode_name(reinterpret_cast<const u8*>(text.data()), text.size(), out);
}

bool name_of_socket(int fd, anchor_name& out) {
  sockaddr_un sun{};
  socklen_t len = sizeof sun;
  constexpr std::size_t path_at = offsetof(sockaddr_un, sun_path);
  return ::getsockname(fd, reinterpret_cast<sockaddr*>(&sun), &len) == 0 &&
         sun.sun_family == AF_UNIX && len > path_at && len <= sizeof sun &&
         decode_text({sun.sun_path, len - path_at}, out);
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
  anchor_name name;
  if ((::fcntl(fd, F_GETFL) & O_PATH) != 0) {
    if (name_of_path(fd, name) && name.kind == name_kind::anchor) {
      all.anchors.insert({name.id, {fd, name}});
    }
  } else if (name_of_socket(fd, name) && name.kind == name_kind::pair) {
    all.ends.insert({name.id, fd});
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
  std::vector<std::pair<int, int>> pairs;
  for (const auto& [id, end] : all.ends) {
    const auto anchor = all.anchors.extract(id);
    if (!anchor.empty()) pairs.emplace_back(end, anchor.mapped().fd);
  }
  for (int round = 0; round < last_word_rounds; ++round) {
    if (round > 0) ::usleep(last_word_pause_us);
    for (const auto& [end, reach] : pairs) cut_pair(end, reach);
    for (const auto& [id, anchor] : all.anchors) leave_tombstones(anchor.fd, anchor.name);
  }
  return pairs.size() + all.anchors.size();
}

}  // namespace ph::dropin
