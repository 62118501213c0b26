// HyStart++, RFC 9406: leaves the initial slow start when round trips grow, before packets are
// lost. A rise of the smallest round-trip time from one round to the next leads into Conservative
// Slow Start, which grows a quarter as fast; five rounds of that set ssthresh, and a fall of the
// round-trip time shows that the rise was chance.
//
// DIFFERS: RFC 9406 §4.2 limits the growth of one acknowledgement to 8 segments when sending is not
// paced (L). Peers that merge segments acknowledge more than that at once; there is no limit here.
#pragma once

#include "net/tcp/tcp_cong.h"

namespace ph {

class tcp_hystart_pp {
 public:
  static constexpr u32 min_rtt_thresh_us = 4'000;   ///< MIN_RTT_THRESH
  static constexpr u32 max_rtt_thresh_us = 16'000;  ///< MAX_RTT_THRESH
  static constexpr u32 min_rtt_divisor = 8;
  static constexpr u32 n_rtt_sample = 8;
  static constexpr u32 css_growth_divisor = 4;
  static constexpr u32 css_rounds = 5;

  static constexpr std::string_view cubic_name = "cubic++";

  /// As tcp_hystart::on_ack.
  u32 on_ack(instant now, const ack_sample& sample, congestion_state& state);
  void on_loss() { over_ = true; }  // RFC 9406 §4.3: for the initial slow start only
  void on_rto() { over_ = true; }
  [[nodiscard]] bool conservative() const { return conservative_; }

 private:
  static constexpr u32 unknown = ~u32{0};
  void end_round();
  void judge();

  round_counter rounds_;
  u32 last_round_min_us_ = unknown;     ///< lastRoundMinRTT
  u32 current_round_min_us_ = unknown;  ///< currentRoundMinRTT
  u32 css_baseline_us_ = unknown;       ///< cssBaselineMinRtt
  u8 samples_ = 0;                      ///< rttSampleCount
  u8 rounds_in_css_ = 0;
  bool conservative_ = false;
  bool over_ = false;
};

}  // namespace ph
