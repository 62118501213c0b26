// The counters of IPv4 and ICMP, in the order of /proc/net/snmp (Ip, Icmp) and /proc/net/netstat
// (IpExt).
#pragma once

#include "net/core/mib.h"

namespace ph {
namespace mib {

/// RFC 4293.
enum ip_counters : u16 {
  ip_in_receives = first_of_mib_group(4),
  ip_in_hdr_errors,
  ip_in_addr_errors,
  ip_forw_datagrams,
  ip_in_unknown_protos,
  ip_in_delivers,
  ip_out_requests,
  ip_out_discards,
  ip_out_no_routes,
  ip_reasm_timeout,
  ip_reasm_reqds,
  ip_reasm_oks,
  ip_reasm_fails,
  ip_frag_oks,
  ip_frag_fails,
  ip_frag_creates,
  ip_out_transmits,
  ip_counters_end,
};
/// RFC 4293.
enum icmp_counters : u16 {
  icmp_in_msgs = first_of_mib_group(8),
  icmp_in_errors,
  icmp_in_csum_errors,
  icmp_in_dest_unreachs,
  icmp_in_time_excds,
  icmp_in_parm_probs,
  icmp_in_src_quenchs,
  icmp_in_redirects,
  icmp_in_echos,
  icmp_in_echo_reps,
  icmp_in_timestamps,
  icmp_in_timestamp_reps,
  icmp_in_addr_masks,
  icmp_in_addr_mask_reps,
  icmp_out_msgs,
  icmp_out_rate_limit_host,
  icmp_out_dest_unreachs,
  icmp_out_time_excds,
  icmp_out_parm_probs,
  icmp_out_redirects,
  icmp_out_echos,
  icmp_out_echo_reps,
  icmp_out_timestamp_reps,
  icmp_counters_end,
};
/// What Linux counts besides.
enum ipext_counters : u16 {
  ipext_in_no_routes = first_of_mib_group(44),
  ipext_in_truncated_pkts,
  ipext_in_mcast_pkts,
  ipext_out_mcast_pkts,
  ipext_in_bcast_pkts,
  ipext_out_bcast_pkts,
  ipext_in_octets,
  ipext_out_octets,
  ipext_in_mcast_octets,
  ipext_out_mcast_octets,
  ipext_in_bcast_octets,
  ipext_out_bcast_octets,
  ipext_in_csum_errors,
  ipext_in_no_ect_pkts,
  ipext_in_ect1_pkts,
  ipext_in_ect0_pkts,
  ipext_in_ce_pkts,
  ipext_reasm_overlaps,
  ipext_counters_end,
};

}  // namespace mib

/// Gives a namespace the counters of this file.
void ip_mib_init(mib_table& counters);

}  // namespace ph
