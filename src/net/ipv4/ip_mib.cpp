// The names of IPv4's and ICMP's counters, as nstat(8) spells them.
#include "net/ipv4/ip_mib.h"

namespace ph {
namespace {

constexpr mib_row ip_rows[] = {
    {mib::ip_in_receives, "IpInReceives"},
    {mib::ip_in_hdr_errors, "IpInHdrErrors"},
    {mib::ip_in_addr_errors, "IpInAddrErrors"},
    {mib::ip_forw_datagrams, "IpForwDatagrams"},
    {mib::ip_in_unknown_protos, "IpInUnknownProtos"},
    {mib::ip_in_delivers, "IpInDelivers"},
    {mib::ip_out_requests, "IpOutRequests"},
    {mib::ip_out_discards, "IpOutDiscards"},
    {mib::ip_out_no_routes, "IpOutNoRoutes"},
    {mib::ip_reasm_timeout, "IpReasmTimeout"},
    {mib::ip_reasm_reqds, "IpReasmReqds"},
    {mib::ip_reasm_oks, "IpReasmOKs"},
    {mib::ip_reasm_fails, "IpReasmFails"},
    {mib::ip_frag_oks, "IpFragOKs"},
    {mib::ip_frag_fails, "IpFragFails"},
    {mib::ip_frag_creates, "IpFragCreates"},
    {mib::ip_out_transmits, "IpOutTransmits"},
};
static_assert(mib_in_order(ip_rows, mib::ip_counters_end));

constexpr mib_row icmp_rows[] = {
    {mib::icmp_in_msgs, "IcmpInMsgs"},
    {mib::icmp_in_errors, "IcmpInErrors"},
    {mib::icmp_in_csum_errors, "IcmpInCsumErrors"},
    {mib::icmp_in_dest_unreachs, "IcmpInDestUnreachs"},
    {mib::icmp_in_time_excds, "IcmpInTimeExcds"},
    {mib::icmp_in_parm_probs, "IcmpInParmProbs"},
    {mib::icmp_in_src_quenchs, "IcmpInSrcQuenchs"},
    {mib::icmp_in_redirects, "IcmpInRedirects"},
    {mib::icmp_in_echos, "IcmpInEchos"},
    {mib::icmp_in_echo_reps, "IcmpInEchoReps"},
    {mib::icmp_in_timestamps, "IcmpInTimestamps"},
    {mib::icmp_in_timestamp_reps, "IcmpInTimestampReps"},
    {mib::icmp_in_addr_masks, "IcmpInAddrMasks"},
    {mib::icmp_in_addr_mask_reps, "IcmpInAddrMaskReps"},
    {mib::icmp_out_msgs, "IcmpOutMsgs"},
    {mib::icmp_out_rate_limit_host, "IcmpOutRateLimitHost"},
    {mib::icmp_out_dest_unreachs, "IcmpOutDestUnreachs"},
    {mib::icmp_out_time_excds, "IcmpOutTimeExcds"},
    {mib::icmp_out_parm_probs, "IcmpOutParmProbs"},
    {mib::icmp_out_redirects, "IcmpOutRedirects"},
    {mib::icmp_out_echos, "IcmpOutEchos"},
    {mib::icmp_out_echo_reps, "IcmpOutEchoReps"},
    {mib::icmp_out_timestamp_reps, "IcmpOutTimestampReps"},
};
static_assert(mib_in_order(icmp_rows, mib::icmp_counters_end));

constexpr mib_row ipext_rows[] = {
    {mib::ipext_in_no_routes, "IpExtInNoRoutes"},
    {mib::ipext_in_truncated_pkts, "IpExtInTruncatedPkts"},
    {mib::ipext_in_mcast_pkts, "IpExtInMcastPkts"},
    {mib::ipext_out_mcast_pkts, "IpExtOutMcastPkts"},
    {mib::ipext_in_bcast_pkts, "IpExtInBcastPkts"},
    {mib::ipext_out_bcast_pkts, "IpExtOutBcastPkts"},
    {mib::ipext_in_octets, "IpExtInOctets"},
    {mib::ipext_out_octets, "IpExtOutOctets"},
    {mib::ipext_in_mcast_octets, "IpExtInMcastOctets"},
    {mib::ipext_out_mcast_octets, "IpExtOutMcastOctets"},
    {mib::ipext_in_bcast_octets, "IpExtInBcastOctets"},
    {mib::ipext_out_bcast_octets, "IpExtOutBcastOctets"},
    {mib::ipext_in_csum_errors, "IpExtInCsumErrors"},
    {mib::ipext_in_no_ect_pkts, "IpExtInNoECTPkts"},
    {mib::ipext_in_ect1_pkts, "IpExtInECT1Pkts"},
    {mib::ipext_in_ect0_pkts, "IpExtInECT0Pkts"},
    {mib::ipext_in_ce_pkts, "IpExtInCEPkts"},
    {mib::ipext_reasm_overlaps, "IpExtReasmOverlaps"},
};
static_assert(mib_in_order(ipext_rows, mib::ipext_counters_end));

}  // namespace

void ip_mib_init(mib_table& counters) {
  counters.add_group(ip_rows);
  counters.add_group(icmp_rows);
  counters.add_group(ipext_rows);
}

}  // namespace ph
