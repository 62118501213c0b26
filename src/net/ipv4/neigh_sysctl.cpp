// Linux's names and units. What nothing stands behind here (proxies, anycast) is not there.
#include "net/ipv4/neigh_sysctl.h"

#include <algorithm>
#include <limits>
#include <string>

#include "net/core/net_namespace.h"
#include "net/ipv4/ipv4_net.h"

namespace ph {
namespace {

struct row {
  const char* name;
  s32 neigh_settings::*value;
  s32 scale;
};
constexpr s32 ms_in_second = 1000, ms_in_jiffy = 10;
/// Memory that the longest Ethernet frame takes in Linux.
constexpr s32 frame_bytes = 2112;
constexpr row rows[] = {
    {"base_reachable_time_ms", &neigh_settings::base_reachable_time_ms, 1},
    {"base_reachable_time", &neigh_settings::base_reachable_time_ms, ms_in_second},
    {"retrans_time_ms", &neigh_settings::retrans_time_ms, 1},
    {"retrans_time", &neigh_settings::retrans_time_ms, ms_in_jiffy},
    {"delay_first_probe_time", &neigh_settings::delay_first_probe_time, 1},
    {"gc_stale_time", &neigh_settings::gc_stale_time, 1},
    {"locktime", &neigh_settings::locktime, 1},
    {"mcast_solicit", &neigh_settings::mcast_solicit, 1},
    {"mcast_resolicit", &neigh_settings::mcast_resolicit, 1},
    {"ucast_solicit", &neigh_settings::ucast_solicit, 1},
    {"app_solicit", &neigh_settings::app_solicit, 1},
    {"unres_qlen_bytes", &neigh_settings::unres_qlen_bytes, 1},
    {"unres_qlen", &neigh_settings::unres_qlen_bytes, frame_bytes},
};

/// sysctl(8): where dots part the name, a slash stands for a dot of the device's own.
std::string prefix_of(std::string device) {
  std::replace(device.begin(), device.end(), '.', '/');
  return "net.ipv4.neigh." + device + '.';
}

}  // namespace

void neigh_sysctl_init(sysctl_table& settings, neigh_table& neighbours) {
  const std::string prefix = prefix_of("default");
  for (const row& r : rows) {
    settings.add_scaled(prefix + r.name, neighbours.defaults.*r.value, r.scale, nullptr);
  }
  constexpr s32 most = std::numeric_limits<s32>::max();
  settings.add(prefix + "gc_thresh1", neighbours.gc_thresh1, 0, most);
  settings.add(prefix + "gc_thresh2", neighbours.gc_thresh2, 0, most);
  settings.add(prefix + "gc_thresh3", neighbours.gc_thresh3, 0, most);
}

void neigh_netdev_event(net_namespace& net, const netdev_event& event) {
  neigh_table& neighbours = *ipv4_of(net).arp_table;
  const std::string prefix = prefix_of(event.dev->name());
  if (event.kind == netdev_event_kind::registered) {
    neigh_parms& parms = neighbours.parms_of(*event.dev);
    for (const row& r : rows) {
      net.sysctls().add_scaled(prefix + r.name, parms.own.*r.value, r.scale,
                               &(neighbours.defaults.*r.value));
    }
  } else if (event.kind == netdev_event_kind::unregister) {
    net.sysctls().remove_all(prefix);
    neighbours.forget_parms(*event.dev);
  }
}

}  // namespace ph
