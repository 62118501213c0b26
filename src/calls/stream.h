// What calls on stream anchors (TCP) do that the kernel cannot do alone.
#pragma once

#include "calls/anchor.h"
#include "calls/message.h"

namespace ph::calls {

/// accept() of `listener` has made `made`: tells the daemon, whose end of it is called `end`.
void tell_accepted(caller& c, const anchor& listener, int made, const dropin::anchor_name& end);

/// Flags that make a send on a stream worth a look.
inline constexpr int stream_special_flags = MSG_OOB | MSG_FASTOPEN | MSG_MORE | MSG_ZEROCOPY;

/// Control data of a message that TCP looks at (that of SOL_SOCKET) as control items.
struct stream_control {
  u8 items[512];
  std::size_t len = 0;
};
/// 0, or -errno.
int pack_stream_control(caller& c, const message& m, stream_control& out);

/// Sends a message that only the stack can send (Fast Open, urgent data, MSG_MORE, MSG_ZEROCOPY,
/// control data that TCP looks at) through the daemon. Returns the bytes sent, or -errno.
long send_stream(caller& c, const anchor& a, const message& m, const stream_control& control,
                 int flags);

/// The kernel looks at an address also where TCP ignores it: -errno of a bad one, or 0.
int unused_name_error(caller& c, const message& m);

/// Urgent data were received: AF_UNIX would go on to show POLLIN for them.
void forget_urgent(caller& c, const anchor& a);

/// What keeps a process from asking the daemon is no error of the connection.
bool could_not_ask(long result);

/// Before a plain send with these flags: waits, as that does, for the end of a connect that did not
/// wait. 0, or -errno; of a connect that failed the send itself will tell.
long connected_by_now(caller& c, const anchor& a, int flags);

/// Has the daemon take what the program has written to a stream, and lets the stack have its turn.
/// 0, or -errno: -EAGAIN when the stack does not take all of it.
long make_room(caller& c, const anchor& a);

/// The kernel took `sent` bytes of a plain send that does not wait, as many as the anchor holds.
/// TCP takes what its own buffers hold: so the daemon is asked to take them on, and the kernel to
/// go on, until there is no room. All bytes that were taken.
long send_what_is_left(caller& c, const anchor& a, const buffers& bytes, int flags, long sent);

/// A send failed in the kernel with `error`: -errno for the program.
long stream_send_error(caller& c, anchor& a, int error);

/// The errno of a send that failed with EPIPE in the kernel: the connection's own error is first.
int stream_broken_error(caller& c, const anchor& a);

/// A receive gave 0 or failed in the kernel with `error`: what the program must see, 0 or -errno.
long stream_receive_end(caller& c, anchor& a, int error, int flags);

/// recvmsg with MSG_TRUNC: TCP throws bytes away (tcp(7)), AF_UNIX streams copy them. Bytes, or
/// -errno.
long discard_stream(caller& c, const anchor& a, const buffers& room, int flags, int& came);

/// Puts what came with the `got` bytes that were just received into the program's control buffer,
/// which the message describes.
void add_stream_control(caller& c, const anchor& a, message& m, long got, int flags);

}  // namespace ph::calls
