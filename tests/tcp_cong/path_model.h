// A path for tests of congestion control without a stack: a sender that always has data (or
// pauses), one bottleneck with a queue, the way back. Segments are of one size and each is
// acknowledged; a loss is noticed with the next acknowledgement behind it; nothing is sent twice.
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <vector>

#include "net/tcp/tcp_cong.h"
#include "tests/kernel/machine.h"

namespace ph {

struct path_config {
  u64 bytes_per_second = 20'000'000 / 8;
  duration rtt = milliseconds(40);
  u32 queue_segs = 66;
  double loss = 0;
  u32 mark_above_segs = ~u32{0};     ///< ECN: longer queues mark
  u64 policed_bytes_per_second = 0;  ///< 0: no policer in front of the bottleneck
  u64 policer_bucket_bytes = 0;
};

class path_model {
 public:
  static constexpr u32 mss = 1500;

  explicit path_model(tcp_congestion& algorithm, path_config settings = {})
      : ca(algorithm),
        config(settings),
        tokens_(static_cast<double>(settings.policer_bucket_bytes)) {
    ack_sample first;
    first.mss_bytes = mss;
    first.srtt = first.min_rtt = config.rtt;
    machine.cx().enter(now);
    ca.on_init(machine.cx(), first, cong);
  }

  void run_for(duration d) { run_until(now + d); }
  void run_until(instant end) {
    for (;;) {
      send_what_may();
      instant next = never;
      if (!flying_.empty()) next = flying_.front().ack_at;
      if (!paused && in_flight < cong.cwnd) next = std::min(next, std::max(next_send_, now));
      if (next > end) break;
      advance(next);
      while (!flying_.empty() && flying_.front().ack_at <= now) arrive();
    }
    advance(end);
  }
  /// Everything in flight is gone.
  void time_out() {
    machine.cx().enter(now);
    ca.on_rto(machine.cx(), {loss_kind::timeout, in_flight, mss}, cong);
    cong.cwnd = 1;
    flying_.clear();
    pending_losses_.clear();
    in_flight = 0;
    state_ = uapi::tcp_ca_state::loss;
    high_ = sent_;
  }
  [[nodiscard]] u32 queued_segs() const {
    const s64 wait = free_at_.ns - now.ns;
    return wait <= 0 ? 0 : static_cast<u32>(wait / std::max<s64>(serial().ns, 1)) + 1;
  }
  [[nodiscard]] double goodput_bps(u64 since_delivered, duration d) const {
    return static_cast<double>(delivered - since_delivered) * mss * 8 / d.seconds();
  }

  test_machine machine;
  tcp_congestion& ca;
  path_config config;
  congestion_state cong;
  instant now{seconds(1).ns};
  u32 in_flight = 0;
  u64 delivered = 0, lost = 0, marked = 0;
  bool paused = false;
  duration srtt{};
  /// After each acknowledgement.
  std::function<void(const ack_sample&)> watch;

 private:
  struct segment {
    u64 number;
    instant ack_at, sent_at, delivered_at, first_sent_at;
    u64 delivered;
    bool lost, marked, app_limited;
    u32 tx_in_flight;
    u64 lost_before;
  };

