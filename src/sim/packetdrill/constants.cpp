// The names that scripts use for numbers, as Linux numbers them.
#include "sim/packetdrill/values.h"
#include "uapi/inet.h"
#include "uapi/socket.h"

namespace ph::packetdrill {
namespace {

using table = std::map<std::string_view, s64>;

void add_socket_names(table& t) {
  using namespace uapi;
  t.insert({{"AF_UNSPEC", 0}, {"AF_INET", af_inet}, {"AF_INET6", af_inet6},
            {"SOCK_STREAM", sock_stream},
            {"SOCK_DGRAM", sock_dgram}, {"SOCK_RAW", sock_raw}, {"SOCK_NONBLOCK", sock_nonblock},
            {"SOCK_CLOEXEC", sock_cloexec}, {"IPPROTO_IP", 0}, {"IPPROTO_TCP", ipproto_tcp},
            {"IPPROTO_UDP", ipproto_udp}, {"IPPROTO_ICMP", ipproto_icmp}, {"IPPROTO_IPV6", 41},
            {"SOL_SOCKET", sol_socket}, {"SOL_TCP", sol_tcp}, {"SOL_IP", sol_ip},
            {"SOL_IPV6", sol_ipv6}, {"SOL_UDP", sol_udp}});
  t.insert({{"SO_REUSEADDR", so_reuseaddr}, {"SO_REUSEPORT", so_reuseport},
            {"SO_ERROR", so_error}, {"SO_SNDBUF", so_sndbuf}, {"SO_RCVBUF", so_rcvbuf},
            {"SO_SNDBUFFORCE", so_sndbufforce}, {"SO_RCVBUFFORCE", so_rcvbufforce},
            {"SO_KEEPALIVE", so_keepalive}, {"SO_OOBINLINE", so_oobinline},
            {"SO_LINGER", so_linger}, {"SO_RCVLOWAT", so_rcvlowat}, {"SO_RCVTIMEO", so_rcvtimeo},
            {"SO_SNDTIMEO", so_sndtimeo}, {"SO_PRIORITY", so_priority}, {"SO_MARK", so_mark},
            {"SO_TYPE", so_type}, {"SO_BROADCAST", so_broadcast}, {"SO_ZEROCOPY", so_zerocopy},
            {"SO_TIMESTAMP", so_timestamp}, {"SO_TIMESTAMPING", so_timestamping},
            {"SO_MAX_PACING_RATE", so_max_pacing_rate}, {"SO_ACCEPTCONN", so_acceptconn}});
  t.insert({{"MSG_OOB", msg_oob}, {"MSG_PEEK", msg_peek}, {"MSG_TRUNC", msg_trunc},
            {"MSG_DONTWAIT", msg_dontwait}, {"MSG_EOR", msg_eor}, {"MSG_WAITALL", msg_waitall},
            {"MSG_ERRQUEUE", msg_errqueue}, {"MSG_NOSIGNAL", msg_nosignal},
            {"MSG_MORE", msg_more}, {"MSG_ZEROCOPY", msg_zerocopy}, {"MSG_CTRUNC", msg_ctrunc},
            {"MSG_FASTOPEN", msg_fastopen}, {"SHUT_RD", shut_rd}, {"SHUT_WR", shut_wr},
            {"SHUT_RDWR", shut_rdwr}});
  t.insert({{"POLLIN", pollin}, {"POLLOUT", pollout}, {"POLLERR", pollerr},
            {"POLLHUP", pollhup}, {"POLLRDHUP", pollrdhup}, {"POLLPRI", pollpri},
            {"POLLNVAL", pollnval}, {"EPOLLIN", epollin}, {"EPOLLOUT", epollout},
            {"EPOLLERR", epollerr}, {"EPOLLHUP", epollhup}, {"EPOLLRDHUP", epollrdhup},
            {"EPOLLET", epollet}, {"EPOLLONESHOT", epolloneshot},
            {"EPOLLEXCLUSIVE", epollexclusive}, {"EPOLL_CTL_ADD", epoll_ctl_add},
            {"EPOLL_CTL_DEL", epoll_ctl_del}, {"EPOLL_CTL_MOD", epoll_ctl_mod}});
  t.insert({{"O_RDWR", o_rdwr}, {"O_NONBLOCK", o_nonblock}, {"O_RDONLY", 0}, {"O_WRONLY", 1},
            {"F_GETFL", 3}, {"F_SETFL", 4}, {"SIOCINQ", siocinq}, {"SIOCOUTQ", siocoutq},
            {"FIONREAD", fionread}, {"FIONBIO", fionbio}, {"SIOCATMARK", siocatmark},
            {"SOMAXCONN", 4096}});
}

void add_inet_names(table& t) {
  using namespace uapi;
  t.insert({{"IP_TOS", ip_tos}, {"IP_TTL", ip_ttl}, {"IP_MTU_DISCOVER", ip_mtu_discover},
            {"IP_MTU", ip_mtu}, {"IP_RECVERR", ip_recverr}, {"IP_RECVTOS", ip_recvtos},
            {"IP_PMTUDISC_DONT", 0}, {"IP_PMTUDISC_WANT", 1}, {"IP_PMTUDISC_DO", 2},
            {"IP_PMTUDISC_PROBE", 3}, {"IPV6_RECVERR", ipv6_recverr},
            {"IPV6_UNICAST_HOPS", ipv6_unicast_hops}, {"IPV6_TCLASS", ipv6_tclass},
            {"IPV6_V6ONLY", ipv6_v6only}, {"IPTOS_LOWDELAY", iptos_lowdelay},
            {"IP_FREEBIND", ip_freebind}, {"IP_TRANSPARENT", ip_transparent}});
  t.insert({{"TCP_NODELAY", tcp_nodelay}, {"TCP_MAXSEG", tcp_maxseg}, {"TCP_CORK", tcp_cork},
            {"TCP_KEEPIDLE", tcp_keepidle}, {"TCP_KEEPINTVL", tcp_keepintvl},
            {"TCP_KEEPCNT", tcp_keepcnt}, {"TCP_SYNCNT", tcp_syncnt},
            {"TCP_LINGER2", tcp_linger2}, {"TCP_DEFER_ACCEPT", tcp_defer_accept},
            {"TCP_WINDOW_CLAMP", tcp_window_clamp}, {"TCP_INFO", tcp_info_opt},
            {"TCP_QUICKACK", tcp_quickack}, {"TCP_CONGESTION", tcp_congestion},
            {"TCP_MD5SIG", tcp_md5sig_opt}, {"TCP_USER_TIMEOUT", tcp_user_timeout},
            {"TCP_FASTOPEN", tcp_fastopen}, {"TCP_FASTOPEN_CONNECT", tcp_fastopen_connect},
            {"TCP_FASTOPEN_NO_COOKIE", tcp_fastopen_no_cookie},
            {"TCP_FASTOPEN_KEY", tcp_fastopen_key},
            {"TCP_NOTSENT_LOWAT", tcp_notsent_lowat}, {"TCP_TIMESTAMP", tcp_timestamp},
            {"TCP_SAVE_SYN", tcp_save_syn}, {"TCP_SAVED_SYN", tcp_saved_syn},
            {"TCP_INQ", tcp_inq}, {"TCP_CM_INQ", tcp_inq}, {"TCP_CC_INFO", tcp_cc_info}});
  t.insert({{"TCP_CA_Open", 0}, {"TCP_CA_Disorder", 1}, {"TCP_CA_CWR", 2},
            {"TCP_CA_Recovery", 3}, {"TCP_CA_Loss", 4}, {"TCP_CA_OPEN", 0},
            {"TCP_CA_DISORDER", 1}, {"TCP_CA_RECOVERY", 3}, {"TCP_CA_LOSS", 4},
            {"TCP_INFINITE_SSTHRESH", 0x7fffffff}, {"TCPI_OPT_TIMESTAMPS", 1},
            {"TCPI_OPT_SACK", 2}, {"TCPI_OPT_WSCALE", 4}, {"TCPI_OPT_ECN", 8},
            {"TCPI_OPT_ECN_SEEN", 16}, {"TCPI_OPT_SYN_DATA", 32}});
  t.insert({{"TCP_ESTABLISHED", 1}, {"TCP_SYN_SENT", 2}, {"TCP_SYN_RECV", 3},
            {"TCP_FIN_WAIT1", 4}, {"TCP_FIN_WAIT2", 5}, {"TCP_TIME_WAIT", 6}, {"TCP_CLOSE", 7},
            {"TCP_CLOSE_WAIT", 8}, {"TCP_LAST_ACK", 9}, {"TCP_LISTEN", 10}, {"TCP_CLOSING", 11},
            {"TCPI_ESTABLISHED", 1}, {"TCPI_SYN_SENT", 2}, {"TCPI_SYN_RECEIVED", 3},
            {"TCPI_FIN_WAIT_1", 4}, {"TCPI_FIN_WAIT_2", 5}, {"TCPI_TIME_WAIT", 6},
            {"TCPI_CLOSED", 7}, {"TCPI_CLOSE_WAIT", 8}, {"TCPI_LAST_ACK", 9},
            {"TCPI_LISTEN", 10}, {"TCPI_CLOSING", 11}});
  t.insert({{"SO_EE_ORIGIN_ZEROCOPY", 5}, {"SO_EE_ORIGIN_TIMESTAMPING", 4},
            {"SO_EE_CODE_ZEROCOPY_COPIED", 1}, {"ENOMSG", so_ee_no_error},
            {"SCM_TIMESTAMPING", so_timestamping},
            {"SCM_TSTAMP_SND", 0}, {"SCM_TSTAMP_SCHED", 1}, {"SCM_TSTAMP_ACK", 2},
            {"SOF_TIMESTAMPING_TX_SCHED", sof_timestamping_tx_sched},
            {"SOF_TIMESTAMPING_TX_SOFTWARE", sof_timestamping_tx_software},
            {"SOF_TIMESTAMPING_TX_ACK", sof_timestamping_tx_ack},
            {"SOF_TIMESTAMPING_SOFTWARE", sof_timestamping_software},
            {"SOF_TIMESTAMPING_OPT_ID", sof_timestamping_opt_id}});
}

void add_rare_socket_names(table& t) {
  using namespace uapi;
  t.insert({{"SO_DEBUG", so_debug}, {"SO_DONTROUTE", so_dontroute}, {"SO_NO_CHECK", so_no_check},
            {"SO_BSDCOMPAT", so_bsdcompat}, {"SO_PASSCRED", so_passcred},
            {"SO_PEERCRED", so_peercred}, {"SO_SNDLOWAT", so_sndlowat},
            {"SO_BINDTODEVICE", so_bindtodevice}, {"SO_ATTACH_FILTER", so_attach_filter},
            {"SO_DETACH_FILTER", so_detach_filter}, {"SO_PEERNAME", so_peername},
            {"SO_PEERSEC", so_peersec}, {"SO_PASSSEC", so_passsec},
            {"SO_TIMESTAMPNS", so_timestampns}, {"SO_PROTOCOL", so_protocol},
            {"SO_DOMAIN", so_domain}, {"SO_RXQ_OVFL", so_rxq_ovfl},
            {"SO_WIFI_STATUS", so_wifi_status}, {"SO_PEEK_OFF", so_peek_off},
            {"SO_NOFCS", so_nofcs}, {"SO_LOCK_FILTER", so_lock_filter},
            {"SO_SELECT_ERR_QUEUE", so_select_err_queue}, {"SO_BUSY_POLL", so_busy_poll},
            {"SO_BPF_EXTENSIONS", so_bpf_extensions}, {"SO_INCOMING_CPU", so_incoming_cpu},
            {"SO_ATTACH_BPF", so_attach_bpf},
            {"SO_ATTACH_REUSEPORT_CBPF", so_attach_reuseport_cbpf},
            {"SO_ATTACH_REUSEPORT_EBPF", so_attach_reuseport_ebpf},
            {"SO_CNX_ADVICE", so_cnx_advice}, {"SO_MEMINFO", so_meminfo},
            {"SO_INCOMING_NAPI_ID", so_incoming_napi_id}, {"SO_COOKIE", so_cookie},
            {"SO_PEERGROUPS", so_peergroups}, {"SO_TXTIME", so_txtime},
            {"SO_BINDTOIFINDEX", so_bindtoifindex}, {"SO_TIMESTAMP_NEW", so_timestamp_new},
            {"SO_TIMESTAMPNS_NEW", so_timestampns_new},
            {"SO_TIMESTAMPING_NEW", so_timestamping_new}, {"SO_RCVTIMEO_NEW", so_rcvtimeo_new},
            {"SO_SNDTIMEO_NEW", so_sndtimeo_new},
            {"SO_DETACH_REUSEPORT_BPF", so_detach_reuseport_bpf},
            {"SO_PREFER_BUSY_POLL", so_prefer_busy_poll},
            {"SO_BUSY_POLL_BUDGET", so_busy_poll_budget}, {"SO_NETNS_COOKIE", so_netns_cookie},
            {"SO_BUF_LOCK", so_buf_lock}, {"SO_RESERVE_MEM", so_reserve_mem},
            {"SO_TXREHASH", so_txrehash}, {"SO_RCVMARK", so_rcvmark},
            {"SOF_TIMESTAMPING_TX_HARDWARE", sof_timestamping_tx_hardware},
            {"SOF_TIMESTAMPING_RX_HARDWARE", sof_timestamping_rx_hardware},
            {"SOF_TIMESTAMPING_RX_SOFTWARE", sof_timestamping_rx_software},
            {"SOF_TIMESTAMPING_SYS_HARDWARE", sof_timestamping_sys_hardware},
            {"SOF_TIMESTAMPING_RAW_HARDWARE", sof_timestamping_raw_hardware},
            {"SOF_TIMESTAMPING_OPT_CMSG", sof_timestamping_opt_cmsg},
            {"SOF_TIMESTAMPING_OPT_TSONLY", sof_timestamping_opt_tsonly},
            {"SOF_TIMESTAMPING_OPT_STATS", sof_timestamping_opt_stats},
            {"SOF_TIMESTAMPING_OPT_TX_SWHW", sof_timestamping_opt_tx_swhw},
            {"SOF_TIMESTAMPING_OPT_ID_TCP", sof_timestamping_opt_id_tcp},
            {"MSG_DONTROUTE", msg_dontroute}, {"MSG_CONFIRM", msg_confirm},
            {"MSG_WAITFORONE", msg_waitforone}, {"MSG_BATCH", msg_batch},
            {"MSG_CMSG_CLOEXEC", msg_cmsg_cloexec}});
}

void add_rare_inet_names(table& t) {
  using namespace uapi;
  t.insert({{"IP_HDRINCL", ip_hdrincl}, {"IP_OPTIONS", ip_options},
            {"IP_ROUTER_ALERT", ip_router_alert}, {"IP_RECVOPTS", ip_recvopts},
            {"IP_RETOPTS", ip_retopts}, {"IP_PKTINFO", ip_pktinfo},
            {"IP_PKTOPTIONS", ip_pktoptions}, {"IP_RECVTTL", ip_recvttl},
            {"IP_IPSEC_POLICY", ip_ipsec_policy}, {"IP_XFRM_POLICY", ip_xfrm_policy},
            {"IP_PASSSEC", ip_passsec}, {"IP_ORIGDSTADDR", ip_origdstaddr},
            {"IP_RECVORIGDSTADDR", ip_recvorigdstaddr}, {"IP_MINTTL", ip_minttl},
            {"IP_NODEFRAG", ip_nodefrag}, {"IP_CHECKSUM", ip_checksum},
            {"IP_BIND_ADDRESS_NO_PORT", ip_bind_address_no_port},
            {"IP_RECVFRAGSIZE", ip_recvfragsize}, {"IP_RECVERR_RFC4884", ip_recverr_rfc4884},
            {"IP_MULTICAST_IF", ip_multicast_if}, {"IP_MULTICAST_TTL", ip_multicast_ttl},
            {"IP_MULTICAST_LOOP", ip_multicast_loop}, {"IP_ADD_MEMBERSHIP", ip_add_membership},
            {"IP_DROP_MEMBERSHIP", ip_drop_membership}, {"IP_UNBLOCK_SOURCE", ip_unblock_source},
            {"IP_BLOCK_SOURCE", ip_block_source},
            {"IP_ADD_SOURCE_MEMBERSHIP", ip_add_source_membership},
            {"IP_DROP_SOURCE_MEMBERSHIP", ip_drop_source_membership}, {"IP_MSFILTER", ip_msfilter},
            {"IP_MULTICAST_ALL", ip_multicast_all}, {"IP_UNICAST_IF", ip_unicast_if},
            {"IP_LOCAL_PORT_RANGE", ip_local_port_range},
            {"IP_PMTUDISC_INTERFACE", ip_pmtudisc_interface},
            {"IP_PMTUDISC_OMIT", ip_pmtudisc_omit},
            {"TCP_THIN_LINEAR_TIMEOUTS", tcp_thin_linear_timeouts},
            {"TCP_THIN_DUPACK", tcp_thin_dupack}, {"TCP_REPAIR", tcp_repair},
            {"TCP_REPAIR_QUEUE", tcp_repair_queue}, {"TCP_QUEUE_SEQ", tcp_queue_seq},
            {"TCP_REPAIR_OPTIONS", tcp_repair_options}, {"TCP_REPAIR_WINDOW", tcp_repair_window},
            {"TCP_ULP", tcp_ulp}, {"TCP_ZEROCOPY_RECEIVE", tcp_zerocopy_receive},
            {"TCP_TX_DELAY", tcp_tx_delay}, {"TCP_AO_ADD_KEY", tcp_ao_add_key},
            {"TCP_AO_DEL_KEY", tcp_ao_del_key}, {"TCP_AO_INFO", tcp_ao_info},
            {"TCP_AO_GET_KEYS", tcp_ao_get_keys}, {"TCP_RTO_MAX_MS", tcp_rto_max_ms},
            {"TCP_RTO_MIN_US", tcp_rto_min_us}, {"TCP_DELACK_MAX_US", tcp_delack_max_us}});
  t.insert({{"SPLICE_F_MOVE", 1}, {"SPLICE_F_NONBLOCK", 2}, {"SPLICE_F_MORE", 4}, {"NULL", 0},
            {"EPOLLPRI", pollpri}, {"EPOLLMSG", 0x400}, {"EPOLL_CLOEXEC", o_cloexec}});
}

table make_table() {
  table out;
  add_socket_names(out);
  add_inet_names(out);
  add_rare_socket_names(out);
  add_rare_inet_names(out);
  for (int e = 1; e < 134; ++e) {
    const std::string_view name = errc_name(static_cast<errc>(e));
    if (name != "E?") out.emplace(name, e);
  }
  return out;
}

}  // namespace

std::optional<s64> constant(std::string_view name) {
  static const table names = make_table();
  const auto found = names.find(name);
  if (found == names.end()) return std::nullopt;
  return found->second;
}

}  // namespace ph::packetdrill
