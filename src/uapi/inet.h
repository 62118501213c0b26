// The Linux ABI of the Internet protocols: protocol numbers, options of the levels IP, IPv6, TCP
// and UDP, tcp_info, ICMP types, extended errors (ip(7), tcp(7), udp(7), icmp(7), RFC 792).
//
// Where a struct and an option share a C name once in lower case, the option gets the suffix
// `_opt` (tcp_info_opt, tcp_md5sig_opt, icmp_filter_opt).
#pragma once

#include "base/byteorder.h"

namespace ph::uapi {

// Protocol numbers (IANA), as in IP headers and socket(2).
inline constexpr u8 ipproto_ip = 0;
inline constexpr u8 ipproto_hopopts = 0;
inline constexpr u8 ipproto_icmp = 1;
inline constexpr u8 ipproto_igmp = 2;
inline constexpr u8 ipproto_ipip = 4;
inline constexpr u8 ipproto_tcp = 6;
inline constexpr u8 ipproto_egp = 8;
inline constexpr u8 ipproto_udp = 17;
inline constexpr u8 ipproto_dccp = 33;
inline constexpr u8 ipproto_ipv6 = 41;
inline constexpr u8 ipproto_routing = 43;
inline constexpr u8 ipproto_fragment = 44;
inline constexpr u8 ipproto_gre = 47;
inline constexpr u8 ipproto_esp = 50;
inline constexpr u8 ipproto_ah = 51;
inline constexpr u8 ipproto_icmpv6 = 58;
inline constexpr u8 ipproto_none = 59;
inline constexpr u8 ipproto_dstopts = 60;
inline constexpr u8 ipproto_pim = 103;
inline constexpr u8 ipproto_sctp = 132;
inline constexpr u8 ipproto_udplite = 136;
inline constexpr u8 ipproto_raw = 255;
inline constexpr int ipproto_mptcp = 262;

// Well-known addresses, in host order.
inline constexpr u32 inaddr_any = 0;
inline constexpr u32 inaddr_loopback = 0x7f000001;
inline constexpr u32 inaddr_broadcast = 0xffffffff;
inline constexpr u32 inaddr_allhosts_group = 0xe0000001;
inline constexpr u32 inaddr_allrtrs_group = 0xe0000002;

// Options of level sol_ip, ip(7).
inline constexpr int ip_tos = 1;
inline constexpr int ip_ttl = 2;
inline constexpr int ip_hdrincl = 3;
inline constexpr int ip_options = 4;
inline constexpr int ip_router_alert = 5;
inline constexpr int ip_recvopts = 6;
inline constexpr int ip_retopts = 7;
inline constexpr int ip_pktinfo = 8;
inline constexpr int ip_pktoptions = 9;
inline constexpr int ip_mtu_discover = 10;
inline constexpr int ip_recverr = 11;
inline constexpr int ip_recvttl = 12;
inline constexpr int ip_recvtos = 13;
inline constexpr int ip_mtu = 14;
inline constexpr int ip_freebind = 15;
inline constexpr int ip_ipsec_policy = 16;
inline constexpr int ip_xfrm_policy = 17;
inline constexpr int ip_passsec = 18;
inline constexpr int ip_transparent = 19;
inline constexpr int ip_origdstaddr = 20;
inline constexpr int ip_recvorigdstaddr = ip_origdstaddr;
inline constexpr int ip_minttl = 21;
inline constexpr int ip_nodefrag = 22;
inline constexpr int ip_checksum = 23;
inline constexpr int ip_bind_address_no_port = 24;
inline constexpr int ip_recvfragsize = 25;
inline constexpr int ip_recverr_rfc4884 = 26;
inline constexpr int ip_multicast_if = 32;
inline constexpr int ip_multicast_ttl = 33;
inline constexpr int ip_multicast_loop = 34;
inline constexpr int ip_add_membership = 35;
inline constexpr int ip_drop_membership = 36;
inline constexpr int ip_unblock_source = 37;
inline constexpr int ip_block_source = 38;
inline constexpr int ip_add_source_membership = 39;
inline constexpr int ip_drop_source_membership = 40;
inline constexpr int ip_msfilter = 41;
inline constexpr int mcast_join_group = 42;
inline constexpr int mcast_block_source = 43;
inline constexpr int mcast_unblock_source = 44;
inline constexpr int mcast_leave_group = 45;
inline constexpr int mcast_join_source_group = 46;
inline constexpr int mcast_leave_source_group = 47;
inline constexpr int mcast_msfilter = 48;
inline constexpr int ip_multicast_all = 49;
inline constexpr int ip_unicast_if = 50;
inline constexpr int ip_local_port_range = 51;
inline constexpr int ip_protocol_opt = 52;  ///< IP_PROTOCOL

// Values of IP_MTU_DISCOVER.
inline constexpr int ip_pmtudisc_dont = 0;
inline constexpr int ip_pmtudisc_want = 1;
inline constexpr int ip_pmtudisc_do = 2;
inline constexpr int ip_pmtudisc_probe = 3;
inline constexpr int ip_pmtudisc_interface = 4;
inline constexpr int ip_pmtudisc_omit = 5;

// Type of service (RFC 1349) and the ECN bits inside it (RFC 3168 §5).
inline constexpr u8 iptos_tos_mask = 0x1e;
inline constexpr u8 iptos_lowdelay = 0x10;
inline constexpr u8 iptos_throughput = 0x08;
inline constexpr u8 iptos_reliability = 0x04;
inline constexpr u8 iptos_mincost = 0x02;
inline constexpr u8 iptos_prec_mask = 0xe0;
inline constexpr u8 iptos_prec_internetcontrol = 0xc0;
inline constexpr u8 iptos_ecn_not_ect = 0;
inline constexpr u8 iptos_ecn_ect1 = 1;
inline constexpr u8 iptos_ecn_ect0 = 2;
inline constexpr u8 iptos_ecn_ce = 3;
inline constexpr u8 iptos_ecn_mask = 3;

// IP option types (RFC 791 §3.1, RFC 2113).
inline constexpr u8 ipopt_eol = 0;
inline constexpr u8 ipopt_noop = 1;
inline constexpr u8 ipopt_rr = 7;
inline constexpr u8 ipopt_timestamp = 68;
inline constexpr u8 ipopt_sec = 130;
inline constexpr u8 ipopt_lsrr = 131;
inline constexpr u8 ipopt_cipso = 134;
inline constexpr u8 ipopt_sid = 136;
inline constexpr u8 ipopt_ssrr = 137;
inline constexpr u8 ipopt_ra = 148;
inline constexpr u8 ipopt_ts_tsonly = 0;
inline constexpr u8 ipopt_ts_tsandaddr = 1;
inline constexpr u8 ipopt_ts_prespec = 3;
inline constexpr u8 ipopt_minoff = 4;
inline constexpr int max_ipoptlen = 40;

// Options of level sol_ipv6, ipv6(7).
inline constexpr int ipv6_addrform = 1;
inline constexpr int ipv6_unicast_hops = 16;
inline constexpr int ipv6_multicast_if = 17;
inline constexpr int ipv6_multicast_hops = 18;
inline constexpr int ipv6_multicast_loop = 19;
inline constexpr int ipv6_join_group = 20;
inline constexpr int ipv6_leave_group = 21;
inline constexpr int ipv6_mtu_discover = 23;
inline constexpr int ipv6_mtu = 24;
inline constexpr int ipv6_recverr = 25;
inline constexpr int ipv6_v6only = 26;
inline constexpr int ipv6_recvpktinfo = 49;
inline constexpr int ipv6_pktinfo = 50;
inline constexpr int ipv6_recvhoplimit = 51;
inline constexpr int ipv6_hoplimit = 52;
inline constexpr int ipv6_dontfrag = 62;
inline constexpr int ipv6_recvtclass = 66;
inline constexpr int ipv6_tclass = 67;
inline constexpr int ipv6_transparent = 75;
inline constexpr int ipv6_freebind = 78;

// Options of level sol_tcp, tcp(7).
inline constexpr int tcp_nodelay = 1;
inline constexpr int tcp_maxseg = 2;
inline constexpr int tcp_cork = 3;
inline constexpr int tcp_keepidle = 4;
inline constexpr int tcp_keepintvl = 5;
inline constexpr int tcp_keepcnt = 6;
inline constexpr int tcp_syncnt = 7;
inline constexpr int tcp_linger2 = 8;
inline constexpr int tcp_defer_accept = 9;
inline constexpr int tcp_window_clamp = 10;
inline constexpr int tcp_info_opt = 11;
inline constexpr int tcp_quickack = 12;
inline constexpr int tcp_congestion = 13;
inline constexpr int tcp_md5sig_opt = 14;
inline constexpr int tcp_thin_linear_timeouts = 16;
inline constexpr int tcp_thin_dupack = 17;
inline constexpr int tcp_user_timeout = 18;
inline constexpr int tcp_repair = 19;
inline constexpr int tcp_repair_queue = 20;
inline constexpr int tcp_queue_seq = 21;
inline constexpr int tcp_repair_options = 22;
inline constexpr int tcp_fastopen = 23;
inline constexpr int tcp_timestamp = 24;
inline constexpr int tcp_notsent_lowat = 25;
inline constexpr int tcp_cc_info = 26;
inline constexpr int tcp_save_syn = 27;
inline constexpr int tcp_saved_syn = 28;
inline constexpr int tcp_repair_window = 29;
inline constexpr int tcp_fastopen_connect = 30;
inline constexpr int tcp_ulp = 31;
inline constexpr int tcp_md5sig_ext = 32;
inline constexpr int tcp_fastopen_key = 33;
inline constexpr int tcp_fastopen_no_cookie = 34;
inline constexpr int tcp_zerocopy_receive = 35;
inline constexpr int tcp_inq = 36;
inline constexpr int tcp_cm_inq = tcp_inq;
inline constexpr int tcp_tx_delay = 37;
inline constexpr int tcp_ao_add_key = 38;
inline constexpr int tcp_ao_del_key = 39;
inline constexpr int tcp_ao_info = 40;
inline constexpr int tcp_ao_get_keys = 41;
inline constexpr int tcp_is_mptcp = 43;
inline constexpr int tcp_rto_max_ms = 44;
inline constexpr int tcp_rto_min_us = 45;
inline constexpr int tcp_delack_max_us = 46;

/// Bytes of the longest congestion control name with its final zero (TCP_CONGESTION).
inline constexpr std::size_t tcp_ca_name_max = 16;
/// Segment size when the peer names none (RFC 9293 §3.7.1).
inline constexpr u16 tcp_mss_default = 536;
inline constexpr int tcp_max_winshift = 14;

/// Numbers of the TCP states as seen in tcp_info, ss and /proc/net/tcp.
enum class tcp_state : u8 {
  established = 1, syn_sent = 2, syn_recv = 3, fin_wait1 = 4, fin_wait2 = 5, time_wait = 6,
  close = 7, close_wait = 8, last_ack = 9, listen = 10, closing = 11, new_syn_recv = 12,
};

/// Congestion states (tcpi_ca_state).
enum class tcp_ca_state : u8 { open = 0, disorder = 1, cwr = 2, recovery = 3, loss = 4 };

// Bits of tcpi_options.
inline constexpr u8 tcpi_opt_timestamps = 1;
inline constexpr u8 tcpi_opt_sack = 2;
inline constexpr u8 tcpi_opt_wscale = 4;
inline constexpr u8 tcpi_opt_ecn = 8;
inline constexpr u8 tcpi_opt_ecn_seen = 16;
inline constexpr u8 tcpi_opt_syn_data = 32;
inline constexpr u8 tcpi_opt_tfo_child = 128;

/// Value of TCP_INFO. Times are in microseconds (rto, ato, rtt ...) or milliseconds (last_*).
struct tcp_info {
  u8 tcpi_state = 0;
  u8 tcpi_ca_state = 0;
  u8 tcpi_retransmits = 0;
  u8 tcpi_probes = 0;
  u8 tcpi_backoff = 0;
  u8 tcpi_options = 0;
  u8 tcpi_snd_wscale : 4 = 0;
  u8 tcpi_rcv_wscale : 4 = 0;
  u8 tcpi_delivery_rate_app_limited : 1 = 0;
  u8 tcpi_fastopen_client_fail : 2 = 0;

