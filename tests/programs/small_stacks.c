/* How much stack calls take. Programs have threads with the smallest stack there may be (16 KiB),
 * and handlers on alternate stacks of 8 KiB. The kernel's calls take none of it, so what stands
 * behind them here takes at most `most`; to it comes what libc's own functions take. */
#include "check.h"
#include <ifaddrs.h>
#include <limits.h>
#include <net/if.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sendfile.h>

enum { most = 4096, painted = 256 * 1024 };

static int stream, peer, datagram, acceptor; /* sockets that the calls share */
static char room[100000], control[256];
static struct iovec pieces[3] = {{room, 3}, {room, 3}, {room, 3}};
extern char **environ;

/* -- The calls -- */

static void list_interfaces(void) {
  struct ifaddrs *all = NULL;
  CHECK(getifaddrs(&all) == 0 && all != NULL);
  freeifaddrs(all);
}

static void find_interface(void) {
  char name[IF_NAMESIZE];
  unsigned index = if_nametoindex("lo");
  CHECK(index != 0 && if_indextoname(index, name) != NULL);
}

static void ask_the_old_way(void) {
  struct ifconf list = {sizeof room, {room}};
  CHECK(ioctl(datagram, SIOCGIFCONF, &list) == 0 && list.ifc_len > 0);
}

static void open_sockets(void) {
  struct sockaddr_in any = {0};
  int s = socket(AF_INET, SOCK_STREAM, 0), u = socket(AF_INET, SOCK_DGRAM, 0);
  any.sin_family = AF_INET;
  CHECK(bind(u, (struct sockaddr *)&any, sizeof any) == 0);
  CHECK(connect_to(u, port_of(acceptor)) == 0);
  CHECK(listen(s, 1) == 0 && shutdown(s, SHUT_RD) == 0);
  close(u);
  close(s);
}

static void open_connection(void) {
  struct sockaddr_in from;
  socklen_t len = sizeof from;
  int s = socket(AF_INET, SOCK_STREAM, 0);
  CHECK(connect_to(s, port_of(acceptor)) == 0);
  int t = accept(acceptor, (struct sockaddr *)&from, &len);
  CHECK(t >= 0 && getpeername(s, (struct sockaddr *)&from, &len) == 0);
  CHECK(dup2(s, t) == t);
  close(s);
  close(t);
}

/* With sockets that are used up by each failure. */
static void connect_again(void) {
  int s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), set = epoll_create1(0);
  struct epoll_event interest = {EPOLLIN, {0}};
  CHECK(epoll_ctl(set, EPOLL_CTL_ADD, s, &interest) == 0);
  for (int i = 0; i < 3; ++i) {
    if (connect_to(s, 1) != 0 && errno == EINPROGRESS) events(s, POLLOUT, 5000);
  }
  close(set);
  close(s);
}

static void send_and_receive(void) {
  CHECK(send(stream, "x", 1, MSG_MORE) == 1 && write(stream, "y", 1) == 1);
  CHECK(recv(peer, room, 2, MSG_WAITALL) == 2 && sock_error(peer) == 0);
  FAILS(recv(peer, room, 2, MSG_DONTWAIT), EAGAIN);
  CHECK(events(stream, POLLOUT, 5000) & POLLOUT);
}

/* With the connection to the daemon closed, if there is one. */
static void ask_anew(void) {
  CHECK(close_range(1000, ~0U, 0) == 0);
  CHECK(send(stream, "x", 1, MSG_MORE) == 1 && write(stream, "y", 1) == 1);
  CHECK(recv(peer, room, 2, MSG_WAITALL) == 2);
}

static void send_much(void) {
  while (send(stream, room, sizeof room, MSG_DONTWAIT) > 0) {}
  for (int left = 1; left > 0;) {
    if (recv(peer, room, sizeof room, MSG_DONTWAIT) < 0) left = events(peer, POLLIN, 100) != 0;
  }
}

static void send_a_file(void) {
  int file = open("/bin/sh", O_RDONLY);
  CHECK(sendfile(stream, file, NULL, 100) == 100);
  CHECK(recv(peer, room, 100, MSG_WAITALL) == 100);
  close(file);
}

static void talk_by_datagrams(void) {
  struct sockaddr_in to = loopback(port_of(datagram)), from;
  struct msghdr out = {&to, sizeof to, pieces, 3, NULL, 0, 0};
  struct msghdr in = {&from, sizeof from, pieces, 3, control, sizeof control, 0};
  struct mmsghdr both[2] = {{out, 0}, {out, 0}};
  socklen_t len = sizeof from;
  CHECK(sendto(datagram, "x", 1, 0, (struct sockaddr *)&to, sizeof to) == 1);
  CHECK(recvfrom(datagram, room, 9, 0, (struct sockaddr *)&from, &len) == 1);
  CHECK(sendmsg(datagram, &out, 0) == 9 && recvmsg(datagram, &in, 0) == 9);
  CHECK(sendmmsg(datagram, both, 2, 0) == 2);
  both[0].msg_hdr = both[1].msg_hdr = in;
  CHECK(recvmmsg(datagram, both, 2, 0, NULL) == 2);
  in.msg_controllen = sizeof control;
  FAILS(recvmsg(datagram, &in, MSG_ERRQUEUE), EAGAIN);
}

static void set_options(void) {
  int value = 1;
  socklen_t len = sizeof value;
  struct ifreq device = {{"lo"}, {{0}}};
  CHECK(setsockopt(stream, IPPROTO_TCP, TCP_NODELAY, &value, len) == 0);
  CHECK(getsockopt(stream, IPPROTO_TCP, TCP_NODELAY, &value, &len) == 0);
  CHECK(ioctl(stream, SIOCGIFFLAGS, &device) == 0 && ioctl(peer, FIONREAD, &value) == 0);
}

