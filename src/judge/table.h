// What the genuine packetdrill asks of a stack in a shared object: a table of calls with libc's
// signatures behind a first argument that is the stack's own. The order is part of the interface.
#pragma once

#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>

namespace ph::judge {

struct interface_table {
  void* userdata;
  void (*free)(void* userdata);
  int (*socket)(void* userdata, int domain, int type, int protocol);
  int (*bind)(void* userdata, int fd, const sockaddr* addr, socklen_t len);
  int (*listen)(void* userdata, int fd, int backlog);
  int (*accept)(void* userdata, int fd, sockaddr* addr, socklen_t* len);
  int (*connect)(void* userdata, int fd, const sockaddr* addr, socklen_t len);
  ssize_t (*read)(void* userdata, int fd, void* data, size_t count);
  ssize_t (*readv)(void* userdata, int fd, const iovec* iov, int count);
  ssize_t (*recv)(void* userdata, int fd, void* data, size_t count, int flags);
  ssize_t (*recvfrom)(void* userdata, int fd, void* data, size_t count, int flags, sockaddr* addr,
                      socklen_t* len);
  ssize_t (*recvmsg)(void* userdata, int fd, msghdr* msg, int flags);
  ssize_t (*write)(void* userdata, int fd, const void* data, size_t count);
  ssize_t (*writev)(void* userdata, int fd, const iovec* iov, int count);
  ssize_t (*send)(void* userdata, int fd, const void* data, size_t count, int flags);
  ssize_t (*sendto)(void* userdata, int fd, const void* data, size_t count, int flags,
                    const sockaddr* addr, socklen_t len);
  ssize_t (*sendmsg)(void* userdata, int fd, const msghdr* msg, int flags);
  int (*fcntl)(void* userdata, int fd, int command, ...);
  int (*ioctl)(void* userdata, int fd, unsigned long command, ...);
  int (*close)(void* userdata, int fd);
  int (*shutdown)(void* userdata, int fd, int how);
  int (*getsockopt)(void* userdata, int fd, int level, int name, void* value, socklen_t* len);
  int (*setsockopt)(void* userdata, int fd, int level, int name, const void* value, socklen_t len);
  int (*poll)(void* userdata, pollfd* fds, nfds_t count, int timeout_ms);
  /// Bare IP datagrams, towards the stack and from it.
  int (*netdev_send)(void* userdata, const void* data, size_t count);
  int (*netdev_receive)(void* userdata, void* data, size_t* count, long long* time_usecs);
  int (*usleep)(void* userdata, useconds_t usecs);
  int (*gettimeofday)(void* userdata, timeval* tv, struct timezone* tz);
  int (*epoll_create)(void* userdata, int size);
  int (*epoll_ctl)(void* userdata, int epfd, int operation, int fd, epoll_event* event);
  int (*epoll_wait)(void* userdata, int epfd, epoll_event* events, int count, int timeout_ms);
  int (*pipe)(void* userdata, int fds[2]);
  int (*splice)(void* userdata, int fd_in, loff_t* off_in, int fd_out, loff_t* off_out, size_t len,
                unsigned flags);
};

}  // namespace ph::judge