  u32 tcpi_rto = 0;
  u32 tcpi_ato = 0;
  u32 tcpi_snd_mss = 0;
  u32 tcpi_rcv_mss = 0;

  u32 tcpi_unacked = 0;
  u32 tcpi_sacked = 0;
  u32 tcpi_lost = 0;
  u32 tcpi_retrans = 0;
  u32 tcpi_fackets = 0;

  u32 tcpi_last_data_sent = 0;
  u32 tcpi_last_ack_sent = 0;
  u32 tcpi_last_data_recv = 0;
  u32 tcpi_last_ack_recv = 0;

  u32 tcpi_pmtu = 0;
  u32 tcpi_rcv_ssthresh = 0;
  u32 tcpi_rtt = 0;
  u32 tcpi_rttvar = 0;
  u32 tcpi_snd_ssthresh = 0;
  u32 tcpi_snd_cwnd = 0;
  u32 tcpi_advmss = 0;
  u32 tcpi_reordering = 0;

  u32 tcpi_rcv_rtt = 0;
  u32 tcpi_rcv_space = 0;
  u32 tcpi_total_retrans = 0;

  u64 tcpi_pacing_rate = 0;      ///< bytes per second
  u64 tcpi_max_pacing_rate = 0;  ///< bytes per second, all ones: unlimited
  u64 tcpi_bytes_acked = 0;
  u64 tcpi_bytes_received = 0;
  u32 tcpi_segs_out = 0;
  u32 tcpi_segs_in = 0;

