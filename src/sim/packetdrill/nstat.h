// The shell lines of scripts that ask nstat(8) for counters: `nstat -n`, and
// `nstat -s | grep TcpExtBeyondWindow | grep -q " 2 "`, which must find something.
#pragma once

#include <map>
#include <string>

#include "net/core/mib.h"

namespace ph::packetdrill {

/// nstat with its history: what it prints is since it was asked last.
class nstat {
 public:
  /// Runs the lines of the command that call nstat. Returns why one failed, empty when none did.
  std::string run(const std::string& command, const mib_table& counters);

 private:
  std::string line(const std::string& text, const mib_table& counters);
  std::map<mib_counter, u64> history_;
};

}  // namespace ph::packetdrill
