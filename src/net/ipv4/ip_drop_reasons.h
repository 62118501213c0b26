// Why IPv4 drops a packet: on arrival, on its way out, and in reassembly. Reassembly is counted per
// datagram by those who find that it failed, so its reasons raise nothing by themselves.
#pragma once

#include "net/core/drop_reason.h"
#include "net/ipv4/ip_mib.h"

namespace ph::drop_reason {

inline constexpr drop_reason_info neigh_create_fail{
    "neigh_create_fail", "The neighbour table is full.", mib::ip_out_discards};
inline constexpr drop_reason_info ip_pkt_too_small{
    "ip_pkt_too_small", "Too short for an IPv4 header.", mib::ip_in_hdr_errors};
inline constexpr drop_reason_info ip_inhdr{"ip_inhdr", "The IP header is malformed.",
                                           mib::ip_in_hdr_errors};
inline constexpr drop_reason_info ip_csum{"ip_csum", "The IP header checksum is wrong.",
                                          mib::ip_in_hdr_errors, mib::ipext_in_csum_errors};
inline constexpr drop_reason_info ip_truncated{
    "ip_truncated", "Shorter than its IP total length says.", mib::ipext_in_truncated_pkts};
inline constexpr drop_reason_info ip_innoroutes{"ip_innoroutes", "No route for a received packet.",
                                                mib::ipext_in_no_routes};
inline constexpr drop_reason_info ip_rpfilter{
    "ip_rpfilter", "The way back to the source is by another interface (rp_filter)."};
inline constexpr drop_reason_info ip_martian_source{
    "ip_martian_source", "The source address cannot be on this interface."};
inline constexpr drop_reason_info ip_martian_dest{
    "ip_martian_dest", "Nobody on this interface can have the destination address."};
inline constexpr drop_reason_info ip_noproto{"ip_noproto", "No handler for this IP protocol.",
                                             mib::ip_in_unknown_protos};
inline constexpr drop_reason_info ip_options_bad{"ip_options_bad", "The IP options are malformed.",
                                                 mib::ip_in_hdr_errors};
inline constexpr drop_reason_info ip_source_route{"ip_source_route",
                                                  "Source-routed, which is not accepted."};
inline constexpr drop_reason_info ip_forwarding_off{
    "ip_forwarding_off", "Not for us, and we are no router.", mib::ip_in_addr_errors};
inline constexpr drop_reason_info ttl_expired{"ttl_expired", "The time to live ran out.",
                                              mib::ip_in_hdr_errors};
inline constexpr drop_reason_info pkt_too_big{
    "pkt_too_big", "Larger than the path's MTU and must not be fragmented.", mib::ip_frag_fails};
inline constexpr drop_reason_info ip_too_long{"ip_too_long", "Longer than an IPv4 packet can be.",
                                              mib::ip_frag_fails};
inline constexpr drop_reason_info ip_outnoroutes{"ip_outnoroutes", "No route for a packet of ours.",
                                                 mib::ip_out_no_routes};
inline constexpr drop_reason_info blackhole_route{"blackhole_route",
                                                  "A blackhole route swallowed it."};
inline constexpr drop_reason_info prohibit_route{"prohibit_route", "A prohibit route forbids it."};
inline constexpr drop_reason_info unreachable_route{"unreachable_route",
                                                    "An unreachable route refuses it."};
inline constexpr drop_reason_info dst_discard{
    "dst_discard", "It came back over lo, and nobody here joined the group."};
inline constexpr drop_reason_info frag_failed{"frag_failed", "It could not be fragmented.",
                                              mib::ip_frag_fails};
inline constexpr drop_reason_info frag_reasm_timeout{"frag_reasm_timeout",
                                                     "Its other fragments never came."};
inline constexpr drop_reason_info frag_overlap{"frag_overlap",
                                               "Fragments overlap (RFC 5722, RFC 8200 4.5)."};
inline constexpr drop_reason_info frag_too_big{"frag_too_big",
                                               "The fragments add up to more than 65535 bytes."};
inline constexpr drop_reason_info frag_memory{
    "frag_memory", "Reassembly holds as much as it may (ipfrag_high_thresh)."};
inline constexpr drop_reason_info frag_bad{"frag_bad", "A fragment contradicts the others."};

}  // namespace ph::drop_reason
