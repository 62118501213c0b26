// The way out of IPv4: headers, hooks, fragmentation, neighbour.
#pragma once

#include "net/inet/inet_sock.h"
#include "net/ipv4/route.h"

namespace ph {

/// How ip_send builds a header.
struct ip_cookie {
  ipv4_addr saddr, daddr;
  u8 protocol = 0;
  u8 tos = 0;
  u8 ttl = 64;
  bool df = false;
  u32 mark = 0, priority = 0;
  byte_view options;  ///< already compiled, padded to 4; the caller keeps them
};

/// skb (transport header at data, checksum partial or done) gets an IPv4 header and goes through
/// the output hook and rt.output. Fragments when larger than the path MTU unless DF says no; what
/// is longer than an IPv4 packet can be is dropped.
xmit_result ip_send_skb(cpu& cx, net_namespace& net, ref<rtable> rt, skb_ptr skb,
                        const ip_cookie& header, sock* sk);
/// The output hook, then the route's output. Network header complete, at data.
xmit_result ip_local_out(cpu& cx, net_namespace& net, skb_ptr skb);
/// Bytes of the largest packet that this one becomes on the wire: a super-packet is cut there.
u32 ip_wire_len(const sk_buff& skb);
/// After routing: post-routing hook, fragmentation, neighbour. (rtable::output calls it.)
xmit_result ip_output(cpu& cx, skb_ptr skb);
/// Cuts a packet to pieces of at most `mtu`; each goes to `send(cx, piece)`. Errors: msgsize
/// (DF set; the caller reports), as RFC 791 §3.2.
result<void> ip_fragment(cpu& cx, skb_ptr skb, u32 mtu,
                         inline_fn<xmit_result(cpu&, skb_ptr)> send);
/// TCP's entry through inet_af_ops.
xmit_result ip_queue_xmit(cpu& cx, inet_sock& sk, skb_ptr skb);
/// Identification for a packet (RFC 6864): random per destination, counted.
u16 ip_select_ident(net_namespace& net, inet_sock* sk, ipv4_addr saddr, ipv4_addr daddr,
                    u8 protocol);
/// Receives its own broadcast and multicast back when asked (mc_loop).
void ip_dev_loopback_xmit(cpu& cx, net_namespace& net, skb_ptr skb);

}  // namespace ph
