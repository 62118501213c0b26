// Finding the shim, and a name for it that LD_PRELOAD can hold.
#include "cli/preload.h"

#include <fmt/format.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <sstream>
#include <vector>

#include "daemon/shim_copies.h"
#include "daemon/socket_path.h"
#include "platform/asan_options.h"

namespace ph::cli {

namespace fs = std::filesystem;

namespace {

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
  fs::path told = fs::read_symlink("/proc/self/exe", error);
  if (!error) return told;
  const auto* started_as = reinterpret_cast<const char*>(::getauxval(AT_EXECFN));
  return started_as != nullptr ? fs::canonical(started_as, error) : fs::path();
}

/// Between two of these the loader sees names of their own ("$LIB" it replaces).
bool fits_ld_preload(const std::string& path) {
  return path.find_first_of(" :$") == std::string::npos;
}

/// True when every user can read the file and enter the folders on its way.
bool is_for_everybody(const fs::path& file) {
  struct stat st {};
  if (::stat(file.c_str(), &st) != 0 || (st.st_mode & S_IROTH) == 0) return false;
  for (fs::path at = file; at != at.root_path();) {
    at = at.parent_path();
    if (::stat(at.c_str(), &st) != 0 || (st.st_mode & S_IXOTH) == 0) return false;
  }
  return true;
}

/// What this user's programs are told of a file that has no fitting name: a link to it in the
/// private folder.
tl::expected<std::string, std::string> link_to(const std::string& file, const fs::path& link) {
  std::error_code error;
  if (fs::read_symlink(link, error) == file) return link.string();
  const fs::path fresh = fmt::format("{}.{}", link.string(), ::getpid());
  fs::create_symlink(file, fresh, error);
  if (!error) fs::rename(fresh, link, error);  // programs that start now find the old or the new
  if (!error) return link.string();
  return tl::unexpected(
      fmt::format("a link to {} cannot be made at {}: {}", file, link.string(), error.message()));
}

/// Only this user can change what lies at the path.
bool is_own(const fs::path& path, mode_t kind) {
  struct stat st {};
  return ::lstat(path.c_str(), &st) == 0 && (st.st_mode & S_IFMT) == kind &&
         st.st_uid == ::geteuid() && (st.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

/// A folder with a name that nobody can foresee, in one of those in which everybody may make
/// some and nobody may replace those of others.
std::string fresh_open_folder() {
  for (const char* const parent : shim_copy_parents) {
    struct stat st {};
    struct statvfs system {};
    const bool sound = ::stat(parent, &st) == 0 && (st.st_mode & S_ISVTX) != 0 && st.st_uid == 0;
    if (!sound || ::statvfs(parent, &system) != 0 || (system.f_flag & ST_NOEXEC) != 0) continue;
    std::string folder = fmt::format("{}/{}XXXXXX", parent, shim_copy_prefix);
    if (::mkdtemp(folder.data()) != nullptr && ::chmod(folder.c_str(), 0711) == 0) return folder;
  }
  return {};
}

/// A copy of the shim which every user can load; `link` leads to the one that was made before.
tl::expected<std::string, std::string> copy_of(const std::string& shim, const fs::path& link) {
  std::error_code error;
  const fs::path known = fs::read_symlink(link, error);
  if (!error && is_own(known.parent_path(), S_IFDIR) && is_own(known, S_IFREG) &&
      fs::file_size(known, error) == fs::file_size(shim, error)) {
    touch_shim_copy(known.parent_path().c_str());
    return known.string();
  }
  const std::string folder = fresh_open_folder();
  if (folder.empty()) return tl::unexpected(std::string("no folder takes a copy of the shim"));
  const std::string copy = fmt::format("{}/{}", folder, shim_name);
  fs::copy_file(shim, copy, error);
  if (error || ::chmod(copy.c_str(), 0755) != 0) {
    const std::string why = error ? error.message() : std::strerror(errno);
    fs::remove_all(folder, error);
    return tl::unexpected(fmt::format("{} cannot be written: {}", copy, why));
  }
  if (auto linked = link_to(copy, link); !linked) return linked;
  return copy;
}

/// A name of the shim's for LD_PRELOAD. Root's programs become other users, who must reach it.
tl::expected<std::string, std::string> reachable(const std::string& shim) {
  const bool fits = fits_ld_preload(shim);
  const bool copies = ::geteuid() == 0 && (!fits || !is_for_everybody(shim));
  if (fits && !copies) return shim;
  const auto folder = private_run_folder(fits_ld_preload);
  if (!folder) return tl::unexpected(folder.error());
  struct stat st {};
  ::stat(shim.c_str(), &st);
  const std::string link =
      fmt::format("{}/shim-{:x}-{:x}-{:x}.so", *folder, st.st_dev, st.st_ino, st.st_mtime);
  if (copies) {
    if (auto copy = copy_of(shim, link)) return copy;  // else it serves root alone
    if (fits) return shim;
  }
  return link_to(shim, link);
}

}  // namespace

tl::expected<std::string, std::string> find_preload() {
  std::error_code error;
  const fs::path self = own_path();
  for (const fs::path& candidate : shim_candidates(self.parent_path())) {
    if (!fs::exists(candidate, error)) continue;
    return reachable(candidate.string());
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
    std::string path = (folder.empty() ? "." : folder) + "/" + program;
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

std::string asan_value(const char* present) {
  if (present == nullptr || *present == 0) return asan_any_order;
  return says_asan_order(present) ? present : fmt::format("{}:{}", asan_any_order, present);
}

}  // namespace ph::cli
