// The filter from inside: a child puts itself under it and makes raw system calls. What it is for,
// that no program reaches the machine's network, is in tests/programs/filter_test.py.
#include "platform/socket_filter.h"

#include <gtest/gtest.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/sockios.h>
#include <linux/wireless.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

namespace ph {
namespace {

/// What `f` returns in a child under `filters` filters: 0 to 255.
template <class F>
int under_filter(F&& f, int filters = 1) {
  const pid_t child = ::fork();
  if (child == 0) {
    for (int i = 0; i < filters; ++i) {
      if (!install_socket_filter()) ::_exit(255);
    }
    ::_exit(f());
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
  return WEXITSTATUS(status);
}

/// The errno of a call under the filter; 0 when it worked.
template <class... Args>
int error_of(long number, Args... args) {
  return under_filter([&] { return ::syscall(number, args...) < 0 ? errno : 0; });
}

TEST(socket_filter, only_local_families_have_sockets) {
  EXPECT_EQ(error_of(SYS_socket, AF_UNIX, SOCK_STREAM, 0), 0);
  EXPECT_EQ(error_of(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), 0);
  EXPECT_EQ(error_of(SYS_socket, AF_NETLINK, SOCK_RAW, NETLINK_KOBJECT_UEVENT), 0);
  for (int family = 0; family < 64; ++family) {
    if (family == AF_UNIX || family == AF_ALG) continue;
    for (const int type : {SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET}) {
      EXPECT_EQ(error_of(SYS_socket, family, type, 0), EAFNOSUPPORT) << family << " " << type;
    }
  }
  for (const int protocol : {NETLINK_ROUTE, NETLINK_SOCK_DIAG, NETLINK_GENERIC, NETLINK_NETFILTER,
                             NETLINK_XFRM, NETLINK_RDMA, 31}) {
    EXPECT_EQ(error_of(SYS_socket, AF_NETLINK, SOCK_RAW, protocol), EAFNOSUPPORT) << protocol;
  }
}

TEST(socket_filter, the_upper_half_of_a_register_hides_nothing) {
  EXPECT_EQ(error_of(SYS_socket, (1L << 32) | AF_INET, SOCK_STREAM, 0), EAFNOSUPPORT);
  EXPECT_EQ(error_of(SYS_socket, (1L << 32) | AF_UNIX, SOCK_STREAM, 0), 0);
  EXPECT_EQ(error_of(SYS_socket, AF_NETLINK, SOCK_RAW, 1L << 32), EAFNOSUPPORT);  // NETLINK_ROUTE
}

TEST(socket_filter, pairs_are_local) {
  int ends[2];
  EXPECT_EQ(error_of(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, ends), 0);
  EXPECT_EQ(error_of(SYS_socketpair, AF_INET, SOCK_STREAM, 0, ends), EOPNOTSUPP);
  EXPECT_EQ(error_of(SYS_socketpair, AF_TIPC, SOCK_STREAM, 0, ends), EAFNOSUPPORT);
}

TEST(socket_filter, there_is_no_way_around_socket) {
  EXPECT_EQ(error_of(SYS_io_uring_setup, 8, nullptr), ENOSYS);
  EXPECT_EQ(error_of(SYS_io_uring_enter, -1, 0, 0, 0, nullptr, 0), ENOSYS);
  EXPECT_EQ(error_of(SYS_io_uring_register, -1, 0, nullptr, 0), ENOSYS);
  EXPECT_EQ(error_of(SYS_bpf, 0, nullptr, 0), EPERM);
  EXPECT_EQ(error_of(SYS_pidfd_getfd, -1, 0, 0), EPERM);
  EXPECT_EQ(error_of(SYS_unshare, CLONE_NEWNET), EPERM);
  EXPECT_EQ(error_of(SYS_unshare, CLONE_NEWUSER | CLONE_NEWNET), EPERM);
  EXPECT_EQ(error_of(SYS_setns, -1, CLONE_NEWNET), EPERM);
  EXPECT_EQ(error_of(SYS_setns, -1, 0), EPERM);
  EXPECT_EQ(error_of(SYS_clone, CLONE_NEWNET | SIGCHLD, 0, 0, 0, 0), EPERM);
  EXPECT_EQ(error_of(SYS_unshare, 0), 0);
  EXPECT_EQ(error_of(SYS_setns, -1, CLONE_NEWUTS), EBADF);
}

TEST(socket_filter, the_machine_keeps_its_name) {
  EXPECT_EQ(error_of(SYS_sethostname, "lab", 3), EPERM);
  EXPECT_EQ(error_of(SYS_setdomainname, "lab", 3), EPERM);
}

TEST(socket_filter, devices_are_out_of_reach_of_any_descriptor) {
  const auto ask = [](unsigned long request) {
    return under_filter([request] {
      char room[256] = "lo";
      const int s = ::socket(AF_UNIX, SOCK_DGRAM, 0);
      return ::syscall(SYS_ioctl, s, request, room) < 0 ? errno : 0;
    });
  };
  for (const unsigned long request :
       {SIOCGIFCONF, SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCGIFADDR, SIOCETHTOOL, SIOCADDRT, SIOCSARP,
        SIOCBRADDBR, SIOCDEVPRIVATE, SIOCGSKNS, SIOCGIWNAME}) {
    EXPECT_EQ(ask(static_cast<unsigned long>(request)), ENOTTY) << std::hex << request;
    EXPECT_EQ(ask(static_cast<unsigned long>(request) | (1UL << 32)), ENOTTY);
  }
  EXPECT_EQ(ask(TUNSETIFF), EPERM);
  EXPECT_EQ(ask(SIOCGPGRP), 0);
  EXPECT_EQ(ask(FIONREAD), 0);
}

#if defined(__x86_64__)

long enter_32_bits(int number, int a, int b, int c) {
  long result = number;
  __asm__ volatile("int $0x80" : "+a"(result) : "b"(a), "c"(b), "d"(c) : "memory", "r8", "r9",
                   "r10", "r11");
  return result;
}

TEST(socket_filter, the_other_entry_points_of_x86_lead_nowhere) {
  const auto error_32 = [](int number, int a, int b, int c) {
    return under_filter([=] { return static_cast<int>(-enter_32_bits(number, a, b, c)); });
  };
  const bool has_32_bits = enter_32_bits(20, 0, 0, 0) == ::getpid();
  if (has_32_bits) {
    EXPECT_EQ(error_32(359, AF_INET, SOCK_STREAM, 0), EAFNOSUPPORT);
    EXPECT_EQ(error_32(102, 1, 0, 0), ENOSYS);    // socketcall
    EXPECT_EQ(error_32(425, 8, 0, 0), ENOSYS);    // io_uring_setup
    EXPECT_EQ(error_32(54, 0, SIOCGIFCONF, 0), ENOTTY);
    EXPECT_EQ(error_32(310, CLONE_NEWNET, 0, 0), EPERM);  // unshare
  }
  constexpr long x32 = 0x40000000;
  EXPECT_EQ(error_of(x32 + SYS_socket, AF_INET, SOCK_STREAM, 0), ENOSYS);
  EXPECT_EQ(error_of(x32 + SYS_getpid), ENOSYS);
}

#endif

TEST(socket_filter, all_else_goes_on_and_filters_stack) {
  EXPECT_EQ(under_filter([] { return ::getpid() > 0 ? 0 : 1; }, 20), 0);
  EXPECT_EQ(under_filter(
                [] {
                  const pid_t child = ::fork();
                  if (child == 0) ::_exit(::socket(AF_INET, SOCK_STREAM, 0) < 0 ? errno : 0);
                  int status = 0;
                  ::waitpid(child, &status, 0);
                  return WEXITSTATUS(status);
                },
                2),
            EAFNOSUPPORT);
}

}  // namespace
}  // namespace ph
