// The reasons that devices, sockets and every protocol share.
#pragma once

#include "net/core/drop_reason.h"

namespace ph::drop_reason {

inline constexpr drop_reason_info unreasoned{"unreasoned",
                                             "Freed without a reason: a bug in the stack."};
inline constexpr drop_reason_info queue_purge{"queue_purge",
                                              "The queue that held the packet was emptied."};
inline constexpr drop_reason_info dev_down{"dev_down", "The interface is down."};
inline constexpr drop_reason_info dev_gone{"dev_gone", "The interface was removed."};
inline constexpr drop_reason_info bad_offload{
    "bad_offload", "What was left to the device (checksum, segmentation) contradicts the headers."};
inline constexpr drop_reason_info cpu_backlog{"cpu_backlog",
                                              "Too many packets waited for the cpu."};
inline constexpr drop_reason_info ring_full{"ring_full",
                                            "The receive ring of the device was full."};
inline constexpr drop_reason_info frame_too_short{"frame_too_short",
                                                  "Shorter than a link-layer header."};
inline constexpr drop_reason_info other_host{"other_host",
                                             "Addressed to another host on the link."};
inline constexpr drop_reason_info unhandled_proto{"unhandled_proto",
                                                  "No protocol here handles this ethertype."};
inline constexpr drop_reason_info qdisc_overlimit{"qdisc_overlimit", "The queue was at its limit."};
inline constexpr drop_reason_info netfilter_drop{"netfilter_drop", "A netfilter rule dropped it."};
inline constexpr drop_reason_info no_socket{"no_socket", "No socket for it."};
inline constexpr drop_reason_info socket_rcvbuff{"socket_rcvbuff",
                                                 "The socket's receive buffer is full."};
inline constexpr drop_reason_info socket_filter{
    "socket_filter", "The program's filter (SO_ATTACH_FILTER) refused it."};
inline constexpr drop_reason_info socket_closed{"socket_closed", "The socket was closed."};

}  // namespace ph::drop_reason
