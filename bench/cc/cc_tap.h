// The simulated wire between two TAP devices of the machine, in real time.
#pragma once

#include "bench/cc/cc_report.h"

namespace ph::bench {

/// Makes the TAPs in the present network namespace, prints "ready", carries frames for the path's
/// length and then prints the report. 1: the TAPs could not be made (said on standard error).
int run_link(const std::string& tap_a, const std::string& tap_b, const path& p);

}  // namespace ph::bench
