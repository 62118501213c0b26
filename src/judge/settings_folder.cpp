// Reading of the folder, and what its lines ask for.
#include "judge/settings_folder.h"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "net/core/mib.h"
#include "net/tcp/tcp_sock.h"
#include "sim/packetdrill/settings.h"

namespace ph::judge {
namespace fs = std::filesystem;

settings_folder::settings_folder(std::string path) : path_(std::move(path)) {
  if (path_.empty()) return;
  if (fs::is_directory(fs::path(path_) / "net/ipv4")) path_ += "/net/ipv4";
  counts_ = fs::is_regular_file(fs::path(path_) / "counters");
}

void settings_folder::apply(packetdrill::machine& host, bool must_look) {
  if (path_.empty()) return;
  std::error_code ignored;
  const s64 changed = fs::last_write_time(path_, ignored).time_since_epoch().count();
  if (changed == changed_ && !must_look && !path_.starts_with("/proc/")) return;
  changed_ = changed;
  for (const auto& entry : fs::directory_iterator(path_, ignored)) {
    const std::string name = entry.path().filename().string();
    const bool setting = name != "counters" && name != "commands" && !name.starts_with('.');
    if (!setting || !entry.is_regular_file(ignored)) continue;
    std::ifstream file(entry.path());
    std::string value;
    if (!std::getline(file, value)) continue;
    std::replace(value.begin(), value.end(), '\t', ' ');
    std::string& last = seen_[name];
    if (last == value) continue;
    last = value;
    // A real /proc holds settings that this stack does not have, or not with such values.
    static_cast<void>(host.net().sysctls().set("net.ipv4." + name, value));
  }
  apply_commands(host);
}

void settings_folder::apply_commands(packetdrill::machine& host) {
  std::ifstream file(fs::path(path_) / "commands");
  std::stringstream text;
  if (file) text << file.rdbuf();
  const std::string all = text.str();
  if (all.size() <= commands_done_) return;
  const std::string news = all.substr(commands_done_);
  commands_done_ = all.size();
  if (packetdrill::forgets_peers(news)) tcp_of(host.net()).fastopen_peers.clear();
  for (const std::string& route : packetdrill::route_changes(news)) {
    try {
      host.change_route(route);
    } catch (const std::runtime_error& fault) {
      std::fprintf(stderr, "libph_packetdrill: %s\n", fault.what());
    }
  }
  if (const auto limit = packetdrill::queue_limit(news)) host.limit_queue(*limit);
}

void settings_folder::show_counters(packetdrill::machine& host) const {
  if (!counts_) return;
  std::ofstream file(fs::path(path_) / "counters");
  file << "#kernel\n";
  host.net().mib().for_each([&](mib_counter, std::string_view name, u64 value) {
    if (value != 0) file << name << ' ' << value << " 0.0\n";
  });
}

}  // namespace ph::judge
