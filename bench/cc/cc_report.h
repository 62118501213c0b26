// What both halves of the congestion benchmark print: one JSON object on standard output.
#pragma once

#include <cstdio>
#include <string>
#include <vector>

#include "sim/link.h"

namespace ph::bench {

/// The bottleneck: one direction is narrow, the way back only far.
struct path {
  double mbit_s = 20;
  double rtt_ms = 40;
  u32 queue_packets = 66;
  double loss = 0;
  double seconds = 10;
  u64 seed = 1;

  [[nodiscard]] sim::link_config forward() const {
    return {.rate = bit_rate{static_cast<u64>(mbit_s * 1e6)}, .delay = half_rtt(), .loss = loss,
            .queue_packets = queue_packets};
  }
  [[nodiscard]] sim::link_config back() const { return {.delay = half_rtt()}; }
  [[nodiscard]] duration half_rtt() const { return {static_cast<s64>(rtt_ms * 1e6 / 2)}; }
  [[nodiscard]] duration length() const { return {static_cast<s64>(seconds * 1e9)}; }
};

/// Values at times, in columns.
class series {
 public:
  void add(double seconds, double value) { points_.emplace_back(seconds, value); }
  [[nodiscard]] std::string json() const {
    std::string out = "[";
    char text[64];
    for (const auto& [when, value] : points_) {
      std::snprintf(text, sizeof text, "%s[%.3f,%.6g]", out.size() > 1 ? "," : "", when, value);
      out += text;
    }
    return out + "]";
  }

 private:
  std::vector<std::pair<double, double>> points_;
};

}  // namespace ph::bench
