/* A program under a filter of its own, as the child of sshd before a user is known: reads and
 * writes are all that it may do, and all that they do. */
#include "check.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#define ALLOW(call) \
  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1), BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

static int enter_sandbox(int by_syscall) {
  struct sock_filter rules[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      ALLOW(SYS_read),
      ALLOW(SYS_write),
      ALLOW(SYS_exit_group),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
  };
  struct sock_fprog program = {sizeof rules / sizeof *rules, rules};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
  if (by_syscall) return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program);
  return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static void reads_and_writes(int by_syscall) {
  int a, b, status = -1;
  tcp_pair(&a, &b);
  pid_t child = fork();
  if (child == 0) {
    char c = 0;
    if (enter_sandbox(by_syscall) != 0) _exit(2);
    for (int i = 0; i < 3; ++i) {
      if (write(a, "x", 1) != 1 || read(b, &c, 1) != 1 || c != 'x') _exit(1);
    }
    _exit(0);
  }
  CHECK(waitpid(child, &status, 0) == child && status == 0);
  close(a);
  close(b);
}

int main(void) {
  reads_and_writes(0);
  reads_and_writes(1);
  FINISH();
}
