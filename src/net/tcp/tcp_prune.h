// Room for received data when the receive buffer or the namespace's memory is short: first by
// copying badly filled packets together, then by throwing away what lies out of order.
#pragma once

#include "net/tcp/tcp_sock.h"

namespace ph {

/// May this packet be queued? Makes room if there is none.
bool tcp_try_rmem_schedule(cpu& cx, tcp_sock& tp, const sk_buff& skb);

}  // namespace ph
