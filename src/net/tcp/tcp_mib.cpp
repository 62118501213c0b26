// The names of TCP's counters, as nstat(8) spells them.
#include "net/tcp/tcp_mib.h"

namespace ph {
namespace {

constexpr mib_row tcp_rows[] = {
    {mib::tcp_active_opens, "TcpActiveOpens"},
    {mib::tcp_passive_opens, "TcpPassiveOpens"},
    {mib::tcp_attempt_fails, "TcpAttemptFails"},
    {mib::tcp_estab_resets, "TcpEstabResets"},
    {mib::tcp_curr_estab, "TcpCurrEstab"},
    {mib::tcp_in_segs, "TcpInSegs"},
    {mib::tcp_out_segs, "TcpOutSegs"},
    {mib::tcp_retrans_segs, "TcpRetransSegs"},
    {mib::tcp_in_errs, "TcpInErrs"},
    {mib::tcp_out_rsts, "TcpOutRsts"},
    {mib::tcp_in_csum_errors, "TcpInCsumErrors"},
};
static_assert(mib_in_order(tcp_rows, mib::tcp_counters_end));

constexpr mib_row tcpext_rows[] = {
    {mib::tcpext_syncookies_sent, "TcpExtSyncookiesSent"},
    {mib::tcpext_syncookies_recv, "TcpExtSyncookiesRecv"},
    {mib::tcpext_syncookies_failed, "TcpExtSyncookiesFailed"},
    {mib::tcpext_embryonic_rsts, "TcpExtEmbryonicRsts"},
    {mib::tcpext_prune_called, "TcpExtPruneCalled"},
    {mib::tcpext_rcv_pruned, "TcpExtRcvPruned"},
    {mib::tcpext_ofo_pruned, "TcpExtOfoPruned"},
    {mib::tcpext_out_of_window_icmps, "TcpExtOutOfWindowIcmps"},
    {mib::tcpext_tw, "TcpExtTW"},
    {mib::tcpext_tw_recycled, "TcpExtTWRecycled"},
    {mib::tcpext_paws_active, "TcpExtPAWSActive"},
    {mib::tcpext_paws_estab, "TcpExtPAWSEstab"},
    {mib::tcpext_delayed_acks, "TcpExtDelayedACKs"},
    {mib::tcpext_delayed_ack_lost, "TcpExtDelayedACKLost"},
    {mib::tcpext_listen_overflows, "TcpExtListenOverflows"},
    {mib::tcpext_listen_drops, "TcpExtListenDrops"},
    {mib::tcpext_tcp_hp_hits, "TcpExtTCPHPHits"},
    {mib::tcpext_tcp_hp_acks, "TcpExtTCPHPAcks"},
    {mib::tcpext_tcp_reno_recovery, "TcpExtTCPRenoRecovery"},
    {mib::tcpext_tcp_sack_recovery, "TcpExtTCPSackRecovery"},
    {mib::tcpext_tcp_sack_reneging, "TcpExtTCPSACKReneging"},
    {mib::tcpext_tcp_sack_reorder, "TcpExtTCPSACKReorder"},
    {mib::tcpext_tcp_full_undo, "TcpExtTCPFullUndo"},
    {mib::tcpext_tcp_partial_undo, "TcpExtTCPPartialUndo"},
    {mib::tcpext_tcp_dsack_undo, "TcpExtTCPDSACKUndo"},
    {mib::tcpext_tcp_loss_undo, "TcpExtTCPLossUndo"},
    {mib::tcpext_tcp_lost_retransmit, "TcpExtTCPLostRetransmit"},
    {mib::tcpext_tcp_fast_retrans, "TcpExtTCPFastRetrans"},
    {mib::tcpext_tcp_slow_start_retrans, "TcpExtTCPSlowStartRetrans"},
    {mib::tcpext_tcp_timeouts, "TcpExtTCPTimeouts"},
    {mib::tcpext_tcp_loss_probes, "TcpExtTCPLossProbes"},
    {mib::tcpext_tcp_loss_probe_recovery, "TcpExtTCPLossProbeRecovery"},
    {mib::tcpext_tcp_rcv_collapsed, "TcpExtTCPRcvCollapsed"},
    {mib::tcpext_tcp_dsack_old_sent, "TcpExtTCPDSACKOldSent"},
    {mib::tcpext_tcp_dsack_ofo_sent, "TcpExtTCPDSACKOfoSent"},
    {mib::tcpext_tcp_dsack_recv, "TcpExtTCPDSACKRecv"},
    {mib::tcpext_tcp_dsack_ofo_recv, "TcpExtTCPDSACKOfoRecv"},
    {mib::tcpext_tcp_abort_on_data, "TcpExtTCPAbortOnData"},
    {mib::tcpext_tcp_abort_on_close, "TcpExtTCPAbortOnClose"},
    {mib::tcpext_tcp_abort_on_memory, "TcpExtTCPAbortOnMemory"},
    {mib::tcpext_tcp_abort_on_timeout, "TcpExtTCPAbortOnTimeout"},
    {mib::tcpext_tcp_abort_on_linger, "TcpExtTCPAbortOnLinger"},
    {mib::tcpext_tcp_memory_pressures, "TcpExtTCPMemoryPressures"},
    {mib::tcpext_tcp_sack_discard, "TcpExtTCPSACKDiscard"},
    {mib::tcpext_tcp_spurious_rtos, "TcpExtTCPSpuriousRTOs"},
    {mib::tcpext_tcp_md5_not_found, "TcpExtTCPMD5NotFound"},
    {mib::tcpext_tcp_md5_unexpected, "TcpExtTCPMD5Unexpected"},
    {mib::tcpext_tcp_md5_failure, "TcpExtTCPMD5Failure"},
    {mib::tcpext_tcp_min_ttl_drop, "TcpExtTCPMinTTLDrop"},
    {mib::tcpext_tcp_defer_accept_drop, "TcpExtTCPDeferAcceptDrop"},
    {mib::tcpext_tcp_time_wait_overflow, "TcpExtTCPTimeWaitOverflow"},
    {mib::tcpext_tcp_req_q_full_do_cookies, "TcpExtTCPReqQFullDoCookies"},
    {mib::tcpext_tcp_req_q_full_drop, "TcpExtTCPReqQFullDrop"},
    {mib::tcpext_tcp_rcv_coalesce, "TcpExtTCPRcvCoalesce"},
    {mib::tcpext_tcp_ofo_queue, "TcpExtTCPOFOQueue"},
    {mib::tcpext_tcp_ofo_drop, "TcpExtTCPOFODrop"},
    {mib::tcpext_tcp_ofo_merge, "TcpExtTCPOFOMerge"},
    {mib::tcpext_tcp_challenge_ack, "TcpExtTCPChallengeACK"},
    {mib::tcpext_tcp_syn_challenge, "TcpExtTCPSYNChallenge"},
    {mib::tcpext_tcp_fast_open_active, "TcpExtTCPFastOpenActive"},
    {mib::tcpext_tcp_fast_open_active_fail, "TcpExtTCPFastOpenActiveFail"},
    {mib::tcpext_tcp_fast_open_passive, "TcpExtTCPFastOpenPassive"},
    {mib::tcpext_tcp_fast_open_passive_fail, "TcpExtTCPFastOpenPassiveFail"},
    {mib::tcpext_tcp_fast_open_listen_overflow, "TcpExtTCPFastOpenListenOverflow"},
    {mib::tcpext_tcp_fast_open_cookie_reqd, "TcpExtTCPFastOpenCookieReqd"},
    {mib::tcpext_tcp_from_zero_window_adv, "TcpExtTCPFromZeroWindowAdv"},
    {mib::tcpext_tcp_to_zero_window_adv, "TcpExtTCPToZeroWindowAdv"},
    {mib::tcpext_tcp_want_zero_window_adv, "TcpExtTCPWantZeroWindowAdv"},
    {mib::tcpext_tcp_syn_retrans, "TcpExtTCPSynRetrans"},
    {mib::tcpext_tcp_orig_data_sent, "TcpExtTCPOrigDataSent"},
    // DIFFERS: Linux splits the skipped acknowledgements six ways; ours all count as this one.
    {mib::tcpext_tcp_ack_skipped, "TcpExtTCPACKSkippedSeq"},
    {mib::tcpext_tcp_win_probe, "TcpExtTCPWinProbe"},
    {mib::tcpext_tcp_keep_alive, "TcpExtTCPKeepAlive"},
    {mib::tcpext_tcp_mtup_fail, "TcpExtTCPMTUPFail"},
    {mib::tcpext_tcp_mtup_success, "TcpExtTCPMTUPSuccess"},
    {mib::tcpext_tcp_delivered, "TcpExtTCPDelivered"},
    {mib::tcpext_tcp_delivered_ce, "TcpExtTCPDeliveredCE"},
    {mib::tcpext_tcp_zero_window_drop, "TcpExtTCPZeroWindowDrop"},
    {mib::tcpext_tcp_rcv_q_drop, "TcpExtTCPRcvQDrop"},
    {mib::tcpext_tcp_dsack_recv_segs, "TcpExtTCPDSACKRecvSegs"},
    {mib::tcpext_tcp_ao_required, "TcpExtTCPAORequired"},
    {mib::tcpext_tcp_ao_bad, "TcpExtTCPAOBad"},
    {mib::tcpext_tcp_ao_key_not_found, "TcpExtTCPAOKeyNotFound"},
    {mib::tcpext_tcp_ao_dropped_icmps, "TcpExtTCPAODroppedIcmps"},
};
static_assert(mib_in_order(tcpext_rows, mib::tcpext_counters_end));

}  // namespace

void tcp_mib_init(mib_table& counters) {
  counters.add_group(tcp_rows);
  counters.add_group(tcpext_rows);
}

}  // namespace ph