/* What makes a stream show errors beside its bytes. */
static void follow_errors(void) {
  int value = 1, a, b;
  fd_set readers;
  struct timeval now = {0, 0};
  struct msghdr in = {NULL, 0, pieces, 3, control, sizeof control, 0};
  tcp_pair(&a, &b);
  CHECK(setsockopt(a, SOL_SOCKET, SO_ZEROCOPY, &value, sizeof value) == 0);
  FD_ZERO(&readers);
  FD_SET(a, &readers);
  CHECK(select(a + 1, &readers, NULL, NULL, &now) == 0);
  CHECK((events(a, POLLIN | POLLOUT, 0) & POLLERR) == 0);
  FAILS(recvmsg(a, &in, MSG_ERRQUEUE), EAGAIN);
  close(dup(a));
  close(a);
  close(b);
}

/* More than the shim has room for. */
static void follow_many(void) {
  enum { many = 260 };
  static int sockets[many];
  const int on = 1;
  for (int i = 0; i < many; ++i) {
    sockets[i] = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(setsockopt(sockets[i], SOL_SOCKET, SO_ZEROCOPY, &on, sizeof on) == 0);
  }
  for (int i = 0; i < many; ++i) close(sockets[i]);
}

static void look_names_up(void) {
  CHECK(gethostname(room, sizeof room) == 0);
}

static void open_files(void) {
  close(open("/proc/sys/net/ipv4/ip_forward", O_RDONLY));
  close(open("/proc/self/stat", O_RDONLY));
  close(open("/dev/null", O_RDWR));
  access("/proc/sys/net/ipv4/ip_forward", W_OK);
  access("/nowhere/at/all", R_OK);
}

static void spawn(void) {
  char *const arguments[] = {"true", NULL};
  pid_t child;
  CHECK(posix_spawnp(&child, "true", NULL, NULL, arguments, environ) == 0);
  waitpid(child, NULL, 0);
}

/* A vfork child is on its parent's stack; one without an environment gets what it must have. */
static void execute(void) {
  char *const arguments[] = {"true", NULL}, *const nothing[] = {NULL};
  for (int way = 0; way < 4; ++way) {
    pid_t child = vfork();
    if (child == 0) {
      if (way == 0) execve("/bin/true", arguments, nothing);
      if (way == 1) execvp("true", arguments);
      if (way == 2) execl("/bin/true", "true", (char *)NULL);
      if (way == 3) execve("/bin/nothing", arguments, environ);
      _exit(9);
    }
    int status = -1;
    waitpid(child, &status, 0);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == (way == 3 ? 9 : 0));
  }
}

/* -- How much they take -- */

struct call {
  const char *name;
  void (*make)(void);
  int of_libc; /* what it takes of the stack without our help */
};

static const struct call calls[] = {
    {"getifaddrs", list_interfaces, 1000},
    {"if_nametoindex", find_interface, 0},
    {"SIOCGIFCONF", ask_the_old_way, 0},
    {"socket, bind, listen", open_sockets, 0},
    {"connect, accept", open_connection, 0},
    {"connect again", connect_again, 0},
    {"send, recv", send_and_receive, 0},
    {"send on a new channel", ask_anew, 0},
    {"send much", send_much, 0},
    {"sendfile", send_a_file, 0},
    {"datagrams", talk_by_datagrams, 0},
    {"options", set_options, 0},
    {"SO_ZEROCOPY", follow_errors, 0},
    {"SO_ZEROCOPY, many", follow_many, 0},
    {"names", look_names_up, 0},
    {"open", open_files, 0},
    {"posix_spawn", spawn, 1000},
    {"exec", execute, 900}, /* and what it adds to an environment */
};

static void *run(void *make) {
  ((void (*)(void))make)();
  return NULL;
}

static void run_on(pthread_attr_t *attributes, void (*make)(void)) {
  pthread_t thread;
  CHECK(pthread_create(&thread, attributes, run, (void *)make) == 0);
  pthread_join(thread, NULL);
  pthread_attr_destroy(attributes);
}

/* Bytes of a painted stack that a thread has written to. */
static int used_by(void (*make)(void)) {
  unsigned char *stack = mmap(NULL, painted, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
  pthread_attr_t attributes;
  int untouched = 0;
  memset(stack, 0xa5, painted);
  pthread_attr_init(&attributes);
  CHECK(pthread_attr_setstack(&attributes, stack, painted) == 0);
  run_on(&attributes, make);
  while (untouched < painted && stack[untouched] == 0xa5) ++untouched;
  munmap(stack, painted);
  return painted - untouched;
}

static void nothing(void) {}

int main(void) {
  tcp_pair(&stream, &peer);
  acceptor = listener(8);
  datagram = socket(AF_INET, SOCK_DGRAM, 0);
  CHECK(bind_to(datagram, 0) == 0);
  CHECK(setenv("PATH", "/usr/bin:/bin", 1) == 0); /* it is looked through on the stack */
  used_by(nothing);
  const int thread_alone = used_by(nothing);
  for (size_t i = 0; i < sizeof calls / sizeof *calls; ++i) {
    const struct call *c = &calls[i];
    int used = used_by(c->make) - thread_alone;
    if (getenv("VERBOSE") != NULL) printf("%-24s %6d bytes\n", c->name, used);
    if (used > most + c->of_libc) {
      printf("%s: %d bytes of stack, more than %d\n", c->name, used, most + c->of_libc);
      ++failures;
    }
    pthread_attr_t smallest;
    pthread_attr_init(&smallest);
    CHECK(pthread_attr_setstacksize(&smallest, PTHREAD_STACK_MIN) == 0);
    run_on(&smallest, c->make);
  }
  FINISH();
}
