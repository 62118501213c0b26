/* Runs a program on a kernel that looks as if it was built without AF_UNIX_OOB: its AF_UNIX sockets
 * carry no urgent data. `no_urgent PROGRAM ARGUMENT...` */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define FAIL(error) BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (error))
#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
/* Four instructions: a call whose argument has the flag fails. */
#define REFUSE_FLAG(call, argument)                                      \
  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 4), LOAD(args[argument]), \
      BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, MSG_OOB, 0, 1), FAIL(EOPNOTSUPP), ALLOW

enum { at_mark = 0x8905 }; /* SIOCATMARK */

int main(int count, char** words) {
  struct sock_filter code[] = {
      LOAD(nr),
      REFUSE_FLAG(SYS_sendto, 3),
      REFUSE_FLAG(SYS_recvfrom, 3),
      REFUSE_FLAG(SYS_sendmsg, 2),
      REFUSE_FLAG(SYS_recvmsg, 2),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 3),
      LOAD(args[1]),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, at_mark, 0, 1),
      FAIL(ENOTTY),
      ALLOW,
  };
  struct sock_fprog filter = {sizeof code / sizeof *code, code};
  if (count < 2 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
      prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) {
    perror("no_urgent");
    return 125;
  }
  execv(words[1], words + 1);
  perror(words[1]);
  return 127;
}
