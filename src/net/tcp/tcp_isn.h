// Initial sequence numbers and timestamp offsets that nobody can guess.
#pragma once

#include "net/tcp/tcp_sock.h"

namespace ph {

/// RFC 6528 §3: M + F(local, remote, secret); M is a clock of 64 ns.
seq32 tcp_init_seq(const cpu& cx, const tcp_net& tn, const inet_tuple& tuple);
/// RFC 7323 §5.4: the timestamp clock starts elsewhere for each pair of hosts.
u32 tcp_ts_offset(const tcp_net& tn, const inet_addr& laddr, const inet_addr& raddr);

}  // namespace ph
