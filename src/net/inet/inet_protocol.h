// The protocol table of an IP family: "give me protocol Y". Filled by init/builtin.
#pragma once

#include <array>
#include <memory>

#include "net/core/skbuff.h"
#include "net/inet/inet_addr.h"

namespace ph {

/// What an ICMP error says, whichever family's; each family maps its own numbers to it.
enum class icmp_kind : u8 {
  other,
  net_unreachable,
  host_unreachable,
  protocol_unreachable,
  port_unreachable,
  packet_too_big,  ///< info: the next hop's MTU
  time_exceeded,
  parameter_problem,
  redirect,  ///< info: the better gateway (IPv4); no error
};

/// An ICMP error about a packet that we sent, ready for the transport that sent it.
struct icmp_error {
  icmp_kind kind = icmp_kind::other;
  u8 type = 0, code = 0;   ///< the family's numbers, for error queues
  ifindex dev{};           ///< by which it came
  u32 info = 0;            ///< next-hop MTU, parameter pointer, or gateway
  errc error = errc::ok;   ///< what a socket is told
  bool fatal = false;      ///< a hard error (RFC 1122 §4.2.3.9)
  inet_addr laddr, raddr;  ///< of the quoted packet: ours, and whom it was for
  inet_addr offender;      ///< who sent the ICMP
  byte_view quoted;        ///< quoted transport header, at least 8 bytes
};

/// A transport protocol. Called with the network header pulled (transport header at data,
/// transport offset set), reassembled, and padded bytes trimmed.
class inet_protocol {
 public:
  virtual ~inet_protocol() = default;
  /// Consumes a segment for this host.
  virtual void rcv(cpu& cx, net_namespace& net, skb_ptr skb) = 0;
  /// `icmp` is the whole ICMP packet (for error queues), network header set; not consumed.
  virtual void err(cpu& cx, net_namespace& net, const icmp_error& error, const sk_buff& icmp) = 0;
};

/// The handlers of one namespace and family; nullptr: none (ICMP protocol unreachable).
struct inet_protocol_table {
  std::array<std::unique_ptr<inet_protocol>, 256> handlers;
};

}  // namespace ph
