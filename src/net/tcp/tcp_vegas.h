// TCP Vegas (Brakmo, Peterson: "TCP Vegas: End to End Congestion Avoidance on a Global Internet",
// IEEE JSAC 13(8), 1995, §3.3 and §3.4).
//
// Differs from reno: it looks at the round-trip time, not only at losses. Once per round trip it
// compares the rate that an empty path would give with the rate it got; the difference is the
// number of its own segments that wait in queues, and it keeps 2 to 4 of them there. Slow start
// grows in every other round trip only. Losses halve the window. It yields to flows that fill
// queues.
#pragma once

#include "net/tcp/tcp_cong.h"

namespace ph {

class tcp_vegas final : public tcp_congestion {
 public:
  static constexpr double alpha = 2;  ///< queued segments below which the window grows
  static constexpr double beta = 4;   ///< and above which it shrinks
  static constexpr double gamma = 1;  ///< and above which slow start ends

  [[nodiscard]] std::string_view name() const override { return "vegas"; }
  void on_ack(cpu& cx, const ack_sample& sample, congestion_state& state) override;
  void on_loss(cpu& cx, const loss_event& event, congestion_state& state) override;
  void on_tx_start(cpu& cx, duration idle, bool app_limited, congestion_state& state) override;
  std::size_t info(byte_span out) const override;

 private:
  void adjust(congestion_state& state);

  duration base_rtt_{};   ///< smallest ever; zero: none
  duration round_rtt_{};  ///< smallest of this round trip; zero: none
  u32 samples_ = 0;       ///< of this round trip
  round_counter rounds_;
  bool growing_ = true;   ///< slow start: this round trip doubles, the next one measures
  bool enabled_ = true;   ///< false: not a whole round trip since a loss or a pause
};
static_assert(sizeof(tcp_vegas) <= tcp_congestion_bytes + sizeof(void*));

}  // namespace ph
