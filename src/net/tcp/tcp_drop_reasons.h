// Why TCP drops a segment.
#pragma once

#include "net/core/drop_reason.h"
#include "net/tcp/tcp_mib.h"

namespace ph::drop_reason {

inline constexpr drop_reason_info tcp_csum{"tcp_csum", "The TCP checksum is wrong.",
                                           mib::tcp_in_csum_errors, mib::tcp_in_errs};
inline constexpr drop_reason_info tcp_malformed{"tcp_malformed", "The TCP header is malformed.",
                                                mib::tcp_in_errs};
inline constexpr drop_reason_info tcp_flags{"tcp_flags",
                                            "The TCP flags make no sense in this state."};
inline constexpr drop_reason_info tcp_no_socket{"tcp_no_socket", "No TCP socket for it."};
inline constexpr drop_reason_info tcp_old_data{"tcp_old_data", "All its data had arrived before."};
inline constexpr drop_reason_info tcp_overwindow{"tcp_overwindow",
                                                 "Its data lies beyond the receive window."};
inline constexpr drop_reason_info tcp_invalid_sequence{
    "tcp_invalid_sequence", "Its sequence number is outside the window."};
inline constexpr drop_reason_info tcp_old_sequence{"tcp_old_sequence",
                                                   "Its sequence number is long past."};
inline constexpr drop_reason_info tcp_tsecr{
    "tcp_tsecr", "It echoes a timestamp that was never sent (RFC 7323 5.4).",
    mib::tcpext_tsecr_rejected};
inline constexpr drop_reason_info tcp_paws{
    "tcp_paws", "Its timestamp is older than the last one (RFC 7323 5).", mib::tcpext_paws_estab};
inline constexpr drop_reason_info tcp_invalid_ack{"tcp_invalid_ack",
                                                  "Its acknowledgement is not acceptable."};
inline constexpr drop_reason_info tcp_too_old_ack{
    "tcp_too_old_ack", "It acknowledges what is long past (RFC 5961 5.2)."};
inline constexpr drop_reason_info tcp_ack_unsent_data{"tcp_ack_unsent_data",
                                                      "It acknowledges what was never sent."};
inline constexpr drop_reason_info tcp_reset{"tcp_reset", "A valid reset; its work is done."};
inline constexpr drop_reason_info tcp_invalid_syn{"tcp_invalid_syn",
                                                  "A SYN in a synchronised state (RFC 5961 4)."};
inline constexpr drop_reason_info tcp_close{"tcp_close", "The connection is closed."};
inline constexpr drop_reason_info tcp_listen_overflow{
    "tcp_listen_overflow", "The accept queue is full.", mib::tcpext_listen_overflows,
    mib::tcpext_listen_drops};
inline constexpr drop_reason_info tcp_syn_queue_full{
    "tcp_syn_queue_full", "Too many half-open connections.", mib::tcpext_listen_drops};
inline constexpr drop_reason_info tcp_ofo_merge{
    "tcp_ofo_merge", "Its data already waits out of order.", mib::tcpext_tcp_ofo_merge};
inline constexpr drop_reason_info tcp_ofo_drop{"tcp_ofo_drop", "No memory to keep it out of order.",
                                               mib::tcpext_tcp_ofo_drop};
inline constexpr drop_reason_info tcp_rcv_pruned{"tcp_rcv_pruned",
                                                 "Pruned: the receive buffer is over its limit."};
inline constexpr drop_reason_info tcp_zero_window{
    "tcp_zero_window", "Data against a window of zero.", mib::tcpext_tcp_zero_window_drop};
inline constexpr drop_reason_info tcp_min_ttl{
    "tcp_min_ttl", "Its TTL is below IP_MINTTL (RFC 5082).", mib::tcpext_tcp_min_ttl_drop};
inline constexpr drop_reason_info tcp_timewait{"tcp_timewait",
                                               "The connection is in TIME-WAIT; its work is done."};
inline constexpr drop_reason_info tcp_request{"tcp_request",
                                              "Not acceptable for a half-open connection."};
inline constexpr drop_reason_info tcp_fin_wait_data{
    "tcp_fin_wait_data", "Data for a connection nobody will read any more."};
inline constexpr drop_reason_info tcp_md5_failure{
    "tcp_md5_failure", "The TCP-MD5 signature is wrong (RFC 2385).", mib::tcpext_tcp_md5_failure};
inline constexpr drop_reason_info tcp_md5_not_found{
    "tcp_md5_not_found", "Unsigned, but a TCP-MD5 key is set for the peer (RFC 2385).",
    mib::tcpext_tcp_md5_not_found};
inline constexpr drop_reason_info tcp_md5_unexpected{
    "tcp_md5_unexpected", "Signed by TCP-MD5, but no key is set for the peer.",
    mib::tcpext_tcp_md5_unexpected};
inline constexpr drop_reason_info tcp_ao_not_found{
    "tcp_ao_not_found", "Unsigned, but TCP-AO is required for the peer (RFC 5925).",
    mib::tcpext_tcp_ao_required};
inline constexpr drop_reason_info tcp_ao_unexpected{
    "tcp_ao_unexpected", "Signed by TCP-AO, but no key is set for the peer.",
    mib::tcpext_tcp_ao_key_not_found};
inline constexpr drop_reason_info tcp_ao_key_not_found{
    "tcp_ao_key_not_found", "No TCP-AO key of the peer has this identifier.",
    mib::tcpext_tcp_ao_key_not_found};
inline constexpr drop_reason_info tcp_ao_failure{
    "tcp_ao_failure", "The TCP-AO authentication code is wrong.", mib::tcpext_tcp_ao_bad};
inline constexpr drop_reason_info tcp_no_route{"tcp_no_route", "No route back to the peer."};

}  // namespace ph::drop_reason
