// Which ancillary values of received datagrams a program asked for, as one number.
//
// The daemon tells it in its answer to setsockopt(); the shim keeps it at the anchor, as
// SO_RCVLOWAT, which AF_UNIX datagram sockets have and do not act on. Whoever receives from the
// anchor, in whatever process, so learns it from the kernel when the datagram is received: one that
// was waiting is told as its reader wants it by then, as on Linux.
#pragma once

#include <cstddef>
#include <iterator>

#include "uapi/inet.h"
#include "uapi/socket.h"

namespace ph::dropin {

/// An option that makes received datagrams carry a value; its bit is its place in the table.
struct received_option {
  int level;
  int name;
  int type;  ///< of the control message
};
inline constexpr received_option received_options[] = {
    {uapi::sol_ip, uapi::ip_pktinfo, uapi::ip_pktinfo},
    {uapi::sol_ip, uapi::ip_recvttl, uapi::ip_ttl},
    {uapi::sol_ip, uapi::ip_recvtos, uapi::ip_tos},
    {uapi::sol_ip, uapi::ip_recvopts, uapi::ip_recvopts},
    {uapi::sol_ip, uapi::ip_retopts, uapi::ip_retopts},
    {uapi::sol_ip, uapi::ip_recvorigdstaddr, uapi::ip_origdstaddr},
    {uapi::sol_ip, uapi::ip_recvfragsize, uapi::ip_recvfragsize},
    {uapi::sol_socket, uapi::so_rxq_ovfl, uapi::so_rxq_ovfl},
    {uapi::sol_socket, uapi::so_rcvmark, uapi::so_mark},
    {uapi::sol_socket, uapi::so_rcvpriority, uapi::so_priority},
};
static_assert(std::size(received_options) <= 16);

/// Beside those: in which form a time stamp is told. The one is among stamp_forms, with its place
/// counted from 1; the other is SCM_TIMESTAMPING.
inline constexpr unsigned stamp_form_shift = 16;
inline constexpr u32 stamp_form_mask = 7;
inline constexpr u32 stamp_timestamping = 1u << 19;
inline constexpr int stamp_forms[] = {uapi::so_timestampns_new, uapi::so_timestampns,
                                      uapi::so_timestamp_new, uapi::so_timestamp};

inline constexpr bool in_nanoseconds(int stamp_form) {
  return stamp_form == uapi::so_timestampns_new || stamp_form == uapi::so_timestampns;
}

/// Is a control item that came with a datagram wanted? Those of no option always are.
inline constexpr bool chosen(u32 choice, u32 level, u32 type) {
  for (std::size_t i = 0; i < std::size(received_options); ++i) {
    const received_option& o = received_options[i];
    if (static_cast<u32>(o.level) == level && static_cast<u32>(o.type) == type) {
      return (choice >> i & 1) != 0;
    }
  }
  return true;
}

/// A choice as SO_RCVLOWAT, which every socket is born with as 1, and back.
inline constexpr int anchor_value(u32 choice) { return static_cast<int>(choice + 1); }
inline constexpr u32 choice_of(int anchor_value) { return static_cast<u32>(anchor_value) - 1; }

/// The level of items of a tag that are not the program's (daemon/datagram_stamps.h), and when the
/// datagram came to the stack: two s64, seconds and nanoseconds.
inline constexpr u32 own_level = ~u32{0};
inline constexpr u32 own_stamp = 0;

}  // namespace ph::dropin
