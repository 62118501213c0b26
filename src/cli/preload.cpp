// Finding the shim, and a name for it that LD_PRELOAD can hold.
#include "cli/preload.h"

#include <fmt/format.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <vector>

#include "daemon/socket_path.h"

namespace ph::cli {

namespace fs = std::filesystem;

namespace {

constexpr const char* shim_name = "libph_preload.so";

std::vector<fs::path> shim_candidates(const fs::path& program_folder) {
  std::vector<fs::path> candidates{program_folder / shim_name};
  std::error_code ignored;
  for (const auto& lib : fs::directory_iterator(program_folder.parent_path(), ignored)) {
    if (!lib.path().filename().string().starts_with("lib")) continue;
    candidates.push_back(lib.path() / "posthaste" / shim_name);
    for (const auto& sub : fs::directory_iterator(lib.path(), ignored)) {  // lib/x86_64-linux-gnu
      candidates.push_back(sub.path() / "posthaste" / shim_name);
    }
  }
  return candidates;
}

/// This program's own file, also where no /proc is mounted.
fs::path own_path() {
  std::error_code error;
  const fs::path told = fs::read_symlink("/proc/self/exe", error);
  if (!error) return told;
  const auto* started_as = reinterpret_cast<const char*>(::getauxval(AT_EXECFN));
  return started_as != nullptr ? fs::canonical(started_as, error) : fs::path();
}

/// Between two of these the loader sees names of their own ("$LIB" it replaces).
bool fits_ld_preload(const std::string& path) {
  return path.find_first_of(" :$") == std::string::npos;
}

/// A symbolic link to the shim in this user's private folder, made when it is not there.
tl::expected<std::string, std::string> link_to(const std::string& shim) {
  const auto folder = private_run_folder(fits_ld_preload);
  if (!folder) return tl::unexpected(folder.error());
  struct stat st {};
  ::stat(shim.c_str(), &st);
  const fs::path link = fmt::format("{}/shim-{:x}-{:x}.so", *folder, st.st_dev, st.st_ino);
  std::error_code error;
  if (fs::read_symlink(link, error) == shim) return link.string();
  const fs::path fresh = fmt::format("{}.{}", link.string(), ::getpid());
  fs::create_symlink(shim, fresh, error);
  if (!error) fs::rename(fresh, link, error);  // programs that start now find the old or the new
  if (!error) return link.string();
  return tl::unexpected(
      fmt::format("{} has a blank, a colon or a dollar sign in its path, and a "
                  "link to it cannot be made at {}: {}",
                  shim, link.string(), error.message()));
}

}  // namespace

tl::expected<std::string, std::string> find_preload() {
  std::error_code error;
  const fs::path self = own_path();
  for (const fs::path& candidate : shim_candidates(self.parent_path())) {
    if (!fs::exists(candidate, error)) continue;
    if (fits_ld_preload(candidate.string())) return candidate.string();
    return link_to(candidate.string());
  }
  return tl::unexpected(fmt::format("{} is neither beside {} nor in ../lib*/posthaste: build it "
                                    "with `./ph build`, or install posthaste again",
                                    shim_name, self.string()));
}

std::string find_in_path(const std::string& program) {
  if (program.find('/') != std::string::npos) return program;
  const char* variable = std::getenv("PATH");
  std::istringstream folders(variable != nullptr ? variable : "/bin:/usr/bin");
  for (std::string folder; std::getline(folders, folder, ':');) {
    const std::string path = (folder.empty() ? "." : folder) + "/" + program;
    if (::access(path.c_str(), X_OK) == 0 && !fs::is_directory(path)) return path;
  }
  return "";
}

std::string preload_value(const std::string& shim, const char* present) {
  std::string value = shim;
  std::string words = present != nullptr ? present : "";
  for (char& c : words) c = c == ':' ? ' ' : c;  // ld.so(8) takes either
  std::istringstream in(words);
  for (std::string word; in >> word;) {
    if (word != shim) value += ":" + word;
  }
  return value;
}

}  // namespace ph::cli
