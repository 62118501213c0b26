// ARP (RFC 826) with announcements, probes and address defence (RFC 5227).
#pragma once

#include "net/core/neighbour.h"

namespace ph {

namespace drop_reason {
inline constexpr drop_reason_info arp_malformed{"arp_malformed",
                                                "Not a well-formed ARP message for this link."};
inline constexpr drop_reason_info arp_not_for_us{"arp_not_for_us",
                                                 "An ARP message about somebody else."};
}  // namespace drop_reason

/// The families of questions ARP answers for IPv4's neighbour table.
std::unique_ptr<neigh_ops> arp_neigh_ops(net_namespace& net);
/// packet_type handler of ETH_P_ARP.
void arp_rcv(cpu& cx, skb_ptr skb, net_device& dev);
/// Listener of net_namespace::netdev_events: forgets neighbours behind a device that went down,
/// lost its cable or has another address, and announces addresses of one that is there again.
void arp_netdev_event(net_namespace& net, const netdev_event& event);
/// Listener of ipv4_net::inetaddr_events: announces a new address on a device that is up.
void arp_inetaddr_event(const struct inetaddr_event& event);
/// SIOCGARP, SIOCSARP, SIOCDARP: `arg` is a struct arpreq.
result<int> arp_ioctl(class task& who, u32 command, byte_span arg);
/// Tells the link that `addr` is ours: a request for our own address (RFC 5227 §3).
void arp_announce(cpu& cx, net_device& dev, ipv4_addr addr);
/// Asks whether somebody uses `addr`: a request with sender address 0 (RFC 5227 §2.1.1).
void arp_probe(cpu& cx, net_device& dev, ipv4_addr addr);

/// Address conflicts of one device (RFC 5227 §2.4).
struct arp_conflicts : slot_object {
  u64 seen = 0;            ///< frames from others that claim an address of ours
  u64 defended = 0;        ///< announcements sent against them
  instant last_defence{};
};
inline constexpr slot_key<arp_conflicts> arp_conflicts_key{"arp"};

}  // namespace ph
