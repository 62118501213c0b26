// What calls on stream anchors (TCP) do that the kernel cannot do alone.
#pragma once

#include <sys/socket.h>

#include <cstddef>

#include "daemon/anchor_name.h"

namespace ph::shim {

/// accept() of `listener` has returned `fd`: tells the daemon, whose end of it is called `end`.
void tell_accepted(int listener, int fd, const dropin::anchor_name& end);

/// True when both directions of an anchor are over.
bool hung_up(int fd);

/// Flags that make a send on a stream worth a look.
inline constexpr int stream_special_flags = MSG_OOB | MSG_FASTOPEN | MSG_MORE | MSG_ZEROCOPY;

/// Control data of a message that TCP looks at (that of SOL_SOCKET) as control items.
struct stream_control {
  u8 items[512];
};
/// Returns the length of the items, or -errno.
long pack_stream_control(const msghdr& message, stream_control& out);

/// Sends a message that only the stack can send (Fast Open, urgent data, MSG_MORE, MSG_ZEROCOPY,
/// control data that TCP looks at) through the daemon. Returns the bytes sent, or -errno.
ssize_t send_stream(int fd, const msghdr& message, int flags);

/// The kernel looks at an address also where TCP ignores it: the errno of a bad one, or 0.
int unused_name_error(const msghdr& message);

/// Urgent data were received: AF_UNIX would go on to show POLLIN for them.
void forget_urgent(int fd);

/// True when a call with these flags waits.
bool may_block(int fd, int flags);

/// Has the daemon take what the program has written to a stream, and lets the stack have its turn.
/// 0, or -errno: -EAGAIN when the stack does not take all of it.
ssize_t make_room(int fd);

/// The message without what TCP ignores and AF_UNIX does not: address and control data.
msghdr plain_stream_message(const msghdr& message);

/// A send failed in the kernel with `error`: -errno for the program.
ssize_t stream_send_error(int fd, int error);

/// The errno of a send that failed with EPIPE in the kernel: the connection's own error is first.
int stream_broken_error(int fd);

/// A receive gave 0 or failed in the kernel with `error`: what the program must see, 0 or -errno.
ssize_t stream_receive_end(int fd, int error, int flags);

/// recvmsg with MSG_TRUNC: TCP throws bytes away (tcp(7)), AF_UNIX streams copy them. Returns as
/// libc's recvmsg.
ssize_t discard_stream(int fd, const msghdr& room, int flags);

/// This process asks for control data with the bytes of streams (time stamps, TCP_INQ): from now on
/// add_stream_control() may find some.
void expect_stream_control();
bool stream_control_expected();
/// Puts what came with the `got` bytes that were just received into the program's control buffer,
/// which `message` describes.
void add_stream_control(int fd, msghdr& message, ssize_t got, int flags);

/// This process has shut a stream for reading: what still comes stays in the stack, where a receive
/// that finds the end may get it, as from TCP.
void expect_shut_reads();
bool shut_reads_expected();

/// This process uses SO_RCVLOWAT: from now on stream_receive_below() may find something.
void expect_lowat();
/// True when a receive that would block may find bytes below SO_RCVLOWAT, which the stack keeps.
bool lowat_expected();

}  // namespace ph::shim
