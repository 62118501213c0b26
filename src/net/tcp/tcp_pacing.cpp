// Pacing: data leave at the rate that congestion control or SO_MAX_PACING_RATE sets, by a timer
// (draft-cardwell-iccrg-bbr-congestion-control-00 §4.2.1, socket(7)). What the retransmission and
// probe timers send does not wait.
#include "net/tcp/tcp_pacing.h"

#include <algorithm>

#include "net/tcp/tcp_auth.h"

namespace ph {
namespace {

bool is_paced(const tcp_sock& tp) {
  return tp.cong.pacing_rate != tcp_unpaced || tp.opt.max_pacing_rate != tcp_unpaced;
}

}  // namespace

u64 tcp_pacing_rate(const tcp_sock& tp) {
  u64 rate = tp.cong.pacing_rate;
  if (rate == tcp_unpaced && tp.srtt.ns > 0) {
    const tcp_sysctls& sysctl = tp.tcp().sysctl;
    const bool slow_start = tp.cong.cwnd < tp.cong.ssthresh / 2;
    const s32 percent = slow_start ? sysctl.pacing_ss_ratio : sysctl.pacing_ca_ratio;
    const u64 bytes = u64{tp.mss_cache} * std::max(tp.cong.cwnd, tp.rtx_queue.packets_out());
    const u64 us = static_cast<u64>(std::max<s64>(tp.srtt.us(), 1));
    rate = bytes * 10'000 * static_cast<u64>(percent) / us;
  }
  return std::min(rate, tp.opt.max_pacing_rate);
}

bool tcp_pacing_holds(cpu& cx, tcp_sock& tp) {
  if (!is_paced(tp) || tp.pacing_next <= cx.now()) return false;
  if (!tp.pacing_timer.armed()) tp.home().timers().arm(tp.pacing_timer, tp.pacing_next);
  return true;
}

void tcp_pacing_sent(cpu& cx, tcp_sock& tp, u32 bytes) {
  const u64 rate = tcp_pacing_rate(tp);
  if (!is_paced(tp) || rate == tcp_unpaced) return;
  const instant now = cx.now();
  constexpr s64 second = 1'000'000'000;
  s64 ns = static_cast<s64>(u64{bytes} * second / std::max<u64>(rate, 1));
  // A timer that fired late is made up for, but not more than by half: no bursts after a pause.
  const duration late = now - tp.pacing_next;
  if (late.ns > 0) ns -= std::min(ns / 2, late.ns);
  tp.pacing_next = std::max(tp.pacing_next, now) + nanoseconds(ns);
}

u32 tcp_tso_segs(const tcp_sock& tp, u32 mss) {
  if (tcp_auth_option_bytes(tp) != 0) return 1;  // each segment has a signature of its own
  const tcp_sysctls& sysctl = tp.tcp().sysctl;
  u64 bytes = std::min<u64>(tcp_pacing_rate(tp) >> 10, tcp_super_packet);
  // Near peers may have larger ones: they halve with every 2^tso_rtt_log microseconds of distance.
  const s64 distance = tp.min_rtt.ns > 0 ? tp.min_rtt.us() >> sysctl.tso_rtt_log : 0;
  if (sysctl.tso_rtt_log != 0 && distance < 32) bytes += u64{65536} >> distance;
  bytes = std::min<u64>(bytes, tcp_super_packet);
  const u32 least = static_cast<u32>(sysctl.min_tso_segs);
  return std::min(std::max(static_cast<u32>(bytes / mss), least), tcp_most_segs(mss));
}

}  // namespace ph
