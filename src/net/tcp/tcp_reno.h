// Reno congestion control, RFC 5681: slow start, additive increase, halving on loss.
#pragma once

#include "net/tcp/tcp_cong.h"

namespace ph {

class tcp_reno final : public tcp_congestion {
 public:
  [[nodiscard]] std::string_view name() const override { return "reno"; }
  void on_ack(cpu& cx, const ack_sample& sample, congestion_state& state) override;
  void on_loss(cpu& cx, const loss_event& event, congestion_state& state) override;
};

}  // namespace ph
