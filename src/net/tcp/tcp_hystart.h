// HyStart (Ha, Rhee: "Taming the elephants: New TCP slow start", Computer Networks 55, 2011):
// leaves slow start before packets are lost, by either of two signs in a round trip of at least 16
// segments: acknowledgements that follow each other closely for as long as half the smallest round
// trip (the pipe is full of them), or round trips that grew.
//
// DIFFERS: RFC 9438 §4.10 recommends HyStart++ (tcp_hystart_pp.h), which slows down for five round
// trips instead of leaving at once. Linux's CUBIC has HyStart: after the same acknowledgements both
// leave slow start at the same window.
#pragma once

#include "net/tcp/tcp_cong.h"

namespace ph {

class tcp_hystart {
 public:
  static constexpr u32 low_window = 16;           ///< segments: smaller windows are not judged
  static constexpr u32 min_samples = 8;           ///< of a round trip before it is judged
  static constexpr u32 least_rise_us = 4'000;     ///< an eighth of the smallest round trip,
  static constexpr u32 greatest_rise_us = 16'000; ///< within these
  static constexpr u32 rise_divisor = 8;
  static constexpr u32 train_gap_us = 2'000;      ///< acknowledgements further apart are no train

  static constexpr std::string_view cubic_name = "cubic";

  /// An acknowledgement in slow start: grows cwnd, and ends slow start by setting ssthresh to it.
  /// Returns the segments that are left for congestion avoidance.
  u32 on_ack(instant now, const ack_sample& sample, congestion_state& state);
  void on_loss() {}
  /// The slow start that follows has a path to measure anew.
  void on_rto() { *this = {}; }
  /// Looks at an acknowledgement in slow start; true: this is where it ends.
  [[nodiscard]] bool ends_here(instant now, const ack_sample& sample, u32 cwnd);

 private:
  static constexpr u32 unknown = ~u32{0};

  round_counter rounds_;
  u32 round_min_us_ = unknown;
  u32 least_us_ = unknown;    ///< of all rounds
  instant round_began_{};
  instant train_end_{};       ///< last acknowledgement of this round's train
  u8 samples_ = 0;
};

}  // namespace ph
