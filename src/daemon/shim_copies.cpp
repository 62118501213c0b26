// No lock tells who uses a copy: programs would have to hold its descriptor. What a process has
// loaded, its maps tell; the day is for those that are just being started.
#include "daemon/shim_copies.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "platform/patience.h"
#include "platform/whole_file.h"

namespace ph {
namespace {

constexpr time_t patience_s = 24 * 3600;

using folder_names = std::vector<std::string>;

folder_names names_in(const char* folder) {
  folder_names out;
  const std::unique_ptr<DIR, int (*)(DIR*)> all(::opendir(folder), ::closedir);
  if (!all) return out;
  while (const dirent* entry = ::readdir(all.get())) out.emplace_back(entry->d_name);
  return out;
}

/// A folder of this user that was not touched for long.
bool is_old_copy(const std::string& folder) {
  struct stat st {};
  return ::lstat(folder.c_str(), &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == ::geteuid() &&
         ::time(nullptr) - st.st_mtime > patience_s;
}

folder_names old_copies() {
  folder_names out;
  for (const std::string parent : shim_copy_parents) {
    for (const std::string& name : names_in(parent.c_str())) {
      const std::string folder = parent + "/" + name;
      if (name.starts_with(shim_copy_prefix) && is_old_copy(folder)) out.push_back(folder);
    }
  }
  return out;
}

using copy_names = std::set<std::string, std::less<>>;

constexpr std::size_t most_maps = 64 << 20;

/// False when it is not to be known what the process has loaded. May wait for ever: maps are read
/// under the process's mmap_lock.
bool note_copies_of(const std::string& pid, copy_names& found) {
  const std::string maps = whole_file("/proc/" + pid + "/maps", most_maps);
  std::array<char, 8> program;
  const std::string exe = "/proc/" + pid + "/exe";
  const bool none = ::readlink(exe.c_str(), program.data(), program.size()) < 0 &&
                    errno == ENOENT;  // a thread of the kernel, or gone
  for (std::size_t at = maps.find(shim_copy_prefix); at != std::string::npos;
       at = maps.find(shim_copy_prefix, at + 1)) {
    found.insert(maps.substr(at, maps.find_first_of("/\n", at) - at));
  }
  return none || (!maps.empty() && maps.size() < most_maps);
}

/// The copies that processes have loaded; nothing when that is not to be known of one of them. (The
/// first one, which nobody may look at in many a container, is no lab's.)
std::optional<copy_names> loaded_copies() {
  folder_names pids = names_in("/proc");
  std::erase_if(pids, [](const std::string& pid) {
    return pid == "1" || pid.find_first_not_of("0123456789") != std::string::npos;
  });
  // One for each process: a thread that is left behind keeps its own, which nobody looks at.
  const auto found = std::make_shared<std::vector<copy_names>>(pids.size());
  const auto known = ask_patiently(
      pids.size(), [pids, found](std::size_t i) { return note_copies_of(pids[i], (*found)[i]); });
  const bool all_known = std::all_of(known.begin(), known.end(),
                                     [](std::optional<bool> yes) { return yes.value_or(false); });
  if (!all_known) return std::nullopt;
  copy_names out;
  for (copy_names& of_one : *found) out.merge(of_one);
  return out;
}

}  // namespace

void touch_shim_copy(const char* folder) { ::utimensat(AT_FDCWD, folder, nullptr, 0); }

void sweep_shim_copies() {
  const folder_names old = old_copies();
  if (old.empty()) return;
  const auto loaded = loaded_copies();
  if (!loaded) return;
  for (const std::string& folder : old) {
    if (loaded->contains(std::string_view(folder).substr(folder.rfind('/') + 1))) continue;
    ::unlink((folder + "/" + shim_name).c_str());
    ::rmdir(folder.c_str());  // it is empty, or stays
  }
}

}  // namespace ph
