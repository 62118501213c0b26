// TCP_REPAIR: a connection's state is read from one socket and written to another, maybe on another
// host, without the peer noticing. The options are those that checkpoint/restore tools use: queues
// (TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ), agreed options (TCP_REPAIR_OPTIONS, TCP_TIMESTAMP) and windows
// (TCP_REPAIR_WINDOW). A socket in repair sends nothing at all, and its close is silent.
#pragma once

#include "net/tcp/tcp_sock.h"

namespace ph {

[[nodiscard]] bool tcp_is_repair_option(int name);
/// Errors: perm (no CAP_NET_ADMIN, a listener, not in repair, a queue that is not empty), inval,
/// EFBIG (a window scale above 14).
result<void> tcp_repair_setsockopt(cpu& cx, tcp_sock& tp, int name, byte_view value);
/// Errors: inval, perm.
result<std::size_t> tcp_repair_getsockopt(cpu& cx, tcp_sock& tp, int name, byte_span out);
/// connect(2) in repair: established at once, with the numbers that TCP_QUEUE_SEQ gave.
result<void> tcp_repair_connect(cpu& cx, tcp_sock& tp, byte_view addr);
/// sendmsg(2) into the receive queue: bytes that the former socket had received. Errors: inval (no
/// queue was chosen).
result<std::size_t> tcp_repair_receive_queue(cpu& cx, tcp_sock& tp, const send_msg& msg);
/// recvmsg(2) with MSG_PEEK of the send queue: bytes the peer may not have. Errors: perm (without
/// MSG_PEEK), inval (no queue).
result<std::size_t> tcp_repair_peek(tcp_sock& tp, recv_msg& msg);

}  // namespace ph
