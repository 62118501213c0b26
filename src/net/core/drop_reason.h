// Every way in which a packet can end before its time. Each has a name, one line of explanation
// and, where Linux counts it, the MIB counter that rises.
#pragma once

#include <string_view>

#include "net/core/mib.h"

namespace ph {

enum class drop_reason : u8 {
  none,
  // buffers and teardown
  unreasoned,
  queue_purge,
  dev_down,
  dev_gone,
  bad_offload,
  // driver and link
  fault_loss,
  fault_corrupt,
  link_queue_full,
  ring_full,
  cpu_backlog,
  host_write_failed,
  frame_too_short,
  frame_too_long,
  bad_vnet_header,
  // link layer
  other_host,
  unhandled_proto,
  // arp and neighbour
  arp_malformed,
  arp_not_for_us,
  neigh_failed,
  neigh_queuefull,
  neigh_dead,
  neigh_create_fail,
  // ip input
  ip_pkt_too_small,
  ip_inhdr,
  ip_csum,
  ip_truncated,
  ip_inaddrerrors,
  ip_innoroutes,
  ip_rpfilter,
  ip_martian_source,
  ip_noproto,
  ip_options_bad,
  ip_source_route,
  // ip forward and output
  ip_forwarding_off,
  ttl_expired,
  pkt_too_big,
  ip_too_long,
  ip_outnoroutes,
  blackhole_route,
  prohibit_route,
  unreachable_route,
  dst_discard,
  frag_failed,
  // reassembly
  frag_reasm_timeout,
  frag_overlap,
  frag_too_big,
  frag_memory,
  frag_bad,
  frag_evicted,
  // icmp
  icmp_csum,
  icmp_malformed,
  icmp_unknown_type,
  icmp_echo_ignored,
  icmp_no_socket,
  // sockets
  no_socket,
  socket_rcvbuff,
  socket_closed,
  // udp and raw
  udp_csum,
  udp_malformed,
  udp_no_port,
  udplite_csum,
  udplite_malformed,
  udplite_coverage,
  udplite_no_port,
  // tcp
  tcp_csum,
  tcp_malformed,
  tcp_flags,
  tcp_no_socket,
  tcp_old_data,
  tcp_overwindow,
  tcp_invalid_sequence,
  tcp_old_sequence,
  tcp_paws,
  tcp_invalid_ack,
  tcp_too_old_ack,
  tcp_ack_unsent_data,
  tcp_reset,
  tcp_invalid_syn,
  tcp_close,
  tcp_listen_overflow,
  tcp_syn_queue_full,
  tcp_ofo_merge,
  tcp_ofo_drop,
  tcp_rcv_pruned,
  tcp_zero_window,
  tcp_min_ttl,
  tcp_timewait,
  tcp_request,
  tcp_fin_wait_data,
  tcp_md5_failure,
  tcp_md5_not_found,
  tcp_md5_unexpected,
  tcp_ao_not_found,
  tcp_ao_unexpected,
  tcp_ao_key_not_found,
  tcp_ao_failure,
  // plug-ins
  qdisc_overlimit,
  netfilter_drop,
  count,
};

/// "tcp_csum".
std::string_view drop_reason_name(drop_reason reason);
/// One sentence for a person.
std::string_view drop_reason_text(drop_reason reason);
/// The counter that drop() raises with it, or mib::none.
mib drop_reason_mib(drop_reason reason);
/// The second counter that drop() raises, where Linux counts twice (a wrong UDP checksum is
/// UdpInCsumErrors and UdpInErrors), or mib::none.
mib drop_reason_second_mib(drop_reason reason);

}  // namespace ph
