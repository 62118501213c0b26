// Syscall User Dispatch beside threads: is it per thread, is it off in a new thread and in a fork
// child, what does a trapped call cost, and what does an allowed one.
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>

#include <csignal>
#include <cstdint>

#include "lab.h"

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#endif

using namespace lab;

static volatile char block = 0;
static volatile int traps = 0;

extern "C" char stub_begin[], stub_end[];
extern "C" long stub_syscall(long nr, long a);
// The only code that may make system calls while `block` is 1: our calls and the signal return.
asm(R"(
.text
stub_begin:
stub_syscall:
    mov %rdi, %rax
    mov %rsi, %rdi
    syscall
    ret
stub_restore:
    mov $15, %eax
    syscall
    nop /* the kernel compares the address after the instruction: it must still be inside */
stub_end:
)");
extern "C" char stub_restore[];

static void on_sigsys(int, siginfo_t*, void* context) {
  auto* uc = static_cast<ucontext_t*>(context);
  traps = traps + 1;
  uc->uc_mcontext.gregs[REG_RAX] = 7777;
}

struct kernel_sigaction {
  void (*handler)(int, siginfo_t*, void*);
  unsigned long flags;
  char* restorer;
  std::uint64_t mask;
};

static long raw(long nr) {
  long out;
  asm volatile("syscall" : "=a"(out) : "0"(nr) : "rcx", "r11", "memory");
  return out;
}

static bool arm() {
  return prctl(PR_SET_SYSCALL_USER_DISPATCH, 1, stub_begin, stub_end - stub_begin, &block) == 0;
}

int main() {
  kernel_sigaction sa{on_sigsys, SA_SIGINFO | 0x04000000u | SA_NODEFER, stub_restore, 0};
  syscall(SYS_rt_sigaction, SIGSYS, &sa, nullptr, 8);
  saw(arm(), "dispatch armed with the allowed range on our own stub");
  block = 1;
  long const trapped = raw(SYS_getppid);
  long const allowed = stub_syscall(SYS_getppid, 0);
  block = 0;
  saw(trapped == 7777 && allowed != 7777 && traps == 1, "raw call trapped, stub's own call not");
  pthread_t t;
  static long in_thread, in_armed_thread;
  pthread_create(
      &t, nullptr,
      [](void*) -> void* {
        block = 1;
        in_thread = raw(SYS_getppid);
        block = 0;
        arm();
        block = 1;
        in_armed_thread = raw(SYS_getppid);
        block = 0;
        return nullptr;
      },
      nullptr);
  pthread_join(t, nullptr);
  saw(in_thread != 7777 && in_armed_thread == 7777,
      "a new thread starts unarmed, and can arm itself");
  pid_t const child = fork();
  if (child == 0) {
    block = 1;
    long const r = raw(SYS_getppid);
    block = 0;
    _exit(r == 7777 ? 1 : 0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  saw(status == 0, "a fork child starts unarmed");
  block = 1;
  double const begin_traps = traps;
  block = 0;
  cost("trapped call (block flips, signal, return)", 200000, [] {
    block = 1;
    raw(SYS_getppid);
    block = 0;
  });
  cost("same call while armed but allowed by the flag", 1000000, [] { raw(SYS_getppid); });
  saw(traps > begin_traps, "%d traps handled", traps);
  return report();
}
