// Accurate ECN, RFC 9768: AE, CWR and ECE are a counter of marked packets (ACE), an option counts
// bytes. Also the checks of a path that spoils marks or feedback (§3.2.2.3, §3.2.2.4, §3.2.3.2).
//
// Does not: look for paths that mark everything (§3.2.2.3 only suggests it).
#pragma once

#include "net/tcp/tcp_ecn.h"

namespace ph {

/// AE, CWR and ECE as a number, and the reverse.
u8 tcp_ace(const tcp_seg& seg);
tcp_ecn_flags tcp_ace_flags(u32 ace);

/// §3.1.1, table 2: how a SYN+ACK tells the IP-ECN field of the SYN.
tcp_ecn_flags tcp_accecn_synack_flags(u8 syn_ecn);
/// ACE of any other segment (§3.2.2.1 for the ACK of a SYN+ACK).
tcp_ecn_flags tcp_accecn_flags(tcp_sock& tp, u8 flags, tcp_ecn_load load);
/// The answer to a SYN that asked for it; false: the peer does not speak it.
bool tcp_accecn_rcv_synack(tcp_sock& tp, const tcp_seg& seg);
/// The same answer once more: the ACK that follows tells how this one arrived (§3.1.5, §3.2.2.2).
void tcp_accecn_rcv_synack_again(tcp_sock& tp, const tcp_seg& seg);
/// The segment that ends a passive handshake (§3.2.2.1, table 4); false: its ACE is a counter.
bool tcp_accecn_third_ack(tcp_sock& tp, const tcp_seg& seg);
/// Counts an acceptable segment, and decides whether it must be acknowledged at once (§3.2.2.5).
void tcp_accecn_receive(tcp_sock& tp, const tcp_seg& seg);
/// How many packets the peer newly reports as marked, when it acknowledges `delivered` segments
/// (appendix A.2). `una_advanced`: it acknowledges something new, be it a part of a segment.
u32 tcp_accecn_ack(tcp_sock& tp, const tcp_seg& seg, u32 delivered, bool una_advanced);

/// Adds SACK blocks and the option to `out`, whose other options stand. §3.2.3.3: two SACK blocks
/// go before the option, which goes before further ones where a counter changed.
void tcp_accecn_and_sack_options(cpu& cx, tcp_sock& tp, tcp_out_options& out);
/// The option of a SYN+ACK: nothing was counted yet.
tcp_accecn_option tcp_accecn_synack_option(const tcp_sysctls& sysctl, std::size_t room);
/// Bytes that the option may take from the payload of a segment.
u32 tcp_accecn_option_bytes(const tcp_sock& tp);

}  // namespace ph
