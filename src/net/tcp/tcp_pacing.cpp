// Pacing: data leave at the rate that congestion control or SO_MAX_PACING_RATE sets, by a timer
// (draft-cardwell-iccrg-bbr-congestion-control-00 §4.2.1, socket(7)). What the retransmission and
// probe timers send, and the first retransmission of a recovery, does not wait.
#include "net/tcp/tcp_pacing.h"

#include <algorithm>

namespace ph {

u64 tcp_pacing_rate(const tcp_sock& tp) {
  return std::min(tp.cong.pacing_rate, tp.opt.max_pacing_rate);
}

bool tcp_pacing_holds(cpu& cx, tcp_sock& tp) {
  if (tcp_pacing_rate(tp) == tcp_unpaced || tp.pacing_next <= cx.now()) return false;
  if (!tp.pacing_timer.armed()) tp.home().timers().arm(tp.pacing_timer, tp.pacing_next);
  return true;
}

void tcp_pacing_sent(cpu& cx, tcp_sock& tp, u32 bytes) {
  const u64 rate = tcp_pacing_rate(tp);
  if (rate == tcp_unpaced) return;
  const instant now = cx.now();
  constexpr s64 second = 1'000'000'000;
  s64 ns = static_cast<s64>(u64{bytes} * second / std::max<u64>(rate, 1));
  // A timer that fired late is made up for, but not more than by half: no bursts after a pause.
  const duration late = now - tp.pacing_next;
  if (late.ns > 0) ns -= std::min(ns / 2, late.ns);
  tp.pacing_next = std::max(tp.pacing_next, now) + nanoseconds(ns);
}

u32 tcp_pacing_quantum(const tcp_sock& tp, u32 mss) {
  const u64 rate = tcp_pacing_rate(tp);
  if (rate == tcp_unpaced) return ~u32{0};
  const u64 bytes = std::min<u64>(rate / 1024, 65535);
  return static_cast<u32>(std::max<u64>(bytes / mss, 2)) * mss;
}

}  // namespace ph
