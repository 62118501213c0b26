// ICMP for IPv4 (RFC 792, 1122 §3.2.2, 1812 §4.3): echo, errors in and out, rate limits.
#pragma once

#include "net/core/skbuff.h"
#include "net/inet/inet_protocol.h"
#include "net/ipv4/ip_mib.h"

namespace ph {

namespace drop_reason {
inline constexpr drop_reason_info icmp_csum{"icmp_csum", "The ICMP checksum is wrong.",
                                            mib::icmp_in_csum_errors, mib::icmp_in_errors};
inline constexpr drop_reason_info icmp_malformed{"icmp_malformed", "The ICMP message is malformed.",
                                                 mib::icmp_in_errors};
inline constexpr drop_reason_info icmp_unknown_type{
    "icmp_unknown_type", "An ICMP type without a handler.", mib::icmp_in_errors};
inline constexpr drop_reason_info icmp_echo_ignored{"icmp_echo_ignored",
                                                    "Echo requests are ignored here."};
inline constexpr drop_reason_info icmp_no_socket{"icmp_no_socket",
                                                 "An ICMP answer nobody waits for."};
}  // namespace drop_reason

class net_namespace;

/// Reports an error about a packet that arrived (network header set; not consumed). Obeys
/// RFC 1122 §3.2.2 (never about errors, fragments beyond the first, broadcasts) and the rate
/// limits. info: MTU, pointer or gateway, host order as in the header's second word.
void icmp_send(cpu& cx, const sk_buff& about, u8 type, u8 code, u32 info);
/// Reports that the options of a packet are at fault at an octet of its header; of its options, the
/// first `good` bytes were understood. Obeys the same rules.
void icmp_parameter_problem(cpu& cx, const sk_buff& about, u8 pointer, std::size_t good);
/// What a socket sees for an ICMP error, and whether it is fatal (RFC 1122 §4.2.3.9).
icmp_error icmp_error_of(u8 type, u8 code);
void icmp_init(net_namespace& net);

}  // namespace ph
