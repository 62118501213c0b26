// Pacing: segments leave at a rate, not in bursts.
#pragma once

#include "net/tcp/tcp_sock.h"

namespace ph {

inline constexpr u64 tcp_unpaced = ~u64{0};
/// Payload of the largest packet: with its headers it must fit an IP length.
inline constexpr u32 tcp_super_packet = 65535 - 120;
/// Whole segments that one packet may hold. Where the MTU is that of lo, two may be too many.
constexpr u32 tcp_most_segs(u32 mss) { return mss < tcp_super_packet ? tcp_super_packet / mss : 1; }

/// Bytes per second at which the connection sends: what the congestion control says, or the window
/// per round trip by the ratios of ip-sysctl (tcp_pacing_ss_ratio, tcp_pacing_ca_ratio), at most
/// SO_MAX_PACING_RATE; tcp_unpaced before the first round trip.
u64 tcp_pacing_rate(const tcp_sock& tp);
/// The next segment has to wait; the timer that sends it runs. Never true unless the congestion
/// control or SO_MAX_PACING_RATE asked for pacing.
[[nodiscard]] bool tcp_pacing_holds(cpu& cx, tcp_sock& tp);
/// So many bytes of payload left now.
void tcp_pacing_sent(cpu& cx, tcp_sock& tp, u32 bytes);
/// Segments that one packet may hold when it leaves: about a millisecond's worth (ip-sysctl,
/// tcp_min_tso_segs and tcp_tso_rtt_log).
u32 tcp_tso_segs(const tcp_sock& tp, u32 mss);

}  // namespace ph
