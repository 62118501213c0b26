// seccomp user notification: may we have a listener here, what does it cost, can ADDFD replace an
// fd in place, what happens to a second listener, and what does a filter cost to calls that are not
// in it.
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <cstdint>
#include <initializer_list>

#include "lab.h"

using namespace lab;

static long set_filter(std::initializer_list<int> notified, unsigned flags) {
  sock_filter code[64];
  unsigned short n = 0;
  code[n++] = {BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(seccomp_data, nr)};
  for (int nr : notified) {
    code[n++] = {BPF_JMP | BPF_JEQ | BPF_K, 0, 1, static_cast<std::uint32_t>(nr)};
    code[n++] = {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_USER_NOTIF};
  }
  code[n++] = {BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ALLOW};
  sock_fprog prog{n, code};
  return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &prog);
}

// Answers every notified getppid with 4242 and every socketpair by putting /dev/null in place of
// fd 7.
static void supervise(int listener) {
  for (;;) {
    seccomp_notif req{};
    if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &req) != 0) {
      if (errno == EINTR) continue;
      _exit(0);
    }
    seccomp_notif_resp resp{};
    resp.id = req.id;
    resp.val = 4242;
    if (req.data.nr == SYS_socketpair) {
      int const null = open("/dev/null", O_RDWR);
      seccomp_notif_addfd add{};
      add.id = req.id;
      add.flags = SECCOMP_ADDFD_FLAG_SETFD;
      add.srcfd = static_cast<std::uint32_t>(null);
      add.newfd = 7;
      resp.val = ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add);
      close(null);
    }
    ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &resp);
  }
}

int main() {
  double const bare = cost("getpid, no filter", 2000000, [] { syscall(SYS_getpid); });
  int ch[2];
  socketpair(AF_UNIX, SOCK_STREAM, 0, ch);
  pid_t const child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, 9);
    supervise(recv_fd(ch[1]));
  }
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  int const own = dup2(open("/etc/passwd", O_RDONLY), 7);
  long const listener = set_filter({SYS_getppid, SYS_socketpair}, SECCOMP_FILTER_FLAG_NEW_LISTENER);
  saw(listener >= 0, "notify listener under no_new_privs: %s",
      listener < 0 ? strerrorname_np(errno) : "granted");
  if (listener < 0) return report();
  send_fd(ch[0], static_cast<int>(listener));
  saw(syscall(SYS_getppid) == 4242, "notified call answered by another process");
  struct stat before {
  }, after{};
  fstat(own, &before);
  long const got = syscall(SYS_socketpair, 0, 0, 0, 0);
  fstat(own, &after);
  saw(got == 7 && S_ISREG(before.st_mode) && S_ISCHR(after.st_mode),
      "ADDFD with SETFD replaced fd 7 in place");
  long const second = set_filter({SYS_getpgrp}, SECCOMP_FILTER_FLAG_NEW_LISTENER);
  saw_errno(second < 0, "a second listener in the same chain: %s");
  cost("notified call, round trip", 50000, [] { syscall(SYS_getppid); });
  double const filtered = cost("getpid, filter of 2 calls", 2000000, [] { syscall(SYS_getpid); });
  set_filter({SYS_bind, SYS_connect, SYS_accept, SYS_accept4, SYS_listen, SYS_setsockopt,
              SYS_getsockopt, SYS_sendto, SYS_sendmsg, SYS_recvmsg, SYS_recvfrom, SYS_ioctl,
              SYS_getsockname, SYS_getpeername, SYS_openat, SYS_setns, SYS_unshare, SYS_shutdown},
             0);
  double const more =
      cost("getpid, one more filter of 18 calls", 2000000, [] { syscall(SYS_getpid); });
  std::printf("overhead per unlisted call: %.0f ns, then %.0f ns\n", (filtered - bare) * 1e3,
              (more - bare) * 1e3);
  return report();
}