  u32 tcpi_notsent_bytes = 0;
  u32 tcpi_min_rtt = 0;
  u32 tcpi_data_segs_in = 0;
  u32 tcpi_data_segs_out = 0;

  u64 tcpi_delivery_rate = 0;  ///< bytes per second

  u64 tcpi_busy_time = 0;       ///< µs with data to send
  u64 tcpi_rwnd_limited = 0;    ///< µs held back by the peer's window
  u64 tcpi_sndbuf_limited = 0;  ///< µs held back by our send buffer

  u32 tcpi_delivered = 0;
  u32 tcpi_delivered_ce = 0;

  u64 tcpi_bytes_sent = 0;
  u64 tcpi_bytes_retrans = 0;
  u32 tcpi_dsack_dups = 0;
  u32 tcpi_reord_seen = 0;

  u32 tcpi_rcv_ooopack = 0;
  u32 tcpi_snd_wnd = 0;  ///< the peer's window, scaled, in bytes
  u32 tcpi_rcv_wnd = 0;  ///< our window, scaled, in bytes
  u32 tcpi_rehash = 0;

  u16 tcpi_total_rto = 0;             ///< retransmission timeouts, ever
  u16 tcpi_total_rto_recoveries = 0;  ///< sequences of timeouts
  u32 tcpi_total_rto_time = 0;        ///< ms spent in them

