// The table of calls and its translation into BPF instructions.
#include "platform/socket_filter.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/if_tun.h>
#include <linux/netlink.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstddef>
#include <span>

#include "base/byteorder.h"
#include "base/check.h"

namespace ph {
namespace {

constexpr u32 allow = SECCOMP_RET_ALLOW;
constexpr u32 refuse(int error) { return SECCOMP_RET_ERRNO | static_cast<u32>(error); }

/// `(argument & mask) == value`, or the opposite, decides.
struct test {
  unsigned argument;
  u32 mask;
  u32 value;
  bool equal;
  u32 verdict;
};

constexpr u32 whole = ~u32{0};
constexpr test when(unsigned argument, u32 value, u32 verdict) {
  return {argument, whole, value, true, verdict};
}
constexpr test unless(unsigned argument, u32 value, u32 verdict) {
  return {argument, whole, value, false, verdict};
}
constexpr test when_masked(unsigned argument, u32 mask, u32 value, u32 verdict) {
  return {argument, mask, value, true, verdict};
}
constexpr test when_any_bit(unsigned argument, u32 mask, u32 verdict) {
  return {argument, mask, 0, false, verdict};
}

/// socket(2): an allow list. Whatever else the machine's kernel may have says what Linux says when
/// the module is missing. Uevents, audit and the like are about the machine, not its network.
constexpr test socket_tests[] = {
    when(0, AF_UNIX, allow),
    when(0, AF_ALG, allow),
    unless(0, AF_NETLINK, refuse(EAFNOSUPPORT)),
    when(2, NETLINK_KOBJECT_UEVENT, allow),
    when(2, NETLINK_AUDIT, allow),
    when(2, NETLINK_SELINUX, allow),
    when(2, NETLINK_CONNECTOR, allow),
    when(2, NETLINK_SCSITRANSPORT, allow),
    when(2, NETLINK_CRYPTO, allow),
};

/// socketpair(2): the inet families have no pairs on Linux either.
constexpr test socketpair_tests[] = {
    when(0, AF_UNIX, allow),
    when(0, AF_INET, refuse(EOPNOTSUPP)),
    when(0, AF_INET6, refuse(EOPNOTSUPP)),
};

/// ioctl(2): requests about devices, addresses, routes (0x89xx) and radios (0x8bxx) would reach the
/// machine's on any socket, also on an AF_UNIX one. 0x8900 to 0x8907 (owner, urgent mark, time
/// stamps) are about the socket itself.
constexpr test ioctl_tests[] = {
    when(1, static_cast<u32>(TUNSETIFF), refuse(EPERM)),
    when_masked(1, 0xfffffff8, 0x8900, allow),
    when_masked(1, 0xffffff00, 0x8900, refuse(ENOTTY)),
    when_masked(1, 0xffffff00, 0x8b00, refuse(ENOTTY)),
};

/// Another network namespace is no way out, for its sockets are filtered as well; but the names of
/// anchors would be out of reach. setns(2) with type 0 takes a namespace of any kind.
constexpr test unshare_tests[] = {when_any_bit(0, CLONE_NEWNET, refuse(EPERM))};
constexpr test setns_tests[] = {
    when(1, 0, refuse(EPERM)),
    when_any_bit(1, CLONE_NEWNET, refuse(EPERM)),
};

/// A call: its number here and for 32-bit programs (none: -1), the tests in order, and the verdict
/// when none of them decided.
struct call {
  int number;
  int compat;
  std::span<const test> tests;
  u32 otherwise;
};

constexpr call calls[] = {
    {SYS_socket, 359, socket_tests, refuse(EAFNOSUPPORT)},
    {SYS_socketpair, 360, socketpair_tests, refuse(EAFNOSUPPORT)},
    {-1, 102, {}, refuse(ENOSYS)},  // socketcall(2): its arguments lie in memory
    {SYS_ioctl, 54, ioctl_tests, allow},
    {SYS_io_uring_setup, 425, {}, refuse(ENOSYS)},  // its operations pass no filter
    {SYS_io_uring_enter, 426, {}, refuse(ENOSYS)},
    {SYS_io_uring_register, 427, {}, refuse(ENOSYS)},
    {SYS_bpf, 357, {}, refuse(EPERM)},
    {SYS_pidfd_getfd, 438, {}, refuse(EPERM)},  // takes a socket out of a process outside
    {SYS_sethostname, 74, {}, refuse(EPERM)},   // the machine's names are not a host's to change
    {SYS_setdomainname, 121, {}, refuse(EPERM)},
    {SYS_clone, 120, unshare_tests, allow},
    {SYS_unshare, 310, unshare_tests, allow},
    {SYS_setns, 346, setns_tests, allow},
};

#if defined(__x86_64__)
constexpr u32 native_architecture = AUDIT_ARCH_X86_64;
constexpr u32 compat_architecture = AUDIT_ARCH_I386;
constexpr u32 first_x32_number = 0x40000000;
#elif defined(__aarch64__)
constexpr u32 native_architecture = AUDIT_ARCH_AARCH64;
#else
#error "no system call numbers for this architecture"
#endif

constexpr u32 low_word = std::endian::native == std::endian::little ? 0 : 4;

constexpr u32 argument_offset(unsigned argument) {
  return static_cast<u32>(offsetof(seccomp_data, args)) + argument * 8 + low_word;
}

class writer {
 public:
  void load(u32 offset) { put(BPF_LD | BPF_W | BPF_ABS, offset); }
  void give(u32 verdict) { put(BPF_RET | BPF_K, verdict); }
  /// Skips `count` instructions unless the loaded word is `value`.
  void skip_unless_equal(u32 value, std::size_t count) {
    ph_check(count <= 255);  // a jump's field has one byte
    put(BPF_JMP | BPF_JEQ | BPF_K, value, 0, static_cast<u8>(count));
  }
  /// Gives the verdict when the loaded word is at least `value`.
  void give_from(u32 value, u32 verdict) {
    put(BPF_JMP | BPF_JGE | BPF_K, value, 0, 1);
    give(verdict);
  }
  void apply(const test& t) {
    load(argument_offset(t.argument));
    if (t.mask != whole) put(BPF_ALU | BPF_AND | BPF_K, t.mask);
    put(BPF_JMP | BPF_JEQ | BPF_K, t.value, t.equal ? 0 : 1, t.equal ? 1 : 0);
    give(t.verdict);
  }
  void append(const std::vector<sock_filter>& more) {
    code_.insert(code_.end(), more.begin(), more.end());
  }
  [[nodiscard]] const std::vector<sock_filter>& code() const { return code_; }