  static duration time_for_segment(u64 bytes_per_second) {
    return {static_cast<s64>(u64{mss} * 1'000'000'000 / bytes_per_second)};
  }
  [[nodiscard]] duration serial() const { return time_for_segment(config.bytes_per_second); }
  void advance(instant to) {
    now = std::max(now, to);
    machine.cx().enter(now);
  }
  bool policed() {
    if (config.policed_bytes_per_second == 0) return false;
    tokens_ += (now - tokens_at_).seconds() * static_cast<double>(config.policed_bytes_per_second);
    tokens_ = std::min(tokens_, static_cast<double>(config.policer_bucket_bytes));
    tokens_at_ = now;
    if (tokens_ < mss) return true;
    tokens_ -= mss;
    return false;
  }
  void send_what_may() {
    while (!paused && in_flight < cong.cwnd && next_send_ <= now) send();
    if (!paused && in_flight >= cong.cwnd) limited_at_ = sent_;
    if (paused) app_limited_until_ = std::max<u64>(delivered + in_flight, 1);
  }
  void send() {
    if (in_flight == 0) {
      const bool app_limited = app_limited_until_ != 0;
      if (sent_ != 0) ca.on_tx_start(machine.cx(), now - last_event_, app_limited, cong);
      first_sent_at_ = delivered_at_ = now;
    }
    segment s{sent_++, {}, now, delivered_at_, first_sent_at_, delivered, false, false,
              app_limited_until_ != 0, in_flight + 1, lost};
    const u32 queue = queued_segs();
    s.lost = policed() || queue > config.queue_segs ||
             (config.loss > 0 && machine.cx().random().below(1'000'000) <
                                     static_cast<u64>(config.loss * 1'000'000));
    s.marked = queue > config.mark_above_segs;
    if (!s.lost) free_at_ = std::max(free_at_, now) + serial();
    s.ack_at = std::max(free_at_, now) + config.rtt;
    flying_.push_back(s);
    ++in_flight;
    if (cong.pacing_rate != ~u64{0}) {
      const u64 rate = std::max<u64>(cong.pacing_rate, 1);
      next_send_ = std::max(next_send_, now) + time_for_segment(rate);
    }
    last_event_ = now;
  }
  void arrive() {
    const segment s = flying_.front();
    flying_.pop_front();
    last_event_ = now;
    if (s.lost) {
      pending_losses_.push_back(s);
      return;
    }
    ack_sample sample;
    sample.in_flight_segs = in_flight;
    in_flight -= 1 + static_cast<u32>(pending_losses_.size());
    ++delivered;
    sample.lost_segs = mark_lost();
    delivered_at_ = now;
    first_sent_at_ = s.sent_at;
    if (app_limited_until_ != 0 && delivered > app_limited_until_) app_limited_until_ = 0;
    sample.acked_segs = 1;
    sample.acked_bytes = mss;
    sample.mss_bytes = mss;
    sample.rtt = now - s.sent_at;
    srtt = srtt.ns == 0 ? sample.rtt : (srtt * 7 + sample.rtt) / 8;
    sample.srtt = srtt;
    sample.min_rtt = config.rtt;
    sample.cwnd_limited = !paused && limited_at_ >= s.number;  // within this round trip
    sample.in_flight_now_segs = in_flight;
    sample.delivered = delivered;
    sample.prior_delivered = static_cast<s64>(s.delivered);
    sample.app_limited = s.app_limited;
    sample.tx_in_flight_segs = s.tx_in_flight;
    sample.lost_since_segs = static_cast<u32>(lost - s.lost_before);
    sample.ce_segs = s.marked ? 1 : 0;
    marked += sample.ce_segs;
    const duration interval = std::max(s.sent_at - s.first_sent_at, now - s.delivered_at);
    if (interval >= config.rtt) {
      const double bytes = static_cast<double>(delivered - s.delivered) * mss;
      sample.delivery_rate = static_cast<u64>(bytes / interval.seconds());
    }
    change_state(s, sample);
    ca.on_ack(machine.cx(), sample, cong);
    if (cong.app_limited) app_limited_until_ = std::max<u64>(delivered + in_flight, 1);
    if (watch) watch(sample);
  }
  u32 mark_lost() {
    for (const segment& s : pending_losses_) {
      ++lost;
      ca.on_lost(machine.cx(), {1, s.tx_in_flight, static_cast<u32>(lost - s.lost_before),
                                delivered, s.app_limited, true}, cong);
    }
    const u32 marked_now = static_cast<u32>(pending_losses_.size());
    pending_losses_.clear();
    return marked_now;
  }
  void change_state(const segment& s, ack_sample& sample) {
    using enum uapi::tcp_ca_state;
    if (state_ != open && s.number >= high_) {
      if (state_ == recovery && !ca.owns_cwnd()) {
        cong.cwnd = std::max(std::min(cong.cwnd, cong.ssthresh), 1u);
      }
      state_ = open;
    }
    const loss_event event{loss_kind::fast_retransmit, in_flight, mss};
    if (sample.lost_segs != 0 && state_ < recovery) {
      if (state_ == open) ca.on_loss(machine.cx(), event, cong);
      state_ = recovery;
      high_ = sent_;
    } else if (s.marked && state_ == open) {
      ca.on_ecn(machine.cx(), event, cong);
      state_ = cwr;
      high_ = sent_;
    }
    sample.ca_state = state_;
    sample.in_recovery = state_ == recovery || state_ == cwr;
  }

  std::deque<segment> flying_;
  instant free_at_{}, next_send_{}, last_event_{}, delivered_at_{}, first_sent_at_{};
  u64 sent_ = 0, high_ = 0, app_limited_until_ = 0;
  u64 limited_at_ = 0;                     ///< segments sent when the window last was full
  std::vector<segment> pending_losses_;    ///< not noticed yet
  double tokens_;
  instant tokens_at_{};
  uapi::tcp_ca_state state_ = uapi::tcp_ca_state::open;
};

}  // namespace ph