  u32 tcpi_received_ce = 0;           ///< packets that arrived marked CE
  u32 tcpi_delivered_e1_bytes = 0;    ///< payload that the peer saw, by its IP-ECN field
  u32 tcpi_delivered_e0_bytes = 0;
  u32 tcpi_delivered_ce_bytes = 0;
  u32 tcpi_received_e1_bytes = 0;     ///< payload that we saw
  u32 tcpi_received_e0_bytes = 0;
  u32 tcpi_received_ce_bytes = 0;
  u16 tcpi_accecn_fail_mode = 0;
  u16 tcpi_accecn_opt_seen = 0;
};
static_assert(sizeof(tcp_info) == 280);

// Options of level sol_udp, udp(7).
inline constexpr int udp_cork = 1;
inline constexpr int udplite_send_cscov = 10;  ///< UDP-Lite only, as the next
inline constexpr int udplite_recv_cscov = 11;
inline constexpr int udp_encap = 100;
inline constexpr int udp_no_check6_tx = 101;
inline constexpr int udp_no_check6_rx = 102;
inline constexpr int udp_segment = 103;
inline constexpr int udp_gro = 104;
/// At most this many segments in one UDP_SEGMENT send.
inline constexpr int udp_max_segments = 64;

// ICMP types (RFC 792, RFC 950).
inline constexpr u8 icmp_echoreply = 0;
inline constexpr u8 icmp_dest_unreach = 3;
inline constexpr u8 icmp_source_quench = 4;
inline constexpr u8 icmp_redirect = 5;
inline constexpr u8 icmp_echo = 8;
inline constexpr u8 icmp_router_advert = 9;
inline constexpr u8 icmp_router_solicit = 10;
inline constexpr u8 icmp_time_exceeded = 11;
inline constexpr u8 icmp_parameterprob = 12;
inline constexpr u8 icmp_timestamp = 13;
inline constexpr u8 icmp_timestampreply = 14;
inline constexpr u8 icmp_info_request = 15;
inline constexpr u8 icmp_info_reply = 16;
inline constexpr u8 icmp_address = 17;
inline constexpr u8 icmp_addressreply = 18;
inline constexpr u8 nr_icmp_types = 18;
inline constexpr u8 icmp_ext_echo = 42;
inline constexpr u8 icmp_ext_echoreply = 43;

// Codes of destination unreachable (RFC 792, RFC 1122 §3.2.2.1, RFC 1812 §5.2.7.1).
inline constexpr u8 icmp_net_unreach = 0;
inline constexpr u8 icmp_host_unreach = 1;
inline constexpr u8 icmp_prot_unreach = 2;
inline constexpr u8 icmp_port_unreach = 3;
inline constexpr u8 icmp_frag_needed = 4;
inline constexpr u8 icmp_sr_failed = 5;
inline constexpr u8 icmp_net_unknown = 6;
inline constexpr u8 icmp_host_unknown = 7;
inline constexpr u8 icmp_host_isolated = 8;
inline constexpr u8 icmp_net_ano = 9;
inline constexpr u8 icmp_host_ano = 10;
inline constexpr u8 icmp_net_unr_tos = 11;
inline constexpr u8 icmp_host_unr_tos = 12;
inline constexpr u8 icmp_pkt_filtered = 13;
inline constexpr u8 icmp_prec_violation = 14;
inline constexpr u8 icmp_prec_cutoff = 15;
inline constexpr u8 nr_icmp_unreach = 15;

// Codes of redirect and of time exceeded.
inline constexpr u8 icmp_redir_net = 0;
inline constexpr u8 icmp_redir_host = 1;
inline constexpr u8 icmp_redir_nettos = 2;
inline constexpr u8 icmp_redir_hosttos = 3;
inline constexpr u8 icmp_exc_ttl = 0;
inline constexpr u8 icmp_exc_fragtime = 1;

/// Option of level sol_raw, icmp(7): value is icmp_filter.
inline constexpr int icmp_filter_opt = 1;
/// A set bit keeps messages of that ICMP type away from the raw socket.
struct icmp_filter {
  u32 data = 0;
};

// Origins of an extended error.
inline constexpr u8 so_ee_origin_none = 0;
inline constexpr u8 so_ee_origin_local = 1;
inline constexpr u8 so_ee_origin_icmp = 2;
inline constexpr u8 so_ee_origin_icmp6 = 3;
inline constexpr u8 so_ee_origin_txstatus = 4;
inline constexpr u8 so_ee_origin_timestamping = so_ee_origin_txstatus;
inline constexpr u8 so_ee_origin_zerocopy = 5;
inline constexpr u8 so_ee_origin_txtime = 6;
inline constexpr u8 so_ee_code_zerocopy_copied = 1;
/// ee_errno of what is no error: ENOMSG.
inline constexpr u32 so_ee_no_error = 42;

/// Value of the IP_RECVERR control message; the offender's socket address follows it. With
/// IP_RECVERR_RFC4884 the lower half of ee_data is the place of the ICMP extension in the payload,
/// and the byte after it these flags.
inline constexpr u8 so_ee_rfc4884_flag_invalid = 1;
struct sock_extended_err {
  u32 ee_errno = 0;
  u8 ee_origin = 0;
  u8 ee_type = 0;
  u8 ee_code = 0;
  u8 ee_pad = 0;
  u32 ee_info = 0;
  u32 ee_data = 0;
};

/// Value of the IP_PKTINFO control message.
struct in_pktinfo {
  s32 ipi_ifindex = 0;
  be32 ipi_spec_dst;  ///< the local address of the packet
  be32 ipi_addr;      ///< the destination in its header
};

/// Values of IP_ADD_MEMBERSHIP and IP_MULTICAST_IF.
struct ip_mreq {
  be32 imr_multiaddr;
  be32 imr_interface;
};
struct ip_mreqn {
  be32 imr_multiaddr;
  be32 imr_address;
  s32 imr_ifindex = 0;
};
/// Value of IP_ADD_SOURCE_MEMBERSHIP.
struct ip_mreq_source {
  be32 imr_multiaddr;
  be32 imr_interface;
  be32 imr_sourceaddr;
};

}  // namespace ph::uapi
