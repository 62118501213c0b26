// Reading /proc/self/cgroup and the files of the groups that it names; RLIMIT_AS and RLIMIT_DATA.
#include "platform/memory_limit.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>

namespace ph {
namespace {

/// Of a group and all above it.
void lower_to(std::optional<u64>& least, const std::string& mount, std::string group,
              const char* file) {
  for (;;) {
    std::string word;
    std::ifstream(mount + group + "/" + file) >> word;
    u64 limit = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), limit);
    constexpr u64 none = u64{1} << 60;  // version 1 has a number for that
    if (error == std::errc() && end == word.data() + word.size() && limit < none) {
      least = std::min(least.value_or(limit), limit);
    }
    if (group.empty()) return;
    group.erase(group.rfind('/'));
  }
}

/// Between commas.
bool names_memory(const std::string& controllers) {
  return ("," + controllers + ",").find(",memory,") != std::string::npos;
}

}  // namespace

std::optional<u64> group_memory_limit(const std::string& root) {
  std::optional<u64> least;
  std::ifstream groups(root + "/proc/self/cgroup");  // "4:memory:/a/b", version 2: "0::/a/b"
  for (std::string line; std::getline(groups, line);) {
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    std::string group = line.substr(second + 1);
    if (group.empty() || group.front() != '/') continue;
    if (group == "/") group.clear();
    const std::string mounts = root + "/sys/fs/cgroup";
    if (names_memory(controllers)) {
      lower_to(least, mounts + "/memory", group, "memory.limit_in_bytes");
    } else if (controllers.empty()) {
      lower_to(least, mounts, group, "memory.max");
    }
  }
  return least;
}

std::optional<u64> process_memory(const std::string& root) {
  std::optional<u64> least = group_memory_limit(root);
  const auto lower = [&least](u64 limit) { least = std::min(least.value_or(limit), limit); };
  const long pages = ::sysconf(_SC_PHYS_PAGES), bytes = ::sysconf(_SC_PAGESIZE);
  if (pages > 0 && bytes > 0) lower(static_cast<u64>(pages) * static_cast<u64>(bytes));
  for (const auto resource : {RLIMIT_AS, RLIMIT_DATA}) {
    rlimit limit{};
    if (::getrlimit(resource, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
      lower(limit.rlim_cur);
    }
  }
  return least;
}

void respect_group_memory_limit() {
  const auto group = group_memory_limit();
  if (!group) return;
  const rlim_t most = *group / 4 * 3;
  u64 pages = 0;  // the sixth number: data and stack
  std::ifstream sizes("/proc/self/statm");
  for (int i = 0; i < 6; ++i) sizes >> pages;
  rlimit limit{};
  if (!sizes || ::getrlimit(RLIMIT_DATA, &limit) != 0 || limit.rlim_cur <= most) return;
  if (pages * static_cast<u64>(::sysconf(_SC_PAGESIZE)) > most / 2) return;
  limit.rlim_cur = most;
  ::setrlimit(RLIMIT_DATA, &limit);
}

}  // namespace ph
