// What a namespace gets with IPv4: settings, tables, packet types, protocols.
#include "net/ipv4/ipv4_net.h"

#include <limits>

#include "net/ipv4/arp.h"
#include "net/ipv4/devinet.h"
#include "net/ipv4/fib_frontend.h"
#include "net/ipv4/icmp.h"
#include "net/ipv4/icmp_limiter.h"
#include "net/ipv4/ip_fragment.h"
#include "net/ipv4/ip_input.h"
#include "net/ipv4/neigh_sysctl.h"
#include "net/ipv4/raw.h"
#include "net/ipv4/route_cache.h"
#include "uapi/packet.h"

namespace ph {
namespace {

constexpr s32 most = std::numeric_limits<s32>::max();

struct sysctl_row {
  const char* name;
  s32 ipv4_sysctls::* value;
  s32 min, max;
};
constexpr sysctl_row rows[] = {
    {"ip_forward", &ipv4_sysctls::ip_forward, 0, 1},
    {"ip_default_ttl", &ipv4_sysctls::ip_default_ttl, 1, 255},
    {"ip_no_pmtu_disc", &ipv4_sysctls::ip_no_pmtu_disc, 0, 1},
    {"ip_nonlocal_bind", &ipv4_sysctls::ip_nonlocal_bind, 0, 1},
    {"ip_unprivileged_port_start", &ipv4_sysctls::ip_unprivileged_port_start, 0, 65535},
    {"ipfrag_high_thresh", &ipv4_sysctls::ipfrag_high_thresh, 0, most},
    {"ipfrag_low_thresh", &ipv4_sysctls::ipfrag_low_thresh, 0, most},
    {"ipfrag_time", &ipv4_sysctls::ipfrag_time, 1, 100000},
    {"ipfrag_max_dist", &ipv4_sysctls::ipfrag_max_dist, 0, most},
    {"icmp_echo_ignore_all", &ipv4_sysctls::icmp_echo_ignore_all, 0, 1},
    {"icmp_echo_ignore_broadcasts", &ipv4_sysctls::icmp_echo_ignore_broadcasts, 0, 1},
    {"icmp_ratelimit", &ipv4_sysctls::icmp_ratelimit, 0, most},
    {"icmp_ratemask", &ipv4_sysctls::icmp_ratemask, 0, most},
    {"icmp_msgs_per_sec", &ipv4_sysctls::icmp_msgs_per_sec, 0, most},
    {"icmp_msgs_burst", &ipv4_sysctls::icmp_msgs_burst, 0, most},
    {"icmp_errors_use_inbound_ifaddr", &ipv4_sysctls::icmp_errors_use_inbound_ifaddr, 0, 1},
    {"route.min_pmtu", &ipv4_sysctls::min_pmtu, 68, most},
    {"route.mtu_expires", &ipv4_sysctls::mtu_expires, 1, most},
    {"route.min_adv_mss", &ipv4_sysctls::min_adv_mss, 0, most},
    {"conf.all.send_redirects", &ipv4_sysctls::send_redirects, 0, 1},
    {"conf.all.rp_filter", &ipv4_sysctls::rp_filter, 0, 2},
    {"conf.all.arp_ignore", &ipv4_sysctls::arp_ignore, 0, 8},
    {"conf.all.arp_announce", &ipv4_sysctls::arp_announce, 0, 2},
    {"conf.all.arp_accept", &ipv4_sysctls::arp_accept, 0, 1},
    {"conf.all.accept_redirects", &ipv4_sysctls::accept_redirects, 0, 1},
    // Known, but only with the value that says no.
    {"conf.all.accept_source_route", &ipv4_sysctls::accept_source_route, 0, 0},
};

void register_sysctls(net_namespace& net, ipv4_net& v4) {
  sysctl_table& table = net.sysctls();
  const std::string prefix = "net.ipv4.";
  for (const sysctl_row& row : rows) {
    table.add(prefix + row.name, v4.sysctl.*row.value, row.min, row.max);
  }
  table.add(prefix + "ip_local_port_range",
            {&v4.sysctl.ip_local_port_low, &v4.sysctl.ip_local_port_high}, 1, 65535);
  table.add(prefix + "ping_group_range",
            {&v4.sysctl.ping_group_low, &v4.sysctl.ping_group_high}, 0, most);
  neigh_sysctl_init(table, *v4.arp_table);
}

/// Addresses first, then the routes that they bring, then the neighbours on the link.
void listen(net_namespace& net, ipv4_net& v4) {
  v4.devinet_listener.set_callback([&net](const netdev_event& e) { devinet_event(net, e); });
  v4.fib_netdev_listener.set_callback([&net](const netdev_event& e) { fib_netdev_event(net, e); });
  v4.arp_netdev_listener.set_callback([&net](const netdev_event& e) { arp_netdev_event(net, e); });
  v4.neigh_netdev_listener.set_callback(
      [&net](const netdev_event& e) { neigh_netdev_event(net, e); });
  v4.fib_inetaddr_listener.set_callback(
      [&net](const inetaddr_event& e) { fib_inetaddr_event(net, e); });
  v4.arp_inetaddr_listener.set_callback(arp_inetaddr_event);
  net.netdev_events().add(v4.devinet_listener);
  net.netdev_events().add(v4.fib_netdev_listener);
  net.netdev_events().add(v4.arp_netdev_listener);
  net.netdev_events().add(v4.neigh_netdev_listener);
  v4.inetaddr_events.add(v4.fib_inetaddr_listener);
  v4.inetaddr_events.add(v4.arp_inetaddr_listener);
}

siphash_key secret_key(kernel& machine) {
  siphash_key key;
  machine.secret({reinterpret_cast<u8*>(&key), sizeof(key)});
  return key;
}

}  // namespace

ipv4_net::ipv4_net(net_namespace& net)
    : fib(net), routes(std::make_unique<route_cache>()),
      icmp_limits(std::make_unique<icmp_limiter>()), frags(std::make_unique<inet_frags>(net)),
      arp_table(std::make_unique<neigh_table>(net, uapi::eth_p_ip, arp_neigh_ops(net))),
      ip_id_key(secret_key(net.machine())) {
  ip_packet_type.type = uapi::eth_p_ip;
  ip_packet_type.func = [](cpu& cx, skb_ptr skb, net_device& dev) {
    ip_rcv(cx, std::move(skb), dev);
  };
  arp_packet_type.type = uapi::eth_p_arp;
  arp_packet_type.func = [](cpu& cx, skb_ptr skb, net_device& dev) {
    arp_rcv(cx, std::move(skb), dev);
  };
}

ipv4_net::~ipv4_net() { routes->clear(); }

void ipv4_init(net_namespace& net) {
  ip_mib_init(net.mib());
  ipv4_net& v4 = net.slots().set(ipv4_key, std::make_unique<ipv4_net>(net));
  register_sysctls(net, v4);
  icmp_init(net);
  raw_init(net);
  ping_init(net);
  net.add_packet_type(v4.ip_packet_type);
  net.add_packet_type(v4.arp_packet_type);
  listen(net, v4);
}

}  // namespace ph
