// TCP_INFO: the state of a connection as ss(8) and programs see it.
#pragma once

#include "net/tcp/tcp_sock.h"

namespace ph {

uapi::tcp_info tcp_get_info(cpu& cx, tcp_sock& tp);

}  // namespace ph
