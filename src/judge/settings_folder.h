// What the shell lines of a script say to the stack: a folder with one file a setting (as
// /proc/sys/net/ipv4 is one), and in it, where a runner made them, `commands` (lines of ip and tc,
// one below the other) and `counters` (kept up to date for nstat).
#pragma once

#include <map>
#include <string>

#include "sim/packetdrill/machine.h"

namespace ph::judge {

class settings_folder {
 public:
  explicit settings_folder(std::string path);
  /// What changed since the last time reaches the machine. Cheap when nothing was moved into the
  /// folder, unless it must look: who writes into the files themselves is not noticed.
  void apply(packetdrill::machine& host, bool must_look = false);
  /// The counters as nstat prints them, if somebody wants to read them.
  void show_counters(packetdrill::machine& host) const;

 private:
  void apply_commands(packetdrill::machine& host);

  std::string path_;
  s64 changed_ = -1;                         ///< the folder's time of change
  std::map<std::string, std::string> seen_;  ///< values as they were read
  std::size_t commands_done_ = 0;            ///< bytes
  bool counts_ = false;
};

}  // namespace ph::judge
