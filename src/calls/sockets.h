// The system calls that make, name, connect and configure sockets, by their arguments: the result,
// or `not_ours`.
#pragma once

#include "calls/caller.h"

namespace ph::calls {

long do_socket(caller& c, int domain, int type, int protocol);
long do_bind(caller& c, int number, u64 address, u32 len);
long do_connect(caller& c, int number, u64 address, u32 len);
long do_listen(caller& c, int number, int backlog);
long do_accept4(caller& c, int number, u64 address, u64 len_at, int flags);
long do_shutdown(caller& c, int number, int how);
long do_getsockname(caller& c, int number, u64 address, u64 len_at);
long do_getpeername(caller& c, int number, u64 address, u64 len_at);
long do_setsockopt(caller& c, int number, int level, int name, u64 value, u32 len);
long do_getsockopt(caller& c, int number, int level, int name, u64 value, u64 len_at);

}  // namespace ph::calls
