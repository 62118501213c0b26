// Finding the shim, and telling which programs it can reach.
#include "cli/preload.h"

#include <elf.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

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

}  // namespace

tl::expected<std::string, std::string> find_preload() {
  std::error_code error;
  const fs::path self = fs::read_symlink("/proc/self/exe", error);
  for (const fs::path& candidate : shim_candidates(self.parent_path())) {
    if (fs::exists(candidate, error)) return candidate.string();
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

bool is_static_program(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  Elf64_Ehdr head{};
  if (!in.read(reinterpret_cast<char*>(&head), sizeof head) ||
      std::memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 || head.e_ident[EI_CLASS] != ELFCLASS64) {
    return false;
  }
  for (unsigned i = 0; i < head.e_phnum; ++i) {
    Elf64_Phdr segment{};
    in.seekg(static_cast<std::streamoff>(head.e_phoff + i * sizeof segment));
    if (!in.read(reinterpret_cast<char*>(&segment), sizeof segment)) return false;
    if (segment.p_type == PT_INTERP) return false;
  }
  return true;
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
