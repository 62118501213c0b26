/* While one thread sends and receives messages, another writes to what they point to: the call says
   what it found, and the program lives. */
#include "check.h"
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

#define PIECES 24
#define ROUNDS 3000
#define CONTROL (4 * CMSG_SPACE(sizeof(int)))

static char *nowhere; /* a page that cannot be touched */
static char bytes[64], control[256], room[256];
static struct iovec pieces[PIECES];
static atomic_int over;

/* Every value that a call reads is good at one moment and bad at the next. */
static void *rewrite(void *none) {
  (void)none;
  struct cmsghdr *c = (struct cmsghdr *)control;
  for (unsigned i = 0; !atomic_load(&over); ++i) {
    struct iovec *v = &pieces[i % PIECES];
    *(char *volatile *)&v->iov_base = i & 1 ? nowhere : bytes;
    *(volatile size_t *)&v->iov_len = i & 2 ? 1 : (size_t)1 << 40;
    *(volatile size_t *)&v->iov_len = 1;
    *(volatile size_t *)&c->cmsg_len = i & 1 ? CMSG_LEN(sizeof(int)) : (size_t)1 << 32;
    *(volatile size_t *)&c->cmsg_len = CMSG_LEN(sizeof(int));
    *(char *volatile *)&v->iov_base = bytes;
  }
  return NULL;
}

static int expected(ssize_t result) {
  return result >= 0 || errno == EFAULT || errno == EINVAL || errno == ENOBUFS ||
         errno == EMSGSIZE || errno == EAGAIN || errno == ECONNREFUSED;
}

static void datagrams(void) {
  int s = socket(AF_INET, SOCK_DGRAM, 0), r = socket(AF_INET, SOCK_DGRAM, 0);
  CHECK(bind_to(r, 0) == 0 && bind_to(s, 0) == 0);
  struct sockaddr_in to = loopback(port_of(r)), from;
  for (int i = 0; i < ROUNDS; ++i) {
    struct msghdr m = {&to, sizeof to, pieces, i % 2 ? PIECES : 3, control, CONTROL, 0};
    CHECK(expected(sendmsg(s, &m, MSG_DONTWAIT)));
    struct msghdr back = {&from, sizeof from, pieces, PIECES, room, sizeof room, 0};
    CHECK(expected(recvmsg(r, &back, MSG_DONTWAIT)));
    CHECK(back.msg_iov == pieces && back.msg_iovlen == PIECES && back.msg_name == &from);
  }
  close(s);
  close(r);
}

static void streams(void) {
  int pair[2];
  tcp_pair(&pair[0], &pair[1]);
  for (int i = 0; i < ROUNDS; ++i) {
    struct msghdr m = {NULL, 0, pieces, i % 2 ? PIECES : 3, control, i % 3 ? CONTROL : 0, 0};
    CHECK(expected(sendmsg(pair[0], &m, MSG_DONTWAIT | (i % 4 ? MSG_MORE : 0))));
    struct msghdr back = {NULL, 0, pieces, PIECES, room, sizeof room, 0};
    CHECK(expected(recvmsg(pair[1], &back, MSG_DONTWAIT | (i % 3 ? MSG_TRUNC : 0))));
  }
  close(pair[0]);
  close(pair[1]);
}

int main(void) {
  nowhere = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(nowhere != MAP_FAILED);
  for (int i = 0; i < PIECES; ++i) pieces[i] = (struct iovec){bytes, 1};
  struct cmsghdr *c = (struct cmsghdr *)control;
  for (int i = 0; i < 4; ++i) { /* of a level that nobody looks at */
    c->cmsg_len = CMSG_LEN(sizeof(int));
    c->cmsg_level = 0x7fff;
    c = (struct cmsghdr *)((char *)c + CMSG_SPACE(sizeof(int)));
  }
  pthread_t writer;
  CHECK(pthread_create(&writer, NULL, rewrite, NULL) == 0);
  datagrams();
  streams();
  atomic_store(&over, 1);
  pthread_join(writer, NULL);
  FINISH();
}
