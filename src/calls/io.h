// The system calls that send and receive, on one of our sockets. And what becomes of one that the
// kernel was asked first: the plain ones it can mostly do alone.
#pragma once

#include "calls/anchor.h"
#include "calls/message.h"

namespace ph::calls {

// System calls, by their arguments. The result, or `not_ours`.
long do_sendto(caller& c, int number, u64 bytes, u64 len, int flags, u64 address, u32 address_len);
long do_sendmsg(caller& c, int number, u64 at, int flags);
long do_sendmmsg(caller& c, int number, u64 at, unsigned count, int flags);
long do_recvfrom(caller& c, int number, u64 bytes, u64 len, int flags, u64 address, u64 len_at);
long do_recvmsg(caller& c, int number, u64 at, int flags);
long do_recvmmsg(caller& c, int number, u64 at, unsigned count, int flags, u64 timeout);

/// A message on an anchor. Bytes, or -errno.
long send_on(caller& c, anchor& a, const message& m, int flags);
long receive_on(caller& c, anchor& a, message& m, int flags);

/// True for flags with which a send of bytes is not the kernel's alone.
bool send_is_special(int flags);
/// The same of a receive.
inline bool receive_is_special(int flags) {
  return (flags & (MSG_ERRQUEUE | MSG_OOB | MSG_TRUNC)) != 0;
}

/// A plain send on any descriptor, with MSG_NOSIGNAL, failed in the kernel with `error`: sends the
/// bytes in another way, or gives the error that the program must see, with the signal that belongs
/// to it.
long mended_send(caller& c, int number, const buffers& bytes, int flags, int error);

/// The same of a plain write, with which the kernel raises the signal.
long mended_write(caller& c, int number, const buffers& bytes, int error);

/// sendfile(2) or splice(2) to any descriptor failed in the kernel with `error`: the -errno that
/// the program must see, with the signal that belongs to it, or 0: the call is to be made once
/// more.
long mended_transfer(caller& c, int number, int error);

/// splice(2) from any descriptor gave 0, or -errno: what the program must see. Sets `again` when
/// the call is to be made once more.
long mended_transfer_from(caller& c, int number, long result, bool& again);

/// More than a datagram can be, for a datagram anchor, which would take it.
bool too_long(caller& c, int number, u64 len);
/// The kernel took `sent` bytes of a plain send on any descriptor: how many were taken when the
/// rest, if there is one, was tried as well.
long completed(caller& c, int number, const buffers& bytes, int flags, long sent);

/// The kernel took a plain send: its result, but for datagrams that are too long. The daemon knows
/// that by now, too: what is left of it is the error that is given here.
long taken(caller& c, int number, long sent);

/// A plain receive on any descriptor gave 0, or -errno: what the program must see. It may receive
/// again.
long mended_receive(caller& c, int number, const buffers& room, int flags, int& came, long result);
/// The same of a plain recvmsg(2) into the program's own struct msghdr at `at`, which the kernel
/// has written to. Also one that gave more than 0, if its MSG_CTRUNC is set.
long mended_recvmsg(caller& c, int number, u64 at, const buffers& room, int flags, long result);

}  // namespace ph::calls
