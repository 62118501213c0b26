// Whose a segment is, and whose an ICMP error: the part of input that knows no IP family. A family
// checks its header and the checksum, and says where the segment came from (tcp_ipv4).
#pragma once

#include "net/inet/inet_protocol.h"
#include "net/tcp/tcp_sock.h"

namespace ph {

/// What the network layer knows of a segment.
struct tcp_packet {
  inet_protocol& handler;  ///< takes it again on another cpu
  const inet_af_ops& af;
  inet_addr laddr, raddr;
  u8 tos = 0;
  u8 hop_limit = 0;  ///< as it arrived
};

/// Header and lengths of the segment at data, in host order; none: malformed.
std::optional<tcp_seg> tcp_read_segment(cpu& cx, sk_buff& skb);
/// Gives a segment to its connection, half-open request, TIME-WAIT entry or listener, on the cpu of
/// that; nobody's is answered by RST (RFC 9293 §3.10.7.1). Consumes it.
void tcp_demux(cpu& cx, net_namespace& net, skb_ptr skb, tcp_seg seg, const tcp_packet& packet);
enum class tcp_icmp_outcome : u8 { nobodys, refused, taken };
/// Gives an ICMP error to the connection that sent the quoted segment (RFC 9293 §3.9.2.2), if it is
/// one that is outstanding (RFC 5927 §4.1). nobodys: no connection of ours sent it.
tcp_icmp_outcome tcp_demux_error(cpu& cx, net_namespace& net, const icmp_error& error);

}  // namespace ph
