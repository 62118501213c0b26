// What a running lab is and has done, as the JSON that docs/control.md lists.
#pragma once

#include <nlohmann/json.hpp>

#include "daemon/running_lab.h"

namespace ph {

/// Hosts with their devices, counters and drops, and links with what they did to frames.
nlohmann::json lab_status(running_lab& lab);

}  // namespace ph
