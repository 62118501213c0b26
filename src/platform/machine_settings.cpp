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

bool is_sealed(const char* folder) {
  struct statvfs st {};
  return ::statvfs(folder, &st) != 0 || (st.f_flag & ST_RDONLY) != 0;
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

bool seal(const char* folder) {
  if (is_sealed(folder)) return true;
  constexpr unsigned long again = MS_REMOUNT | MS_BIND | MS_RDONLY;
  constexpr unsigned long as_before = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  return ::mount(folder, folder, nullptr, MS_BIND, nullptr) == 0 &&
         ::mount(nullptr, folder, nullptr, again | as_before, nullptr) == 0;
}

}  // namespace

result<void> seal_machine_settings() {
  if (is_sealed("/proc/sys/net")) return {};
  if (::unshare(CLONE_NEWNS) != 0) return fail(static_cast<errc>(errno));
  bool all = becomes_private("/proc");
  for (const char* const settings :
       {"/proc/sys/net", "/proc/sys/kernel/hostname", "/proc/sys/kernel/domainname"}) {
    all = all && seal(settings);
  }
  if (::access("/sys/class/net", F_OK) == 0) {
    all = becomes_private("/sys") && all;
    for (const std::string& folder : device_folders()) all = all && seal(folder.c_str());
  }
  if (!all) return fail(errc::perm);
  return {};
}

}  // namespace ph
