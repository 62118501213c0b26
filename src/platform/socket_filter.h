// The system-call filter under every program of `ph run`: what no shim sees still reaches no
// network of the machine. This file says which calls are refused and how; it does not serve them.
//
// A seccomp(2) filter decides by number, architecture and register only: it knows neither the kind
// of a descriptor nor what a pointer points to. So isolation rests on the calls that *make* a way
// out (socket, io_uring, bpf, pidfd_getfd, TUNSETIFF); the rest of the table keeps programs from
// seeing or changing the machine's devices, and from leaving the namespace that their anchors'
// names live in.
#pragma once

#include <cstddef>
#include <vector>

#include "base/result.h"

struct sock_filter;

namespace ph {

/// The filter as the kernel takes it.
std::vector<sock_filter> socket_filter();

/// Puts the calling process, and whatever it becomes or starts, under the filter, and under
/// no_new_privs: neither can be taken off again. Filters stack, so this may be done twice. Errors:
/// the kernel's (nosys, inval: it has no filters; perm, acces: somebody forbids them).
result<void> install_socket_filter();

}  // namespace ph
