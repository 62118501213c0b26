/* Tries to reach a server on 127.0.0.1 past every library: escape WAY PORT. Prints "connected", or
 * the error's number. Ways: raw (system calls of its own), compat (those of 32-bit programs),
 * uring (io_uring), x32 (the numbers of x32), exec FILE (starts a program by a call of its own).
 * "write FILE" opens a file for writing instead, and prints "opened". */
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static long call(long nr, long a, long b, long c, long d) {
#if defined(__x86_64__)
  long result;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = 0;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "0"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                   : "rcx", "r11", "memory");
  return result;
#else
  register long x8 __asm__("x8") = nr;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
  return x0;
#endif
}

/* 32-bit calls take 32-bit pointers. */
static long compat_call(int nr, int a, int b, int c) {
#if defined(__x86_64__)
  long result;
  __asm__ volatile("int $0x80"
                   : "=a"(result)
                   : "0"((long)nr), "b"((long)a), "c"((long)b), "d"((long)c)
                   : "memory", "r8", "r9", "r10", "r11");
  return (int)result;
#else
  (void)nr, (void)a, (void)b, (void)c;
  return -ENOSYS;
#endif
}

static long connect_compat(const struct sockaddr_in* to) {
  int* low = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS
#ifdef MAP_32BIT
                      | MAP_32BIT
#endif
                  ,
                  -1, 0);
  const int at = (int)(long)low;
  low[0] = AF_INET, low[1] = SOCK_STREAM, low[2] = 0;
  long s = compat_call(359, AF_INET, SOCK_STREAM, 0);
  if (s < 0) s = compat_call(102, 1, at, 0); /* socketcall(SYS_SOCKET) */
  if (s < 0) return s;
  memcpy(low, to, sizeof *to);
  return compat_call(362, (int)s, at, sizeof *to);
}

static long connect_by(long socket_nr, const struct sockaddr_in* to) {
  const long s = call(socket_nr, AF_INET, SOCK_STREAM, 0, 0);
  return s < 0 ? s : call(SYS_connect, s, (long)to, sizeof *to, 0);
}

static long connect_uring(void) {
  struct io_uring_params p;
  memset(&p, 0, sizeof p);
  return call(SYS_io_uring_setup, 4, (long)&p, 0, 0);
}

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  if (strcmp(argv[1], "write") == 0) {
    const long fd = call(SYS_openat, AT_FDCWD, (long)argv[2], O_WRONLY, 0);
    if (fd >= 0)
      puts("opened");
    else
      printf("error %ld\n", -fd);
    return 0;
  }
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  to.sin_port = htons((unsigned short)atoi(argv[2]));
  long result = -EINVAL;
  if (strcmp(argv[1], "raw") == 0) result = connect_by(SYS_socket, &to);
  if (strcmp(argv[1], "x32") == 0) result = connect_by(0x40000000 + SYS_socket, &to);
  if (strcmp(argv[1], "compat") == 0) result = connect_compat(&to);
  if (strcmp(argv[1], "uring") == 0) result = connect_uring();
  if (strcmp(argv[1], "exec") == 0 && argc > 3) {
    char *words[] = {argv[3], "raw", argv[2], NULL}, *nothing[] = {NULL};
    result = call(SYS_execve, (long)argv[3], (long)words, (long)nothing, 0);
  }
  if (result >= 0)
    puts("connected");
  else
    printf("error %ld\n", -result);
  return 0;
}
