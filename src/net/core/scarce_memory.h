// Why wires and devices of the real machine drop frames when there is hardly any memory left.
#pragma once

#include "net/core/drop_reason.h"

namespace ph::drop_reason {

inline constexpr drop_reason_info nomem{"nomem", "There was hardly any memory left."};

}  // namespace ph::drop_reason
