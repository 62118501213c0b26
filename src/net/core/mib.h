// Counters of a namespace with the names and groups that `nstat` and /proc/net/snmp show.
#pragma once

#include <array>
#include <string_view>

#include "base/byteorder.h"
#include "kernel/cpu.h"
#include "kernel/percpu.h"

namespace ph {

enum class mib : u16 {
  none,
  // Ip (RFC 4293)
  ip_in_receives, ip_in_hdr_errors, ip_in_addr_errors, ip_forw_datagrams, ip_in_unknown_protos,
  ip_in_delivers, ip_out_requests, ip_out_discards, ip_out_no_routes, ip_reasm_timeout,
  ip_reasm_reqds, ip_reasm_oks, ip_reasm_fails, ip_frag_oks, ip_frag_fails, ip_frag_creates,
  ip_out_transmits,
  // Icmp
  icmp_in_msgs, icmp_in_errors, icmp_in_csum_errors, icmp_in_dest_unreachs, icmp_in_time_excds,
  icmp_in_parm_probs, icmp_in_redirects, icmp_in_echos, icmp_in_echo_reps, icmp_in_timestamps,
  icmp_out_msgs, icmp_out_rate_limit_host, icmp_out_dest_unreachs, icmp_out_time_excds,
  icmp_out_parm_probs, icmp_out_redirects, icmp_out_echos, icmp_out_echo_reps,
  icmp_out_timestamp_reps,
  // Tcp
  tcp_active_opens, tcp_passive_opens, tcp_attempt_fails, tcp_estab_resets, tcp_curr_estab,
  tcp_in_segs, tcp_out_segs, tcp_retrans_segs, tcp_in_errs, tcp_out_rsts, tcp_in_csum_errors,
  // Udp
  udp_in_datagrams, udp_no_ports, udp_in_errors, udp_out_datagrams, udp_rcvbuf_errors,
  udp_sndbuf_errors, udp_in_csum_errors, udp_ignored_multi,
  // UdpLite
  udplite_in_datagrams, udplite_no_ports, udplite_in_errors, udplite_out_datagrams,
  udplite_rcvbuf_errors, udplite_sndbuf_errors, udplite_in_csum_errors, udplite_ignored_multi,
  // IpExt
  ipext_in_no_routes, ipext_in_truncated_pkts, ipext_in_mcast_pkts, ipext_out_mcast_pkts,
  ipext_in_bcast_pkts, ipext_out_bcast_pkts, ipext_in_octets, ipext_out_octets,
  ipext_in_csum_errors, ipext_reasm_overlaps, ipext_in_no_ect_pkts, ipext_in_ect1_pkts,
  ipext_in_ect0_pkts, ipext_in_ce_pkts,
  // TcpExt
  tcpext_syncookies_sent, tcpext_syncookies_recv, tcpext_syncookies_failed, tcpext_embryonic_rsts,
  tcpext_prune_called, tcpext_rcv_pruned, tcpext_ofo_pruned, tcpext_tw, tcpext_tw_recycled,
  tcpext_paws_active, tcpext_paws_estab, tcpext_delayed_acks, tcpext_delayed_ack_lost,
  tcpext_listen_overflows, tcpext_listen_drops, tcpext_tcp_hp_hits, tcpext_tcp_hp_acks,
  tcpext_tcp_sack_recovery, tcpext_tcp_sack_reneging, tcpext_tcp_reno_recovery,
  tcpext_tcp_sack_reorder, tcpext_tcp_dsack_recv_segs, tcpext_tcp_full_undo,
  tcpext_tcp_partial_undo, tcpext_tcp_dsack_undo, tcpext_tcp_loss_undo,
  tcpext_tcp_lost_retransmit, tcpext_tcp_fast_retrans, tcpext_tcp_slow_start_retrans,
  tcpext_tcp_timeouts, tcpext_tcp_loss_probes, tcpext_tcp_loss_probe_recovery,
  tcpext_tcp_dsack_old_sent, tcpext_tcp_dsack_ofo_sent, tcpext_tcp_dsack_recv,
  tcpext_tcp_dsack_ofo_recv, tcpext_tcp_abort_on_data, tcpext_tcp_abort_on_close,
  tcpext_tcp_abort_on_memory, tcpext_tcp_abort_on_timeout, tcpext_tcp_abort_on_linger,
  tcpext_tcp_memory_pressures, tcpext_tcp_sack_discard, tcpext_tcp_spurious_rtos,
  tcpext_tcp_min_ttl_drop, tcpext_tcp_defer_accept_drop, tcpext_tcp_rcv_collapsed,
  tcpext_tcp_rcv_q_drop, tcpext_tcp_ofo_queue, tcpext_tcp_ofo_drop, tcpext_tcp_ofo_merge,
  tcpext_tcp_challenge_ack, tcpext_tcp_syn_challenge, tcpext_tcp_from_zero_window_adv,
  tcpext_tcp_to_zero_window_adv, tcpext_tcp_want_zero_window_adv, tcpext_tcp_syn_retrans,
  tcpext_tcp_orig_data_sent, tcpext_tcp_ack_skipped, tcpext_tcp_win_probe, tcpext_tcp_keep_alive,
  tcpext_tcp_delivered, tcpext_tcp_zero_window_drop, tcpext_tcp_rcv_coalesce,
  tcpext_tcp_req_q_full_do_cookies, tcpext_tcp_req_q_full_drop, tcpext_tcp_fast_open_active,
  tcpext_tcp_fast_open_active_fail, tcpext_tcp_fast_open_passive,
  tcpext_tcp_fast_open_passive_fail, tcpext_tcp_fast_open_listen_overflow,
  tcpext_tcp_fast_open_cookie_reqd, tcpext_tcp_md5_not_found, tcpext_tcp_md5_unexpected,
  tcpext_tcp_md5_failure, tcpext_tcp_mtup_fail, tcpext_tcp_mtup_success, tcpext_tcp_delivered_ce,
  tcpext_out_of_window_icmps, tcpext_tcp_time_wait_overflow, tcpext_tcp_ao_required,
  tcpext_tcp_ao_bad, tcpext_tcp_ao_key_not_found, tcpext_tcp_ao_dropped_icmps,
  count,
};

/// "IpInReceives", "TcpExtTCPTimeouts": group and name in one word, as nstat prints them.
std::string_view mib_name(mib counter);

/// The counters of one namespace, per cpu.
class mib_table {
 public:
  explicit mib_table(std::size_t cpus) : counters_(cpus) {}
  void add(cpu& cx, mib counter, u64 n = 1) {
    counters_[cx.id()][static_cast<std::size_t>(counter)] += n;
  }
  [[nodiscard]] u64 get(mib counter) const {
    u64 out = 0;
    counters_.for_each([&](const auto& c) { out += c[static_cast<std::size_t>(counter)]; });
    return out;
  }

 private:
  percpu<std::array<u64, static_cast<std::size_t>(mib::count)>> counters_;
};

}  // namespace ph
