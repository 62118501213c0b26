// What calls on datagram anchors (UDP, raw, netlink, packet) do that the kernel cannot do alone.
#pragma once

#include "calls/anchor.h"
#include "calls/message.h"

namespace ph::calls {

/// The largest payload of a UDP datagram over IPv4; an anchor itself would take more.
inline constexpr std::size_t max_datagram = 65507;

/// MSG_ flags of a send that the stack must see.
bool datagram_send_is_daemons(int flags);

/// A plain send failed in the kernel with `error`: sends it through the daemon, as the socket is
/// not connected (EPERM), or has an error of which only the stack knows whether it stops a send
/// (ECONNRESET). Bytes, or -errno.
long repeat_datagram(caller& c, const anchor& a, const message& m, int flags, int error);

/// A receive with `flags` failed in the kernel with `error`: the errno that the program must see,
/// or 0 when the call is to be repeated.
int datagram_receive_error(caller& c, const anchor& a, int error, int flags);

/// After a receive that was repeated: the anchor shows again what waits in the error queue.
void show_report_again(caller& c, const anchor& a);

/// A receive gave nothing, or EAGAIN: true when nothing will come any more, as the daemon is gone.
bool is_ending(caller& c, const anchor& a);

/// How often a receive is repeated after errors of an anchor that were nobody's: whoever else reads
/// there may take what an error announced, but not without end.
inline constexpr int most_rounds = 64;

/// A receive gave nothing: what came after the socket was shut for reading, which the stack keeps.
/// Bytes, or -errno.
long receive_behind_end(caller& c, const anchor& a, message& m, int flags);

/// Receives with the address and the control data that the message asks for. Bytes, or -errno.
long receive_datagram(caller& c, const anchor& a, message& m, int flags);

}  // namespace ph::calls
