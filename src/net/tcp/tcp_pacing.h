// Pacing: segments leave at a rate, not in bursts.
#pragma once

#include "net/tcp/tcp_sock.h"

namespace ph {

inline constexpr u64 tcp_unpaced = ~u64{0};

/// Bytes of payload per second; tcp_unpaced: as fast as windows allow.
u64 tcp_pacing_rate(const tcp_sock& tp);
/// The next segment has to wait; the timer that sends it runs.
[[nodiscard]] bool tcp_pacing_holds(cpu& cx, tcp_sock& tp);
/// So many bytes of payload left now.
void tcp_pacing_sent(cpu& cx, tcp_sock& tp, u32 bytes);
/// Bytes that may leave as one packet of several segments: about a millisecond's, at least two.
u32 tcp_pacing_quantum(const tcp_sock& tp, u32 mss);

}  // namespace ph
