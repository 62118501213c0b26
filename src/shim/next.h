// The libc functions that the shim replaces, as they are behind it.
#pragma once

#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

#include "shim/hook.h"

namespace ph::shim::next {

#define PH_NEXT(name, ...) inline constinit next_function<__VA_ARGS__> name { #name }

PH_NEXT(socket, int(int, int, int));
PH_NEXT(bind, int(int, const sockaddr*, socklen_t));
PH_NEXT(connect, int(int, const sockaddr*, socklen_t));
PH_NEXT(listen, int(int, int));
PH_NEXT(accept4, int(int, sockaddr*, socklen_t*, int));
PH_NEXT(shutdown, int(int, int));
PH_NEXT(close, int(int));
PH_NEXT(dup2, int(int, int));
PH_NEXT(dup3, int(int, int, int));
PH_NEXT(getsockname, int(int, sockaddr*, socklen_t*));
PH_NEXT(getpeername, int(int, sockaddr*, socklen_t*));
PH_NEXT(getsockopt, int(int, int, int, void*, socklen_t*));
PH_NEXT(setsockopt, int(int, int, int, const void*, socklen_t));
PH_NEXT(poll, int(pollfd*, nfds_t, int));
PH_NEXT(ppoll, int(pollfd*, nfds_t, const timespec*, const sigset_t*));
PH_NEXT(select, int(int, fd_set*, fd_set*, fd_set*, timeval*));
PH_NEXT(pselect, int(int, fd_set*, fd_set*, fd_set*, const timespec*, const sigset_t*));
PH_NEXT(epoll_ctl, int(int, int, int, epoll_event*));
PH_NEXT(epoll_wait, int(int, epoll_event*, int, int));
PH_NEXT(epoll_pwait, int(int, epoll_event*, int, int, const sigset_t*));
PH_NEXT(epoll_pwait2, int(int, epoll_event*, int, const timespec*, const sigset_t*));
PH_NEXT(ioctl, int(int, unsigned long, void*));

PH_NEXT(send, ssize_t(int, const void*, size_t, int));
PH_NEXT(sendto, ssize_t(int, const void*, size_t, int, const sockaddr*, socklen_t));
PH_NEXT(sendmsg, ssize_t(int, const msghdr*, int));
PH_NEXT(sendmmsg, int(int, mmsghdr*, unsigned, int));
PH_NEXT(recv, ssize_t(int, void*, size_t, int));
PH_NEXT(recvfrom, ssize_t(int, void*, size_t, int, sockaddr*, socklen_t*));
PH_NEXT(recvmsg, ssize_t(int, msghdr*, int));
PH_NEXT(recvmmsg, int(int, mmsghdr*, unsigned, int, timespec*));
PH_NEXT(read, ssize_t(int, void*, size_t));
PH_NEXT(readv, ssize_t(int, const iovec*, int));
PH_NEXT(write, ssize_t(int, const void*, size_t));
PH_NEXT(writev, ssize_t(int, const iovec*, int));
PH_NEXT(preadv2, ssize_t(int, const iovec*, int, off_t, int));
PH_NEXT(pwritev2, ssize_t(int, const iovec*, int, off_t, int));

PH_NEXT(getaddrinfo, int(const char*, const char*, const addrinfo*, addrinfo**));
PH_NEXT(getnameinfo,
        int(const sockaddr*, socklen_t, char*, socklen_t, char*, socklen_t, int));

#undef PH_NEXT

}  // namespace ph::shim::next
