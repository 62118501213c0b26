// One mount over each folder or file, of itself, that cannot be written.
#include "platform/machine_settings.h"

#include <sched.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <set>
#include <string>

namespace ph {
namespace {

namespace fs = std::filesystem;

/// Nobody can write below it: it is read-only, or not there.
bool is_sealed(const std::string& folder) {
  struct statvfs st {};
  if (::statvfs(folder.c_str(), &st) != 0) return errno == ENOENT;
  return (st.f_flag & ST_RDONLY) != 0;
}

/// Folders with a network device's files in them: /sys/devices/.../net.
std::set<std::string> device_folders() {
  std::set<std::string> out{"/sys/devices/virtual/net", "/sys/class/net"};
  std::error_code ignored;
  for (const auto& device : fs::directory_iterator("/sys/class/net", ignored)) {
    const fs::path real = fs::canonical(device.path(), ignored);
    if (!ignored && real.parent_path().filename() == "net") out.insert(real.parent_path());
  }
  return out;
}

/// What is mounted below from now on is for this namespace only.
bool becomes_private(const char* root) {
  return ::mount(nullptr, root, nullptr, MS_PRIVATE, nullptr) == 0;
}

bool seal(const std::string& path) {
  const char* const folder = path.c_str();
  constexpr unsigned long again = MS_REMOUNT | MS_BIND | MS_RDONLY;
  constexpr unsigned long as_before = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  return ::mount(folder, folder, nullptr, MS_BIND, nullptr) == 0 &&
         ::mount(nullptr, folder, nullptr, again | as_before, nullptr) == 0;
}

}  // namespace

/// A container may have sealed some of them, and a `ph run` inside another one all.
result<void> seal_machine_settings() {
  std::set<std::string> open = device_folders();
  open.insert({"/proc/sys/net", "/proc/sys/kernel/hostname", "/proc/sys/kernel/domainname"});
  std::erase_if(open, [](const std::string& path) { return is_sealed(path); });
  if (open.empty()) return {};
  if (::unshare(CLONE_NEWNS) != 0) return fail(static_cast<errc>(errno));
  bool all = becomes_private("/proc");
  if (::access("/sys/class/net", F_OK) == 0) all = becomes_private("/sys") && all;
  for (const std::string& path : open) all = all && seal(path);
  if (!all) return fail(errc::perm);
  return {};
}

}  // namespace ph
