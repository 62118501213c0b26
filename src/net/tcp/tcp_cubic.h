// CUBIC, RFC 9438: "cubic" with Linux's HyStart in slow start, "cubic++" with HyStart++.
//
// Differs from reno: after a loss the window shrinks to 0.7, not 0.5, and grows along a cubic
// function of the time since then: fast, flat around the window at which the loss happened, and
// fast again. The growth does not depend on the round-trip time, except where reno would be faster
// (the Reno-friendly region). A loss that proves spurious is taken back (RFC 9438 §4.9).
//
// DIFFERS: RFC 9438 §4.2 looks one smoothed round trip ahead; here, as on Linux, the smallest one,
// so that a queue does not make the window grow faster. Until the first loss, when nothing is known
// of the path, the window grows by at least a twentieth in a round trip, also as on Linux.
#pragma once

#include "net/tcp/tcp_cong.h"
#include "net/tcp/tcp_hystart.h"
#include "net/tcp/tcp_hystart_pp.h"

namespace ph {

/// `SlowStart`: on_ack, on_loss and on_rto as tcp_hystart's.
template <class SlowStart>
class basic_cubic final : public tcp_congestion {
 public:
  static constexpr double c = 0.4;      ///< RFC 9438 §5: segments per second³
  static constexpr double beta = 0.7;   ///< multiplicative decrease, RFC 9438 §4.6
  static constexpr double alpha = 3 * (1 - beta) / (1 + beta);  ///< RFC 9438 §4.3

  [[nodiscard]] std::string_view name() const override { return SlowStart::cubic_name; }
  void on_ack(cpu& cx, const ack_sample& sample, congestion_state& state) override;
  void on_loss(cpu& cx, const loss_event& event, congestion_state& state) override;
  void on_rto(cpu& cx, const loss_event& event, congestion_state& state) override;
  void on_undo(cpu& cx, congestion_state& state) override;
  void on_tx_start(cpu& cx, duration idle, bool app_limited, congestion_state& state) override;

  /// W_cubic of RFC 9438 §4.2 (figure 1), in segments, t and k in seconds.
  static double w_cubic(double t, double k, double w_max) {
    return c * (t - k) * (t - k) * (t - k) + w_max;
  }

 private:
  void shrink(congestion_state& state);
  void begin_epoch(instant now, const congestion_state& state);
  void avoid_congestion(instant now, duration rtt, u32 acked, congestion_state& state);

  /// The curve; RFC 9438 §4.9.1 brings it back as a whole.
  struct curve {
    double w_max = 0;     ///< W_max: its plateau; 0: no loss yet
    double k = 0;         ///< K: seconds from the beginning of the epoch to the plateau
    double w_est = 0;     ///< W_est: what reno would have
    instant epoch{};      ///< beginning of this congestion avoidance; later by pauses
    u32 cwnd_prior = 0;   ///< window at the last loss
    bool in_epoch = false;
  };
  curve now_;
  curve before_;           ///< the last loss
  instant paused_at_{-1};  ///< since then the window is not used; negative: it is
  SlowStart slow_start_;
};
using tcp_cubic = basic_cubic<tcp_hystart>;
using tcp_cubic_pp = basic_cubic<tcp_hystart_pp>;

/// Cube root of x >= 0, the same on every machine (the C library's may differ in the last bit).
double tcp_cubic_root(double x);

}  // namespace ph
