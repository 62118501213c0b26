// Transfers between two of our own hosts.
#pragma once

#include "bench/cc/cc_report.h"

namespace ph::bench {

/// Prints the report; 0.
int run_sim(const std::string& algorithm, const path& p, u32 flows);

}  // namespace ph::bench
