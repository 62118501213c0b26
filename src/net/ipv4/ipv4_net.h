// IPv4's state in a namespace: settings, protocol table, routing tables, and pointers that its
// parts share.
#pragma once

#include "base/hash.h"
#include "net/core/neighbour.h"
#include "net/core/net_namespace.h"
#include "net/inet/inet_protocol.h"
#include "net/inet/inet_sock.h"
#include "net/ipv4/fib.h"
#include "net/ipv4/ip_drop_reasons.h"
#include "net/ipv4/ip_mib.h"

namespace ph {

class inet_frags;
class route_cache;
class icmp_limiter;
struct inetaddr_event;

/// net.ipv4.* with Linux's defaults.
struct ipv4_sysctls {
  s32 ip_forward = 0;
  s32 ip_default_ttl = 64;
  s32 ip_no_pmtu_disc = 0;
  s32 ip_nonlocal_bind = 0;
  s32 ip_local_port_low = 32768, ip_local_port_high = 60999;
  s32 ip_unprivileged_port_start = 1024;
  s32 ipfrag_high_thresh = 4 * 1024 * 1024, ipfrag_low_thresh = 3 * 1024 * 1024;
  s32 ipfrag_time = 30;
  s32 ipfrag_max_dist = 64;
  s32 icmp_echo_ignore_all = 0, icmp_echo_ignore_broadcasts = 1;
  s32 icmp_ratelimit = 1000, icmp_ratemask = 6168;
  s32 icmp_msgs_per_sec = 1000, icmp_msgs_burst = 50;
  s32 icmp_errors_use_inbound_ifaddr = 0;
  s32 ping_group_low = 0, ping_group_high = 2147483647;
  s32 min_pmtu = 552;
  s32 mtu_expires = 600;
  s32 min_adv_mss = 256;
  s32 send_redirects = 0, accept_redirects = 1, accept_source_route = 0;
  s32 rp_filter = 0;
  s32 arp_ignore = 0, arp_announce = 0, arp_accept = 0;
};

/// Owns what IPv4 needs in one namespace; made by ipv4_init.
struct ipv4_net : slot_object {
  explicit ipv4_net(net_namespace& net);
  ~ipv4_net() override;
  ipv4_sysctls sysctl;
  inet_protocol_table protocols;
  fib_tables fib;
  std::unique_ptr<route_cache> routes;    ///< recent answers, and what is known of paths
  std::unique_ptr<icmp_limiter> icmp_limits;
  std::unique_ptr<inet_frags> frags;
  std::unique_ptr<neigh_table> arp_table;
  packet_type ip_packet_type;
  packet_type arp_packet_type;
  siphash_key ip_id_key;
  std::array<u16, 256> ip_idents{};       ///< counters that ip_select_ident adds to a hash
  notifier_chain<inetaddr_event> inetaddr_events;
  // Who listens, in the order in which they hear.
  notifier<netdev_event> devinet_listener, fib_netdev_listener, arp_netdev_listener,
      neigh_netdev_listener;
  notifier<inetaddr_event> fib_inetaddr_listener, arp_inetaddr_listener;
};
inline constexpr slot_key<ipv4_net> ipv4_key{"ipv4"};
inline ipv4_net& ipv4_of(net_namespace& net) { return net.slots().get(ipv4_key); }

/// Furnishes a namespace with IPv4, ICMP and ARP (sysctls, packet types, protocols).
void ipv4_init(net_namespace& net);
const inet_af_ops& ipv4_af_ops();

}  // namespace ph
