// The counters of UDP and UDP-Lite, in the order of /proc/net/snmp.
#pragma once

#include "net/core/mib.h"

namespace ph {
namespace mib {

/// RFC 4113.
enum udp_counters : u16 {
  udp_in_datagrams = first_of_mib_group(16),
  udp_no_ports,
  udp_in_errors,
  udp_out_datagrams,
  udp_rcvbuf_errors,
  udp_sndbuf_errors,
  udp_in_csum_errors,
  udp_ignored_multi,
  udp_counters_end,
};
/// The same for UDP-Lite (RFC 5097).
enum udplite_counters : u16 {
  udplite_in_datagrams = first_of_mib_group(20),
  udplite_no_ports,
  udplite_in_errors,
  udplite_out_datagrams,
  udplite_rcvbuf_errors,
  udplite_sndbuf_errors,
  udplite_in_csum_errors,
  udplite_ignored_multi,
  udplite_counters_end,
};

}  // namespace mib

/// Gives a namespace the counters of this file.
void udp_mib_init(mib_table& counters);

}  // namespace ph
