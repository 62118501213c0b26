/* More bytes than any buffer holds, by every call that the kernel serves on its own: none is lost,
 * nobody waits for ever, on either side, blocking or not, whatever SO_SNDBUF says. */
#include "check.h"

#include <pthread.h>
#include <sys/mman.h>
#include <sys/sendfile.h>

enum { total = 10 * 1024 * 1024 };

static unsigned char* content;
static int file;

struct reading {
  int fd;
  long got, wrong;
};

static void* read_all(void* arg) {
  struct reading* r = arg;
  static __thread unsigned char buf[100000];
  for (ssize_t n; (n = read(r->fd, buf, sizeof buf)) > 0; r->got += n) {
    if (r->got + n <= total && memcmp(buf, content + r->got, (size_t)n) != 0) ++r->wrong;
  }
  return NULL;
}

static int may_write(int fd) { return (events(fd, POLLOUT, 20000) & POLLOUT) != 0; }

/* Moves up to `len` bytes from `at` on; as the call. */
typedef ssize_t send_some(int fd, long at, long len);

static ssize_t by_write(int fd, long at, long len) { return write(fd, content + at, (size_t)len); }

static ssize_t by_small_writes(int fd, long at, long len) {
  return write(fd, content + at, len < 700 ? (size_t)len : 700);
}

static ssize_t by_writev(int fd, long at, long len) {
  struct iovec v[3] = {{content + at, (size_t)(len / 3)},
                       {content + at + len / 3, (size_t)(len / 3)},
                       {content + at + 2 * (len / 3), (size_t)(len - 2 * (len / 3))}};
  return writev(fd, v, 3);
}

static ssize_t by_sendfile(int fd, long at, long len) {
  off_t offset = at;
  return sendfile(fd, file, &offset, (size_t)len);
}

static ssize_t by_small_sendfiles(int fd, long at, long len) {
  off_t offset = at;
  return sendfile(fd, file, &offset, len < 1000 ? (size_t)len : 1000);
}

static int ends[2];
static long in_pipe;
static ssize_t by_splice(int fd, long at, long len) {
  if (in_pipe == 0) {
    loff_t offset = at;
    in_pipe = splice(file, &offset, ends[1], NULL, len < 65536 ? (size_t)len : 65536, 0);
    if (in_pipe <= 0) return -1;
  }
  int flags = fcntl(fd, F_GETFL) & O_NONBLOCK ? SPLICE_F_NONBLOCK : 0;
  ssize_t n = splice(ends[0], NULL, fd, NULL, (size_t)in_pipe, flags);
  if (n > 0) in_pipe -= n;
  return n;
}

static void transfer(const char* how, send_some* some, int accepted, int blocking, int buffer,
                     long size) {
  int a, b, before = failures;
  tcp_pair(&a, &b);
  int writer = accepted ? b : a;
  struct reading r = {accepted ? a : b, 0, 0};
  if (buffer) {
    CHECK(setsockopt(writer, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer) == 0);
    CHECK(setsockopt(r.fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer) == 0);
  }
  if (!blocking) fcntl(writer, F_SETFL, O_NONBLOCK);
  pthread_t t;
  pthread_create(&t, NULL, read_all, &r);
  long at = 0;
  while (at < size) {
    ssize_t n = some(writer, at, size - at);
    if (n > 0) {
      at += n;
    } else if (n == 0 || errno != EAGAIN || !may_write(writer)) {
      break;
    }
  }
  close(writer);
  pthread_join(t, NULL);
  close(r.fd);
  CHECK(at == size);
  CHECK(r.got == size && r.wrong == 0);
  if (failures != before) {
    printf("  by %s, %s, %s, buffers %d: %ld sent, %ld arrived\n", how,
           accepted ? "accepted" : "connected", blocking ? "blocking" : "not blocking", buffer, at,
           r.got);
  }
}

int main(void) {
  alarm(100);
  signal(SIGPIPE, SIG_IGN);
  content = malloc(total);
  for (long i = 0; i < total; ++i) content[i] = (unsigned char)(i * 31 >> 5 ^ i >> 13);
  file = memfd_create("content", 0);
  CHECK(write(file, content, total) == total);
  CHECK(pipe(ends) == 0);
  static const struct {
    const char* name;
    send_some* some;
  } ways[] = {{"write", by_write},   {"small writes", by_small_writes},
              {"writev", by_writev}, {"sendfile", by_sendfile},
              {"splice", by_splice}, {"small sendfiles", by_small_sendfiles}};
  for (unsigned w = 0; w < sizeof ways / sizeof *ways; ++w) {
    int small = ways[w].some == by_small_writes || ways[w].some == by_small_sendfiles;
    for (int side = 0; side < 2; ++side) {
      for (int blocking = 0; blocking < 2; ++blocking) {
        transfer(ways[w].name, ways[w].some, side, blocking, 0, small ? total / 20 : total);
        transfer(ways[w].name, ways[w].some, side, blocking, 4096, 40000);
        transfer(ways[w].name, ways[w].some, side, blocking, 65536, 400000);
      }
    }
  }
  FINISH();
}
