// What the shim was told by its environment, kept from the start of the process.
#pragma once

#include <cstddef>

namespace ph::shim {

struct settings {
  bool active = false;       ///< PH_SOCKET was set: sockets are the daemon's
  char socket[108] = {};     ///< of PH_SOCKET
  char host[64] = {};        ///< of PH_HOST
  char token[64] = {};       ///< of PH_TOKEN
  char library[1024] = {};   ///< path of this library, for LD_PRELOAD of programs we exec
};

/// Read once, at the first call; constant afterwards.
const settings& config();

}  // namespace ph::shim
