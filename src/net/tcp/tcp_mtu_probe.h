// Packetization-layer path MTU discovery, RFC 4821: larger segments are tried in the middle of the
// stream, and a path that swallows segments silently (no ICMP comes back) is recognized by its
// timeouts. net.ipv4.tcp_mtu_probing and its kin; sizes are of IP packets.
#pragma once

#include "net/tcp/tcp_sock.h"

namespace ph {

/// The search of a connection begins: from tcp_base_mss to what the peer accepts.
void tcp_mtup_init(cpu& cx, tcp_sock& tp);

enum class tcp_mtup_verdict : u8 { no, wait, ready };
/// Whether a probe should go now. wait: soon, so nothing else may leave; ready: the head of the
/// write queue is one packet of the size to try.
tcp_mtup_verdict tcp_mtup_prepare(cpu& cx, tcp_sock& tp);
/// The packet that tcp_mtup_prepare put in front was not taken below: nothing so large is tried.
void tcp_mtup_refused(tcp_sock& tp, const sk_buff& probe);
/// The head of the write queue, which prepare() made, leaves.
void tcp_mtup_sent(tcp_sock& tp, const sk_buff& probe);
/// SND.UNA moved. A probe that it covers has shown the path to take its size.
void tcp_mtup_acked(cpu& cx, tcp_sock& tp);
/// A loss was found. True: it was the probe, which is no sign of congestion (RFC 4821 §7.4).
[[nodiscard]] bool tcp_mtup_lost(cpu& cx, tcp_sock& tp);
/// Timeout after timeout: the path may be a black hole for large packets (§7.7).
void tcp_mtup_black_hole(cpu& cx, tcp_sock& tp);

}  // namespace ph
