// DCTCP, RFC 8257: for paths whose queues mark packets (ECN) by a shallow threshold.
//
// Differs from reno: it estimates the fraction of segments that were marked (alpha) and shrinks the
// window by half of that fraction once per round trip, so a few marks cost little. Losses halve the
// window as reno does. Without ECN it is reno. For data centres only (RFC 8257 §5).
#pragma once

#include "net/tcp/tcp_cong.h"

namespace ph {

class tcp_dctcp final : public tcp_congestion {
 public:
  static constexpr double g = 1.0 / 16;  ///< RFC 8257 §4.2

  [[nodiscard]] std::string_view name() const override { return "dctcp"; }
  [[nodiscard]] bool needs_ecn() const override { return true; }
  void on_ack(cpu& cx, const ack_sample& sample, congestion_state& state) override;
  void on_loss(cpu& cx, const loss_event& event, congestion_state& state) override;
  void on_ecn(cpu& cx, const loss_event& event, congestion_state& state) override;
  std::size_t info(byte_span out) const override;
  [[nodiscard]] double alpha() const { return alpha_; }

 private:
  void estimate(const ack_sample& sample);

  double alpha_ = 1;   ///< DCTCP.Alpha; begins cautiously (RFC 8257 §3.3)
  u32 acked_segs_ = 0;   ///< DCTCP.BytesAcked, in segments
  u32 marked_segs_ = 0;  ///< DCTCP.BytesMarked
  round_counter rounds_;
};
static_assert(sizeof(tcp_dctcp) <= tcp_congestion_bytes + sizeof(void*));

}  // namespace ph
