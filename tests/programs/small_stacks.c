/* Calls on the smallest stack that a thread may have. */
#include "check.h"
#include <ifaddrs.h>
#include <limits.h>
#include <net/if.h>
#include <pthread.h>

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
  char room[2048];
  struct ifconf list = {sizeof room, {room}};
  int s = socket(AF_INET, SOCK_DGRAM, 0);
  CHECK(ioctl(s, SIOCGIFCONF, &list) == 0 && list.ifc_len > 0);
  close(s);
}

static void talk(void) {
  int a, b;
  char c;
  tcp_pair(&a, &b);
  CHECK(send(a, "x", 1, MSG_MORE) == 1 && write(a, "y", 1) == 1);
  CHECK(recv(b, &c, 1, 0) == 1 && sock_error(b) == 0);
  CHECK(events(b, POLLIN, 5000) & POLLIN);
  close(a);
  close(b);
}

static void *run(void *call) {
  ((void (*)(void))call)();
  return NULL;
}

int main(void) {
  void (*const calls[])(void) = {list_interfaces, find_interface, ask_the_old_way, talk};
  for (size_t i = 0; i < sizeof calls / sizeof *calls; ++i) {
    pthread_attr_t small;
    pthread_t thread;
    pthread_attr_init(&small);
    CHECK(pthread_attr_setstacksize(&small, PTHREAD_STACK_MIN) == 0);
    CHECK(pthread_create(&thread, &small, run, (void *)calls[i]) == 0);
    pthread_join(thread, NULL);
  }
  FINISH();
}