 private:
  void put(unsigned code, u32 k, u8 when_true = 0, u8 when_false = 0) {
    code_.push_back({static_cast<u16>(code), when_true, when_false, k});
  }
  std::vector<sock_filter> code_;
};

/// The calls of one architecture. Numbers are compared before any argument is loaded: the kernel
/// answers those that only a number decides without running the filter.
std::vector<sock_filter> for_architecture(int call::*number) {
  writer all;
  all.load(offsetof(seccomp_data, nr));
  for (const call& c : calls) {
    if (c.*number < 0) continue;
    writer block;
    for (const test& t : c.tests) block.apply(t);
    block.give(c.otherwise);
    all.skip_unless_equal(static_cast<u32>(c.*number), block.code().size());
    all.append(block.code());
  }
  all.give(allow);
  return all.code();
}

}  // namespace

std::vector<sock_filter> socket_filter() {
  writer native;
#if defined(__x86_64__)
  native.load(offsetof(seccomp_data, nr));
  native.give_from(first_x32_number, refuse(ENOSYS));
#endif
  native.append(for_architecture(&call::number));
  writer all;
  all.load(offsetof(seccomp_data, arch));
  all.skip_unless_equal(native_architecture, native.code().size());
  all.append(native.code());
#if defined(__x86_64__)
  const std::vector<sock_filter> compat = for_architecture(&call::compat);
  all.skip_unless_equal(compat_architecture, compat.size());
  all.append(compat);
#endif
  all.give(SECCOMP_RET_KILL_PROCESS);
  return all.code();
}

result<void> install_socket_filter() {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return fail(static_cast<errc>(errno));
  std::vector<sock_filter> code = socket_filter();
  const sock_fprog program{static_cast<u16>(code.size()), code.data()};
  // Kernels before 5.16 slow a process down for the sake of a filter without this flag; some that
  // are not Linux know no flags.
  for (const unsigned flags : {static_cast<unsigned>(SECCOMP_FILTER_FLAG_SPEC_ALLOW), 0u}) {
    if (::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program) == 0) return {};
    if (errno != EINVAL) break;
  }
  return fail(static_cast<errc>(errno));
}

}  // namespace ph
