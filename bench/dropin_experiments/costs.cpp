// What the drop-in path is built of, each alone, between two processes: round trips, wakes, taking
// a ready anchor.
#include <linux/futex.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <csignal>
#include <cstdint>

#include "lab.h"

using namespace lab;

static pid_t partner(void (*body)(int), int arg) {
  pid_t const child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    body(arg);
    _exit(0);
  }
  return child;
}

static std::uint32_t* shared;

static void futex_wait(std::uint32_t* word, std::uint32_t value) {
  syscall(SYS_futex, word, FUTEX_WAIT, value, nullptr, nullptr, 0);
}
static void futex_wake(std::uint32_t* word) {
  syscall(SYS_futex, word, FUTEX_WAKE, 1, nullptr, nullptr, 0);
}

int main() {
  int ch[2], ev[2];
  socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ch);
  partner(
      [](int fd) {
        char b[128];
        for (ssize_t n; (n = recv(fd, b, sizeof b, 0)) > 0;) send(fd, b, 64, 0);
      },
      ch[1]);
  char b[128] = {};
  cost("control request and answer over a kept channel, 64 bytes", 50000, [&] {
    send(ch[0], b, 64, 0);
    recv(ch[0], b, sizeof b, 0);
  });
  int l = socket(AF_UNIX, SOCK_SEQPACKET, 0);
  name n("ph-exp-control");
  bind(l, n.addr(), n.len);
  listen(l, 64);
  partner(
      [](int fd) {
        for (;;) {
          char q[128];
          int const c = accept(fd, nullptr, nullptr);
          recv(c, q, sizeof q, 0);
          send(c, q, 64, 0);
          close(c);
        }
      },
      l);
  cost("the same over a new connection each time", 20000, [&] {
    int const s = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    connect(s, n.addr(), n.len);
    send(s, b, 64, 0);
    recv(s, b, sizeof b, 0);
    close(s);
  });
  ev[0] = eventfd(0, 0);
  ev[1] = eventfd(0, 0);
  static int evs[2];
  evs[0] = ev[0];
  evs[1] = ev[1];
  partner(
      [](int) {
        std::uint64_t v;
        for (;;) {
          read(evs[0], &v, 8);
          v = 1;
          write(evs[1], &v, 8);
        }
      },
      0);
  cost("eventfd ring and ring back (two wakes)", 50000, [&] {
    std::uint64_t v = 1;
    write(ev[0], &v, 8);
    read(ev[1], &v, 8);
  });
  shared = static_cast<std::uint32_t*>(
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  partner(
      [](int) {
        std::uint32_t turn = 0;
        for (;;) {
          while (__atomic_load_n(&shared[0], __ATOMIC_ACQUIRE) == turn)
            futex_wait(&shared[0], turn);
          ++turn;
          __atomic_store_n(&shared[16], turn, __ATOMIC_RELEASE);
          futex_wake(&shared[16]);
        }
      },
      0);
  std::uint32_t turn = 0;
  cost("futex wake and wake back (two wakes)", 50000, [&] {
    std::uint32_t const old = turn++;
    __atomic_store_n(&shared[0], turn, __ATOMIC_RELEASE);
    futex_wake(&shared[0]);
    while (__atomic_load_n(&shared[16], __ATOMIC_ACQUIRE) == old) futex_wait(&shared[16], old);
  });
  int mint[2];
  socketpair(AF_UNIX, SOCK_SEQPACKET, 0, mint);
  int const spare = socket(AF_UNIX, SOCK_STREAM, 0);
  double const both = cost("send an fd and take it", 50000, [&] {
    send_fd(mint[0], spare);
    close(recv_fd(mint[1]));
  });
  double const give = cost("send an fd, its queue then dropped", 50000, [&] {
    int t[2];
    socketpair(AF_UNIX, SOCK_SEQPACKET, 0, t);
    send_fd(t[0], spare);
    close(t[0]);
    close(t[1]);
  });
  (void)both;
  (void)give;
  for (int i = 0; i < 30; ++i) send_fd(mint[0], spare);
  double const begin = now_us();
  for (int i = 0; i < 30; ++i) close(recv_fd(mint[1]));
  std::printf("cost  %-58s %8.3f us\n", "take a ready anchor (recvmsg) and close it",
              (now_us() - begin) / 30);
  return report();
}
