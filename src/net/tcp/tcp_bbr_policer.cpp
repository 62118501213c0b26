// BBR's long-term bandwidth: recognises a token-bucket policer, which lets bursts through and then
// drops whatever is above its rate, so that the largest delivery rate is not what lasts (talk of
// the authors at ICCRG, IETF 97). Two intervals in a row, each of at least four round trips that
// begin and end with losses, of which a fifth of the segments or more got lost, and whose rates
// agree within an eighth: that rate is used, without probing, for 48 round trips.
#include "net/tcp/tcp_bbr.h"

#include <algorithm>

namespace ph {
namespace {

constexpr u32 interval_least_rounds = 4;
constexpr u32 interval_most_rounds = 4 * interval_least_rounds;
constexpr u32 use_rounds = 48;
constexpr u32 loss_share = 5;           ///< one of five
constexpr u32 same_rate_part = 8;
constexpr u32 same_rate_least = 500 / 16;  ///< 4 kbit/s in units of 16 bytes per second

}  // namespace

void tcp_bbr::begin_policer_interval(u32 now_us, const ack_sample& sample) {
  lt_stamp_us_ = now_us;
  lt_delivered_ = static_cast<u32>(sample.delivered);
  lt_lost_ = 0;
  lt_rounds_ = 0;
}

void tcp_bbr::reset_policer() {
  lt_bw_ = 0;
  lt_use_ = false;
  lt_sampling_ = false;
  lt_lost_ = 0;
  lt_rounds_ = 0;
}

void tcp_bbr::sample_policer(u32 now_us, u32 lost, const ack_sample& sample) {
  lt_lost_ += lost;
  if (lt_use_) {
    if (mode_ == mode::probe_bw && round_start_ && ++lt_rounds_ >= use_rounds) {
      reset_policer();
      cycle_index_ = 0;  // perhaps it is gone: probe
      cycle_stamp_us_ = now_us;
    }
    return;
  }
  if (!lt_sampling_) {
    if (lost == 0) return;  // an interval begins when the bucket has just run dry
    begin_policer_interval(now_us, sample);
    lt_sampling_ = true;
  }
  if (sample.app_limited) return reset_policer();
  if (round_start_) ++lt_rounds_;
  if (lt_rounds_ < interval_least_rounds) return;
  if (lt_rounds_ > interval_most_rounds) return reset_policer();
  if (lost == 0) return;  // and ends when it has again
  const u32 delivered = static_cast<u32>(sample.delivered) - lt_delivered_;
  if (delivered == 0 || u64{lt_lost_} * loss_share < delivered) return;
  const u32 us = now_us - lt_stamp_us_;
  if (us < 1000) return;
  const u64 bytes = u64{delivered} * mss_bytes_;
  const u64 bw = bytes * 1'000'000 / us / 16;
  policer_interval_done(now_us, static_cast<u32>(std::min<u64>(bw, ~u32{0})), sample);
}

void tcp_bbr::policer_interval_done(u32 now_us, u32 bw, const ack_sample& sample) {
  if (lt_bw_ != 0) {
    const u32 diff = bw > lt_bw_ ? bw - lt_bw_ : lt_bw_ - bw;
    if (diff <= lt_bw_ / same_rate_part || diff <= same_rate_least) {
      lt_bw_ = static_cast<u32>((u64{bw} + lt_bw_) / 2);
      lt_use_ = true;
      lt_rounds_ = 0;
      return;
    }
  }
  lt_bw_ = bw;
  begin_policer_interval(now_us, sample);
}

}  // namespace ph
