// Why UDP and UDP-Lite drop a datagram. A full receive buffer is counted by who finds it full.
#pragma once

#include "net/core/drop_reason.h"
#include "net/udp/udp_mib.h"

namespace ph::drop_reason {

inline constexpr drop_reason_info udp_csum{"udp_csum", "The UDP checksum is wrong.",
                                           mib::udp_in_csum_errors, mib::udp_in_errors};
inline constexpr drop_reason_info udp_malformed{
    "udp_malformed", "The UDP length contradicts the packet.", mib::udp_in_errors};
inline constexpr drop_reason_info udp_no_port{"udp_no_port", "Nobody listens on this UDP port.",
                                              mib::udp_no_ports};
inline constexpr drop_reason_info udplite_csum{"udplite_csum",
                                               "The UDP-Lite checksum is wrong or absent.",
                                               mib::udplite_in_csum_errors, mib::udplite_in_errors};
inline constexpr drop_reason_info udplite_malformed{
    "udplite_malformed", "The UDP-Lite checksum coverage contradicts the packet.",
    mib::udplite_in_errors};
inline constexpr drop_reason_info udplite_coverage{
    "udplite_coverage", "The socket wants more of the packet covered by its checksum.",
    mib::udplite_in_errors};
inline constexpr drop_reason_info udplite_no_port{
    "udplite_no_port", "Nobody listens on this UDP-Lite port.", mib::udplite_no_ports};

}  // namespace ph::drop_reason
